//! Third-party platforms: the newest ticket counts, a code is carried out once, and an older refresh token never takes the
//! place of a newer one.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::ChannelCode;
use subledger_store::{
    AuthorizationEnd, BegunAuthorization, BegunStatus, CodeStatus, NewCode, Pace, Store, TokenAsk,
    TokenClaim, TokenWish,
};

use crate::fixture::{Db, START};

const COMPONENT: &str = "wx00000000comp0001";
const OTHER: &str = "wx00000000comp0002";
const APPID: &str = "wx00000000demo0001";

fn secret(text: &str) -> SecretString {
    text.into()
}

fn channel() -> ChannelCode {
    "mp".parse().unwrap()
}

async fn ticket(store: &Store, component: &str) -> Option<String> {
    let ticket = store.ticket(component).await.unwrap();
    ticket.map(|ticket| ticket.ticket.expose_secret().to_owned())
}

pub async fn the_newest_ticket_of_each_platform_is_kept_over_restarts(db: Db) {
    let store = db.open().await;
    assert_eq!(ticket(&store, COMPONENT).await, None);
    store.watch_platform(COMPONENT).await.unwrap();
    assert_eq!(ticket(&store, COMPONENT).await, None, "watched, and none came yet");
    assert!(store.keep_ticket(COMPONENT, &secret("ticket-2"), 200).await.unwrap());
    assert!(store.keep_ticket(OTHER, &secret("ticket-of-other"), 50).await.unwrap());
    assert!(!store.keep_ticket(COMPONENT, &secret("ticket-1"), 100).await.unwrap(), "a late one");
    db.clock.advance_seconds(600);
    assert!(store.keep_ticket(COMPONENT, &secret("ticket-2"), 800).await.unwrap(), "the same one again");
    store.watch_platform(COMPONENT).await.unwrap();
    drop(store);

    let store = db.open().await;
    assert_eq!(ticket(&store, COMPONENT).await.as_deref(), Some("ticket-2"));
    assert_eq!(ticket(&store, OTHER).await.as_deref(), Some("ticket-of-other"));
    let watched = store.watched_platforms().await.unwrap();
    let seen: Vec<_> =
        watched.iter().map(|one| (one.component_appid.as_str(), one.tickets, one.received_at)).collect();
    assert_eq!(seen, [(COMPONENT, 2, Some(START.plus_seconds(600))), (OTHER, 1, Some(START))]);
}

pub async fn tickets_are_asked_for_by_one_node_at_a_time(db: Db) {
    let (one, two) = (db.open().await, db.open().await);
    assert!(!one.note_ticket_ask(COMPONENT, START).await.unwrap(), "nobody watches it");
    one.watch_platform(COMPONENT).await.unwrap();
    let before = START.plus_seconds(-600);
    let asked = [
        one.note_ticket_ask(COMPONENT, before).await.unwrap(),
        two.note_ticket_ask(COMPONENT, before).await.unwrap(),
    ];
    assert_eq!(asked, [true, false]);
    db.clock.advance_seconds(601);
    assert!(two.note_ticket_ask(COMPONENT, START).await.unwrap());
    let watched = one.watched_platform(COMPONENT).await.unwrap().unwrap();
    assert_eq!((watched.asked_at, watched.received_at), (Some(START.plus_seconds(601)), None));
}

fn begun(n: u8, request: Option<&str>) -> BegunAuthorization {
    BegunAuthorization {
        id: [n; 16],
        component_appid: COMPONENT.to_owned(),
        channel: channel(),
        state: secret(&format!("state-{n}")),
        preauth_code: secret(&format!("preauth-{n}")),
        request: request.map(str::to_owned),
        expires_at: START.plus_seconds(1_800),
    }
}

pub async fn an_authorization_is_found_by_state_code_and_request_and_ends_once(db: Db) {
    let store = db.open().await;
    assert!(store.begin_authorization(&begun(1, Some("app:key"))).await.unwrap());
    assert!(store.begin_authorization(&begun(2, None)).await.unwrap());
    assert!(
        store.begin_authorization(&begun(3, None)).await.unwrap(),
        "none is like another without a request"
    );
    assert!(!store.begin_authorization(&begun(4, Some("app:key"))).await.unwrap(), "a repetition");

    let id = |found: Option<subledger_store::Begun>| found.map(|begun| begun.id[0]);
    assert_eq!(id(store.begun(&[1; 16]).await.unwrap()), Some(1));
    assert_eq!(id(store.begun_by_request("app:key").await.unwrap()), Some(1));
    assert_eq!(id(store.begun_by_state(&secret("state-2")).await.unwrap()), Some(2));
    assert_eq!(id(store.begun_by_preauth(COMPONENT, &secret("preauth-2")).await.unwrap()), Some(2));
    assert_eq!(id(store.begun_by_preauth(OTHER, &secret("preauth-2")).await.unwrap()), None);
    assert_eq!(id(store.begun_by_state(&secret("state-4")).await.unwrap()), None);

    let found = store.begun(&[1; 16]).await.unwrap().unwrap();
    assert_eq!((found.status, found.channel, found.ended_at), (BegunStatus::Waiting, channel(), None));
    let (state, preauth) = found.link.unwrap();
    assert_eq!((state.expose_secret(), preauth.expose_secret()), ("state-1", "preauth-1"));

    assert!(store.end_authorization(&[1; 16], AuthorizationEnd::Authorized, "{}").await.unwrap());
    assert!(!store.end_authorization(&[1; 16], AuthorizationEnd::Refused, "{}").await.unwrap());
    let found = store.begun(&[1; 16]).await.unwrap().unwrap();
    assert_eq!((found.status, found.outcome.as_deref()), (BegunStatus::Authorized, Some("{}")));
    assert!(found.link.is_none() && found.ended_at == Some(START), "what was secret is gone");
}

fn code(text: &str) -> NewCode {
    NewCode {
        component_appid: COMPONENT.to_owned(),
        code: secret(text),
        begun: None,
        appid: None,
        dated: 100,
        expires_at: START.plus_seconds(3_600),
    }
}

pub async fn a_code_that_comes_both_ways_is_one_and_is_carried_out_once(db: Db) {
    let store = db.open().await;
    let key = store.keep_code(&NewCode { begun: Some([1; 16]), ..code("code-1") }).await.unwrap();
    let again = store.keep_code(&NewCode { appid: Some(APPID.to_owned()), ..code("code-1") }).await.unwrap();
    assert_eq!(key, again);
    let due = store.due_codes(10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!(
        (due[0].begun, due[0].appid.as_deref()),
        (Some([1; 16]), Some(APPID)),
        "each way knew something"
    );
    assert_eq!(due[0].code.as_ref().unwrap().expose_secret(), "code-1");

    store.postpone_code(COMPONENT, &key, START.plus_seconds(5)).await.unwrap();
    assert!(store.due_codes(10).await.unwrap().is_empty());
    db.clock.advance_seconds(5);
    assert_eq!(store.due_codes(10).await.unwrap()[0].tries, 1);

    store.settle_code(COMPONENT, &key, true, r#"{"appid":"x"}"#).await.unwrap();
    store.settle_code(COMPONENT, &key, false, "{}").await.unwrap();
    store.postpone_code(COMPONENT, &key, START).await.unwrap();
    assert!(store.due_codes(10).await.unwrap().is_empty());
    store.keep_code(&code("code-1")).await.unwrap();
    let found = store.code(COMPONENT, &key).await.unwrap().unwrap();
    assert_eq!(found.status, CodeStatus::Done, "it came once more and stays carried out");
    assert!(found.code.is_none() && found.outcome.as_deref() == Some(r#"{"appid":"x"}"#));
}

pub async fn old_authorizations_and_codes_are_forgotten(db: Db) {
    let store = db.open().await;
    store.begin_authorization(&begun(1, None)).await.unwrap();
    let key = store.keep_code(&code("code-1")).await.unwrap();
    assert_eq!(store.forget_old_authorizations(START.plus_seconds(1_800)).await.unwrap(), 0);
    assert_eq!(store.forget_old_authorizations(START.plus_seconds(3_601)).await.unwrap(), 2);
    assert!(store.begun(&[1; 16]).await.unwrap().is_none());
    assert!(store.code(COMPONENT, &key).await.unwrap().is_none());
}

async fn refresh_token(store: &Store) -> (u64, Option<String>) {
    let found = store.authorizer(COMPONENT, APPID).await.unwrap().unwrap();
    (found.version, found.refresh_token.map(|token| token.expose_secret().to_owned()))
}

pub async fn an_older_refresh_token_never_takes_the_place_of_a_newer_one(db: Db) {
    let store = db.open().await;
    let authorize = |token: &'static str, dated| {
        let store = store.clone();
        async move {
            let token = secret(token);
            store.supersede_refresh_token(COMPONENT, APPID, Some(&token), dated).await.unwrap()
        }
    };
    assert_eq!(authorize("first", 100).await, 1);
    // A node reads version 1 and asks WeChat; meanwhile the administrator authorizes again.
    assert_eq!(authorize("second", 200).await, 2);
    let late = store.replace_refresh_token(COMPONENT, APPID, 1, &secret("of the first")).await.unwrap();
    assert!(!late);
    assert_eq!(refresh_token(&store).await, (2, Some("second".to_owned())));
    assert!(store.replace_refresh_token(COMPONENT, APPID, 2, &secret("third")).await.unwrap());
    assert!(!store.replace_refresh_token(COMPONENT, APPID, 2, &secret("of another node")).await.unwrap());
    assert_eq!(refresh_token(&store).await, (3, Some("third".to_owned())));
}

pub async fn a_loss_that_is_older_than_the_authorization_undoes_nothing(db: Db) {
    let store = db.open().await;
    assert!(!store.lose_refresh_token(COMPONENT, APPID, 500).await.unwrap(), "there is none");
    let token = secret("token");
    store.supersede_refresh_token(COMPONENT, APPID, Some(&token), 200).await.unwrap();
    store.link_authorizer(COMPONENT, APPID, &channel()).await.unwrap();
    assert!(!store.lose_refresh_token(COMPONENT, APPID, 199).await.unwrap(), "it was given again since");
    assert_eq!(refresh_token(&store).await, (1, Some("token".to_owned())));
    assert!(store.lose_refresh_token(COMPONENT, APPID, 200).await.unwrap());
    assert_eq!(refresh_token(&store).await, (2, None));
    let stale = store.replace_refresh_token(COMPONENT, APPID, 1, &secret("of a slow node")).await.unwrap();
    assert!(!stale, "a refresh that began before the loss brings nothing back");

    // Authorized again: it stays the same channel's.
    store.supersede_refresh_token(COMPONENT, APPID, Some(&token), 100).await.unwrap();
    let found = store.authorizers(COMPONENT, "", 10).await.unwrap();
    assert_eq!((found.len(), found[0].channel.clone()), (1, Some(channel())));
    assert!(!store.lose_refresh_token(COMPONENT, APPID, 150).await.unwrap(), "the newest time counts");
    assert!(store.authorizers(COMPONENT, APPID, 10).await.unwrap().is_empty(), "those after it");
}

pub async fn a_channel_is_called_by_one_platform(db: Db) {
    let store = db.open().await;
    assert!(store.authorizer_in_use(APPID).await.unwrap().is_none());
    let in_use = || async { store.authorizer_in_use(APPID).await.unwrap().unwrap() };
    let token = secret("token");
    store.supersede_refresh_token(COMPONENT, APPID, Some(&token), 1).await.unwrap();
    db.clock.advance_seconds(1);
    store.supersede_refresh_token(OTHER, APPID, Some(&token), 2).await.unwrap();
    assert_eq!(in_use().await.component_appid, OTHER, "no channel yet: the newest");
    store.link_authorizer(COMPONENT, APPID, &channel()).await.unwrap();
    assert_eq!(in_use().await.component_appid, COMPONENT, "the one of its channel");
    store.link_authorizer(OTHER, APPID, &channel()).await.unwrap();
    assert_eq!((in_use().await.component_appid, in_use().await.channel), (OTHER.to_owned(), Some(channel())));
    assert_eq!(store.authorizer(COMPONENT, APPID).await.unwrap().unwrap().channel, None, "it changed over");
}

pub async fn nothing_of_a_platform_is_stored_in_the_clear(db: Db) {
    const PLANTED: &str = "planted-platform-secret-0123456789";
    let store = db.open().await;
    let planted = secret(PLANTED);
    store.keep_ticket(COMPONENT, &planted, 1).await.unwrap();
    store
        .begin_authorization(&BegunAuthorization {
            state: planted.clone(),
            preauth_code: planted.clone(),
            request: Some(PLANTED.to_owned()),
            ..begun(1, None)
        })
        .await
        .unwrap();
    store.keep_code(&code(PLANTED)).await.unwrap();
    store.supersede_refresh_token(COMPONENT, APPID, Some(&planted), 1).await.unwrap();
    for column in [
        "ticket from platform",
        "state_hash from platform_authorization",
        "preauth_hash from platform_authorization",
        "request_hash from platform_authorization",
        "sealed from platform_authorization",
        "code from platform_code",
        "sealed from platform_code",
        "refresh_token from authorizer",
    ] {
        let rows = db.bytes(&format!("select {column}")).await;
        assert_eq!(rows.len(), 1, "{column}");
        let clear = rows[0].windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes());
        assert!(!clear, "{column}");
        assert!(rows[0].len() == 16 || rows[0].len() > 40, "{column} is a hash or sealed");
    }
}

pub async fn what_is_secret_of_platforms_goes_under_a_new_data_key(db: Db) {
    let (store, other) = (db.open().await, db.open().await);
    store.keep_ticket(COMPONENT, &secret("ticket-1"), 1).await.unwrap();
    store.begin_authorization(&begun(1, None)).await.unwrap();
    let key = store.keep_code(&code("code-1")).await.unwrap();
    store.supersede_refresh_token(COMPONENT, APPID, Some(&secret("refresh-1")), 1).await.unwrap();
    let ask = |holder: &str| TokenAsk {
        holder: holder.to_owned(),
        lease: Duration::from_secs(60),
        budget: 60,
        newer_than: 0,
        refused: false,
        wish: TokenWish::Any,
    };
    let turn = store.token_claim(APPID, "platform", &ask("a")).await.unwrap();
    let TokenClaim::Turn(turn) = turn.claim else { panic!("{turn:?}") };
    store.token_keep(APPID, "platform", &turn, &secret("token-1"), Duration::from_secs(7200)).await.unwrap();

    store.add_data_key().await.unwrap();
    let report = store.reseal(Pace::default(), |_| {}).await.unwrap();
    assert!(report.retired, "{report:?}");
    for table in ["token", "platform", "platform_authorization", "platform_code", "authorizer"] {
        let told = report.tables.iter().find(|told| told.table == table).unwrap();
        assert_eq!((told.seen, told.resealed, told.left), (1, 1, 0), "{told:?}");
    }
    for store in [&store, &other] {
        assert_eq!(ticket(store, COMPONENT).await.as_deref(), Some("ticket-1"));
        let (state, _) = store.begun(&[1; 16]).await.unwrap().unwrap().link.unwrap();
        assert_eq!(state.expose_secret(), "state-1");
        let code = store.code(COMPONENT, &key).await.unwrap().unwrap().code.unwrap();
        assert_eq!(code.expose_secret(), "code-1");
        assert_eq!(refresh_token(store).await.1.as_deref(), Some("refresh-1"));
        let claimed = store.token_claim(APPID, "platform", &ask("b")).await.unwrap();
        let TokenClaim::Kept(token) = claimed.claim else { panic!("{claimed:?}") };
        assert_eq!(token.token.expose_secret(), "token-1");
    }
}
