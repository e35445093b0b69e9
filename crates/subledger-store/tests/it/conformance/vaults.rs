//! Personal data and secrets.

use secrecy::ExposeSecret;
use subledger_domain::{ChannelCode, Openid, UserId};
use subledger_store::{Effect, MasterKey, OpenError, StoreConfig, SubmitError};

use crate::{
    fixture::Db,
    works::{Effects, Grant, delivery, ledger, log, submit},
};

const OPENID: &str = "oPLAINopenidOPENIDplain01";
const USERID: &str = "plain-userid-of-someone";
const CONTENT: &[u8] = b"plain contents of a message";
const SECRET: &str = "plain secret of a channel";

fn openid() -> Openid {
    OPENID.parse().unwrap()
}

fn userid() -> UserId {
    USERID.parse().unwrap()
}

fn channel() -> ChannelCode {
    "mp".parse().unwrap()
}

fn keep(store: &subledger_store::Store) -> Effects {
    Effects(vec![
        Effect::KeepOpenid { subject: store.subject_of(&channel(), &openid()), openid: openid() },
        Effect::KeepOpenid { subject: store.subject_of(&channel(), &openid()), openid: openid() },
        Effect::KeepUserId { user: store.user_ref_of(&userid()), userid: userid() },
        Effect::KeepContent { delivery: delivery(1, 0), shared: true, contents: CONTENT.to_vec() },
        Effect::KeepContent { delivery: delivery(1, 3), shared: false, contents: b"own".to_vec() },
        Effect::KeepSecret { reference: "ref-1".into(), secret: SECRET.into() },
    ])
}

pub async fn what_is_kept_opens_again(db: Db) {
    let (store, executor) = db.node().await;
    submit(&executor, "mp", keep(&store)).await.unwrap();
    let subject = store.subject_of(&channel(), &openid());
    let user = store.user_ref_of(&userid());
    let nobody = crate::works::subject(5);
    let openids = store.openids(&log("mp"), &[subject, nobody]).await.unwrap();
    assert_eq!((openids.len(), openids[&subject].as_str()), (1, OPENID));
    assert!(store.openids(&log("mp2"), &[subject]).await.unwrap().is_empty());
    assert_eq!(store.userids(&[user]).await.unwrap()[&user].as_str(), USERID);
    let message = delivery(1, 0).message;
    assert_eq!(store.shared_contents(&log("mp"), &[message]).await.unwrap()[&message], CONTENT);
    let own = store.own_contents(&log("mp"), &[delivery(1, 0), delivery(1, 3)]).await.unwrap();
    assert_eq!((own.len(), &own[&delivery(1, 3)][..]), (1, &b"own"[..]));
    assert_eq!(store.secret("ref-1").await.unwrap().unwrap().expose_secret(), SECRET);
    assert!(store.secret("ref-2").await.unwrap().is_none());
    // Rows alone make no event and no log.
    assert!(store.heads().await.unwrap().is_empty());
}

pub async fn nothing_personal_stands_in_the_database(db: Db) {
    let (store, executor) = db.node().await;
    submit(&executor, "mp", keep(&store)).await.unwrap();
    submit(&executor, "mp", Grant(ledger(1))).await.unwrap();
    let plain = [OPENID.as_bytes(), USERID.as_bytes(), CONTENT, SECRET.as_bytes()];
    let found = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|part| part == needle);
    if db.is_sqlite() {
        let path = db.url.strip_prefix("sqlite://").unwrap();
        let mut bytes = std::fs::read(path).unwrap();
        bytes.extend(std::fs::read(format!("{path}-wal")).unwrap());
        assert!(found(&bytes, b"report-1"), "the search itself must work");
        assert!(!plain.iter().any(|needle| found(&bytes, needle)));
    } else {
        for table in ["identity", "user_identity", "content", "secret"] {
            assert!(db.number(&format!("select count(*) from {table}")).await > 0);
            for needle in plain {
                let sql = format!(
                    "select count(*) from {table} where position('\\x{}'::bytea in sealed) > 0",
                    hex::encode(needle)
                );
                assert_eq!(db.number(&sql).await, 0);
            }
        }
    }
}

pub async fn another_master_key_opens_nothing(db: Db) {
    db.open().await.close().await;
    let wrong = StoreConfig { master_key: MasterKey::from_bytes([8; 32]), ..db.config() };
    assert!(matches!(db.try_open(&wrong).await, Err(OpenError::WrongMasterKey { .. })));
    db.open().await;
}

pub async fn hashes_hold_over_a_restart(db: Db) {
    let before = db.open().await;
    let (subject, user) = (before.subject_of(&channel(), &openid()), before.user_ref_of(&userid()));
    before.close().await;
    let after = db.open().await;
    assert_eq!((after.subject_of(&channel(), &openid()), after.user_ref_of(&userid())), (subject, user));
    assert_ne!(after.subject_of(&"mp2".parse().unwrap(), &openid()), subject);
}

pub async fn a_secret_reference_is_used_once(db: Db) {
    let (store, executor) = db.node().await;
    let keep = |secret: &str| {
        Effects(vec![Effect::KeepSecret { reference: "ref-1".into(), secret: secret.to_owned().into() }])
    };
    submit(&executor, "mp", keep("first")).await.unwrap();
    assert!(matches!(submit(&executor, "mp", keep("second")).await, Err(SubmitError::Store { .. })));
    assert_eq!(store.secret("ref-1").await.unwrap().unwrap().expose_secret(), "first");
}
