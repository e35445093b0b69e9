//! Tokens WeChat no longer accepts: at most one refresh and one repeat per call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use subledger_wechat::{
    CallError, ChannelError, KeeperSettings, NotSentReason, SendOutcome, TokenConflict, TokenError,
};
use tokio::sync::Semaphore;

use crate::server::{Act, HandClock, SEND, STABLE, Seen, Server, channel, channel_of, keeper, message, ok};

/// Issues `T1`, `T2`, …; every other call refuses the tokens up to `stale` with `code` and takes later ones.
fn refusing(stale: usize, code: i64, good: &'static str) -> impl Fn(&Seen) -> Act {
    let issued = AtomicUsize::new(0);
    move |seen| {
        if seen.path == STABLE {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            return ok(&format!(r#"{{"access_token":"T{number}","expires_in":7200}}"#));
        }
        let number: usize = seen.query.strip_prefix("access_token=T").unwrap().parse().unwrap();
        if number <= stale {
            ok(&format!(r#"{{"errcode":{code},"errmsg":"invalid credential rid: 1-2-{number}"}}"#))
        } else {
            ok(good)
        }
    }
}

#[tokio::test]
async fn a_stale_token_costs_exactly_one_refresh_and_one_repeat() {
    for code in [40001, 40014, 42001] {
        let server = Server::start(refusing(1, code, r#"{"errcode":0,"msgid":7}"#)).await;
        let channel = channel(&server.url());
        let accepted = SendOutcome::Accepted { msgid: Some("7".to_owned()) };
        assert_eq!(channel.send(&message("T")).await, accepted);
        assert_eq!((server.count(STABLE), server.count(SEND)), (2, 2), "{code}");
        assert_eq!(channel.send(&message("T")).await, accepted);
        assert_eq!((server.count(STABLE), server.count(SEND)), (2, 3), "the fresh token is kept");
    }
}

#[tokio::test]
async fn a_second_stale_answer_is_a_conflict_and_not_sent() {
    let server = Server::start(refusing(9, 40001, "{}")).await;
    let outcome = channel(&server.url()).send(&message("T")).await;
    let conflict = TokenConflict {
        code: 40001,
        message: "invalid credential rid: 1-2-2".to_owned(),
        rid: Some("1-2-2".to_owned()),
        token_age_micros: 0,
    };
    assert_eq!(outcome, SendOutcome::NotSent { reason: NotSentReason::TokenConflict(conflict) });
    assert_eq!((server.count(STABLE), server.count(SEND)), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_concurrent_stale_answers_cause_one_refresh() {
    const SENDS: usize = 20;
    let gate = Arc::new(Semaphore::new(0));
    let (inner, held) = (refusing(1, 40001, r#"{"errcode":0}"#), Arc::clone(&gate));
    let server = Server::start(move |seen| {
        let act = inner(seen);
        // All sends with the first token are answered together, after the last one has arrived.
        if seen.query == "access_token=T1" { Act::Gate(Arc::clone(&held), Box::new(act)) } else { act }
    })
    .await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let channel = channel_of(&keeper, &server.url(), "SECRET");
    let sends: Vec<_> = (0..SENDS)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { channel.send(&message("T")).await })
        })
        .collect();
    crate::server::until("all sends arrive", || server.count(SEND) == SENDS).await;
    gate.add_permits(SENDS);
    for send in sends {
        assert_eq!(send.await.unwrap(), SendOutcome::Accepted { msgid: None });
    }
    assert_eq!((server.count(STABLE), server.count(SEND)), (2, 2 * SENDS));
}

#[tokio::test]
async fn a_late_stale_answer_about_an_old_token_does_not_kill_the_new_one() {
    let server = Server::start(refusing(0, 0, r#"{"errcode":0}"#)).await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let fetcher = crate::server::fetcher(&server.url(), "SECRET");
    let key = crate::server::key();
    let first = keeper.token(&key, &fetcher).await.unwrap();
    assert!(keeper.invalidate_if(&key, first.version, 40001));
    let second = keeper.token(&key, &fetcher).await.unwrap();
    assert!(!keeper.invalidate_if(&key, first.version, 40001));
    assert_eq!(keeper.token(&key, &fetcher).await.unwrap().version, second.version);
    assert_eq!(server.count(STABLE), 2);
}

#[tokio::test]
async fn a_refresh_that_fails_after_a_stale_answer_is_not_sent() {
    let calls = AtomicUsize::new(0);
    let server = Server::start(move |seen| match seen.path.as_str() {
        STABLE if calls.fetch_add(1, Ordering::SeqCst) == 0 => {
            ok(r#"{"access_token":"T1","expires_in":7200}"#)
        }
        STABLE => ok(r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#),
        _ => ok(r#"{"errcode":40001,"errmsg":"invalid credential"}"#),
    })
    .await;
    let outcome = channel(&server.url()).send(&message("T")).await;
    let SendOutcome::NotSent { reason: NotSentReason::NoToken(TokenError::Call(error)) } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(matches!(error, CallError::Refused { code: 40125, .. }));
    assert_eq!(server.count(SEND), 1);
}

#[tokio::test]
async fn the_template_list_handles_stale_tokens_the_same_way() {
    let server = Server::start(refusing(1, 42001, r#"{"errcode":0,"data":[]}"#)).await;
    assert_eq!(channel(&server.url()).templates().await.unwrap().templates, []);
    assert_eq!(server.count("/wxaapi/newtmpl/gettemplate"), 2);
    let server = Server::start(refusing(9, 42001, "{}")).await;
    let error = channel(&server.url()).templates().await.unwrap_err();
    assert!(matches!(error, ChannelError::TokenConflict(TokenConflict { code: 42001, .. })));
}
