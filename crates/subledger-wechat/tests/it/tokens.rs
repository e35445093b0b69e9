//! The token keeper: one refresh at a time, nobody waits needlessly, nothing hammers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use secrecy::ExposeSecret;
use subledger_wechat::{
    CallError, ConnectFailure, KeeperSettings, NotSentReason, RefusalClass, SecretFuture, SecretSource,
    SecretUnavailable, SendOutcome, TokenError, TokenFailure, TokenKey, TokenMode,
};
use tokio::sync::Semaphore;

use crate::server::{
    APPID, Act, HandClock, SEND, STABLE, Seen, Server, channel, channel_of, fetcher, fetcher_of, keeper, key,
    message, ok, source, until,
};

/// Issues `T1`, `T2`, … each good for two hours.
fn counting() -> impl Fn(&Seen) -> Act {
    let issued = AtomicUsize::new(0);
    move |seen| match seen.path.as_str() {
        STABLE | "/cgi-bin/token" => {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            ok(&format!(r#"{{"access_token":"T{number}","expires_in":7200}}"#))
        }
        _ => ok(r#"{"errcode":0}"#),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_callers_share_one_token_call() {
    let gate = Arc::new(Semaphore::new(0));
    let (inner, held) = (counting(), Arc::clone(&gate));
    let server = Server::start(move |seen| Act::Gate(Arc::clone(&held), Box::new(inner(seen)))).await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let fetcher = fetcher(&server.url(), "SECRET");
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let (keeper, fetcher) = (keeper.clone(), fetcher.clone());
            tokio::spawn(async move { keeper.token(&key(), &fetcher).await })
        })
        .collect();
    until("the call arrives", || server.count(STABLE) == 1).await;
    gate.add_permits(1000);
    for caller in callers {
        let token = caller.await.unwrap().unwrap();
        assert_eq!((token.token.expose_secret(), token.version), ("T1", 1));
    }
    assert_eq!(server.count(STABLE), 1);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_refresh_along() {
    let gate = Arc::new(Semaphore::new(0));
    let (inner, held) = (counting(), Arc::clone(&gate));
    let server = Server::start(move |seen| Act::Gate(Arc::clone(&held), Box::new(inner(seen)))).await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let fetcher = fetcher(&server.url(), "SECRET");
    let (first, also) = (keeper.clone(), fetcher.clone());
    let first = tokio::spawn(async move { first.token(&key(), &also).await });
    until("the call arrives", || server.count(STABLE) == 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.add_permits(1000);
    assert_eq!(keeper.token(&key(), &fetcher).await.unwrap().version, 1);
    assert_eq!(server.count(STABLE), 1);
}

#[tokio::test]
async fn nobody_waits_for_a_refresh_ahead_while_the_old_token_lives() {
    let gate = Arc::new(Semaphore::new(1));
    let (inner, held) = (counting(), Arc::clone(&gate));
    let server = Server::start(move |seen| Act::Gate(Arc::clone(&held), Box::new(inner(seen)))).await;
    let clock = HandClock::new();
    let keeper = keeper(&clock, KeeperSettings::default());
    let fetcher = fetcher(&server.url(), "SECRET");
    let version = async || keeper.token(&key(), &fetcher).await.unwrap().version;
    assert_eq!(version().await, 1);
    clock.advance(7200 - 301);
    assert_eq!(version().await, 1);
    assert_eq!(server.count(STABLE), 1, "not yet due");
    clock.advance(2);
    // The gate is shut now: were a reader to wait for the refresh, it would wait until the time-out.
    assert_eq!(version().await, 1);
    until("the refresh begins", || server.count(STABLE) == 2).await;
    assert_eq!(version().await, 1);
    gate.add_permits(1);
    let renewed = async {
        while version().await == 1 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), renewed).await.unwrap();
    assert_eq!((version().await, server.count(STABLE)), (2, 2));
}

#[tokio::test]
async fn an_expired_token_is_never_handed_out() {
    let server = Server::start(counting()).await;
    let clock = HandClock::new();
    let keeper = keeper(&clock, KeeperSettings::default());
    let fetcher = fetcher(&server.url(), "SECRET");
    keeper.token(&key(), &fetcher).await.unwrap();
    clock.advance(7200);
    assert_eq!(keeper.token(&key(), &fetcher).await.unwrap().version, 2);
}

#[tokio::test]
async fn apps_and_modes_have_tokens_of_their_own() {
    let server = Server::start(counting()).await;
    let keeper = keeper(&HandClock::new(), KeeperSettings::default());
    let normal = TokenKey { appid: APPID.to_owned(), mode: TokenMode::Normal };
    let other = TokenKey { appid: "wx00000000demo0002".to_owned(), mode: TokenMode::Stable };
    for key in [&key(), &normal, &other, &normal] {
        assert_eq!(
            keeper.token(key, &fetcher_of(&server.url(), key, source("SECRET"))).await.unwrap().version,
            1
        );
    }
    assert_eq!(server.count(STABLE), 2);
    let seen = server.seen();
    let old: Vec<&Seen> = seen.iter().filter(|seen| seen.path == "/cgi-bin/token").collect();
    assert_eq!(old.len(), 1);
    assert_eq!(old[0].method, "GET");
    assert_eq!(old[0].query, format!("grant_type=client_credential&appid={APPID}&secret=SECRET"));
}

#[tokio::test]
async fn a_wrong_secret_is_configuration_and_is_not_asked_again_at_once() {
    let server = Server::start(|seen| match seen.path.as_str() {
        STABLE if seen.body.contains("RIGHT") => ok(r#"{"access_token":"T1","expires_in":7200}"#),
        STABLE => ok(r#"{"errcode":40001,"errmsg":"invalid credential rid: 1-2-3"}"#),
        _ => ok(r#"{"errcode":0}"#),
    })
    .await;
    let clock = HandClock::new();
    let keeper = keeper(&clock, KeeperSettings::default());
    let wrong = channel_of(&keeper, &server.url(), "WRONG");
    for _ in 0..5 {
        let SendOutcome::NotSent { reason: NotSentReason::NoToken(error) } = wrong.send(&message("T")).await
        else {
            panic!("must not be sent")
        };
        assert_eq!(error.failure(), TokenFailure::Configuration);
        let TokenError::Call(CallError::Refused { code: 40001, class, .. }) = error else {
            panic!("{error:?}")
        };
        assert_eq!(class, RefusalClass::ChannelConfig, "from the token call 40001 is no stale token");
    }
    assert_eq!((server.count(STABLE), server.count(SEND)), (1, 0));
    clock.advance(31);
    wrong.send(&message("T")).await;
    assert_eq!(server.count(STABLE), 2, "asked again after the hold");

    // New credentials do not wait for the hold.
    keeper.forget(&key());
    let right = channel_of(&keeper, &server.url(), "RIGHT");
    assert_eq!(right.send(&message("T")).await, SendOutcome::Accepted { msgid: None });
}

#[tokio::test]
async fn a_probe_tells_wechats_reason_and_what_to_do() {
    let text = "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist rid: 1-2-5";
    let answer = Arc::new(Mutex::new(format!(r#"{{"errcode":40164,"errmsg":"{text}"}}"#)));
    let scripted = Arc::clone(&answer);
    let server = Server::start(move |_| ok(&scripted.lock().unwrap())).await;
    let channel = channel(&server.url());
    let probe = channel.probe().await;
    let Err(TokenError::Call(CallError::Refused { code, message: told, rid, class })) = &probe.result else {
        panic!("{probe:?}")
    };
    assert_eq!((*code, told.as_str(), rid.as_deref()), (40164, text, Some("1-2-5")));
    assert_eq!(*class, RefusalClass::ChannelConfig);
    assert_eq!(probe.caller_ip.as_deref(), Some("203.0.113.9"));
    let advice = probe.advice.unwrap();
    assert!(advice.en.contains("allow-list") && advice.zh.contains("白名单"));

    // Not held back by the refusal before, and what it gets is kept.
    *answer.lock().unwrap() = r#"{"access_token":"T1","expires_in":7200}"#.to_owned();
    let probe = channel.probe().await;
    assert_eq!((probe.result, probe.advice), (Ok(7200), None));
    *answer.lock().unwrap() = r#"{"errcode":0}"#.to_owned();
    assert_eq!(channel.send(&message("T")).await, SendOutcome::Accepted { msgid: None });
    assert_eq!(server.count(STABLE), 2);
}

#[tokio::test]
async fn a_probe_of_an_unreachable_host_has_no_advice() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let probe = channel(&format!("http://{closed}")).probe().await;
    let refused = CallError::NotReached(ConnectFailure::Refused);
    assert_eq!((probe.result, probe.advice), (Err(TokenError::Call(refused)), None));
}

#[tokio::test]
async fn a_spent_budget_stops_the_refreshes() {
    let inner = counting();
    let server = Server::start(move |seen| match seen.path.as_str() {
        SEND => ok(r#"{"errcode":42001,"errmsg":"expired"}"#),
        _ => inner(seen),
    })
    .await;
    let settings = KeeperSettings { refreshes_per_hour: 4, ..KeeperSettings::default() };
    let clock = HandClock::new();
    let keeper = keeper(&clock, settings);
    let channel = channel_of(&keeper, &server.url(), "SECRET");
    let mut last = channel.send(&message("T")).await;
    for _ in 0..10 {
        last = channel.send(&message("T")).await;
    }
    assert_eq!(server.count(STABLE), 4);
    let SendOutcome::NotSent { reason: NotSentReason::NoToken(error @ TokenError::BudgetSpent { .. }) } =
        last
    else {
        panic!("{last:?}")
    };
    assert_eq!(error.failure(), TokenFailure::Transient);
    clock.advance(3600);
    channel.send(&message("T")).await;
    assert!(server.count(STABLE) > 4, "an hour later there is budget again");
}

struct Missing(SecretUnavailable);

impl SecretSource for Missing {
    fn secret<'a>(&'a self, _appid: &'a str) -> SecretFuture<'a> {
        let why = self.0;
        Box::pin(async move { Err(why) })
    }
}

struct Dying;

impl SecretSource for Dying {
    fn secret<'a>(&'a self, _appid: &'a str) -> SecretFuture<'a> {
        Box::pin(async { panic!("the store died") })
    }
}

#[tokio::test]
async fn a_missing_secret_ends_in_an_error_and_blocks_nobody() {
    let server = Server::start(counting()).await;
    let clock = HandClock::new();
    let keeper = keeper(&clock, KeeperSettings::default());
    let fetcher = fetcher(&server.url(), "SECRET");
    for (why, failure) in [
        (SecretUnavailable::NotSet, TokenFailure::Configuration),
        (SecretUnavailable::Temporary, TokenFailure::Transient),
    ] {
        let missing = fetcher_of(&server.url(), &key(), Arc::new(Missing(why)));
        let error = keeper.token(&key(), &missing).await.unwrap_err();
        assert_eq!((error.clone(), error.failure()), (TokenError::Secret(why), failure));
        clock.advance(60);
    }
    let dying = fetcher_of(&server.url(), &key(), Arc::new(Dying));
    assert_eq!(keeper.token(&key(), &dying).await.unwrap_err(), TokenError::Interrupted);
    assert_eq!(keeper.token(&key(), &fetcher).await.unwrap().version, 1);
}
