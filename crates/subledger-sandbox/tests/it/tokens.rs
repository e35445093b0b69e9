//! Tokens: families, overlap, rotation, limits, refusals.

use serde_json::json;

use crate::support::{APP, SECRET, World, code, text};

#[tokio::test]
async fn a_new_normal_token_leaves_the_old_one_five_more_minutes() {
    let world = World::new().await;
    let (first, second) = (world.normal().await, world.normal().await);
    assert_eq!(first["expires_in"], 7200);
    let (first, second) = (text(&first, "access_token"), text(&second, "access_token"));
    assert_ne!(first, second);
    world.wechat.advance(299).unwrap();
    assert_eq!((world.verdict(&first).await, world.verdict(&second).await), (0, 0));
    world.wechat.advance(1).unwrap();
    assert_eq!((world.verdict(&first).await, world.verdict(&second).await), (40001, 0));
    world.wechat.advance(6_899).unwrap();
    assert_eq!(world.verdict(&second).await, 0);
    world.wechat.advance(1).unwrap();
    assert_eq!(world.verdict(&second).await, 42001);
}

#[tokio::test]
async fn a_stable_token_stays_until_five_minutes_before_its_end_and_overlaps() {
    let world = World::new().await;
    let first = world.token().await;
    world.wechat.advance(6_899).unwrap();
    let again = world.stable(false).await;
    assert_eq!((text(&again, "access_token"), again["expires_in"].as_i64()), (first.clone(), Some(301)));
    world.wechat.advance(1).unwrap();
    let next = world.stable(false).await;
    assert_ne!(text(&next, "access_token"), first);
    assert_eq!(next["expires_in"], 7200);
    world.wechat.advance(299).unwrap();
    assert_eq!(world.verdict(&first).await, 0);
    world.wechat.advance(1).unwrap();
    assert_eq!(world.verdict(&first).await, 42001);
    assert_eq!(world.verdict(&text(&next, "access_token")).await, 0);
}

#[tokio::test]
async fn the_families_do_not_end_each_other() {
    let world = World::new().await;
    let stable = world.token().await;
    let normal = text(&world.normal().await, "access_token");
    let forced = text(&world.stable(true).await, "access_token");
    world.wechat.advance(400).unwrap();
    assert_eq!(world.verdict(&stable).await, 40001, "force ends the stable token at once");
    assert_eq!((world.verdict(&normal).await, world.verdict(&forced).await), (0, 0));
    world.normal().await;
    world.wechat.advance(301).unwrap();
    assert_eq!((world.verdict(&normal).await, world.verdict(&forced).await), (40001, 0));
}

#[tokio::test]
async fn force_is_throttled_to_thirty_seconds_and_twenty_a_day() {
    let world = World::new().await;
    let mut current = text(&world.stable(true).await, "access_token");
    world.wechat.advance(29).unwrap();
    assert_eq!(text(&world.stable(true).await, "access_token"), current);
    assert_eq!(world.verdict(&current).await, 0);
    for _ in 1..20 {
        world.wechat.advance(30).unwrap();
        let next = text(&world.stable(true).await, "access_token");
        assert_ne!(next, current);
        current = next;
    }
    world.wechat.advance(30).unwrap();
    assert_eq!(code(&world.stable(true).await), 45009);
    assert_eq!(text(&world.stable(false).await, "access_token"), current, "normal mode goes on");
    // It is past 11:00 in China; thirteen hours later is another day there.
    world.wechat.advance(13 * 3_600).unwrap();
    assert_ne!(text(&world.stable(true).await, "access_token"), current);
}

#[tokio::test]
async fn token_calls_have_quotas() {
    let world = World::new().await;
    let defaults = world.wechat.app(APP).unwrap().settings;
    assert_eq!((defaults.token_daily_limit, defaults.force_daily_limit), (2_000, 20));
    assert_eq!((defaults.stable_per_minute_limit, defaults.stable_daily_limit), (10_000, 500_000));
    world
        .wechat
        .change_app(APP, |s| {
            (s.token_daily_limit, s.stable_per_minute_limit, s.stable_daily_limit) = (2, 2, 3)
        })
        .unwrap();
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(&world.normal().await));
    }
    assert_eq!(codes, [0, 0, 45009]);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(code(&world.stable(false).await));
    }
    world.wechat.advance(60).unwrap();
    for _ in 0..2 {
        codes.push(code(&world.stable(false).await));
    }
    assert_eq!(codes, [0, 0, 45011, 0, 45009]);
    world.wechat.advance(13 * 3_600).unwrap();
    assert_eq!((code(&world.normal().await), code(&world.stable(false).await)), (0, 0));
    let calls = world.wechat.stats().token_calls[APP].clone();
    assert_eq!((calls.token, calls.stable, calls.refused), (3, 4, 3));
}

#[tokio::test]
async fn refused_token_calls_say_why() {
    let world = World::new().await;
    for (query, want) in [
        (format!("grant_type=x&appid={APP}&secret={SECRET}"), 40002),
        (format!("grant_type=client_credential&secret={SECRET}"), 41002),
        (format!("grant_type=client_credential&appid={APP}"), 41004),
        (format!("grant_type=client_credential&appid=wxnobody&secret={SECRET}"), 40013),
        (format!("grant_type=client_credential&appid={APP}&secret=wrong"), 40125),
    ] {
        assert_eq!(code(&world.get(&format!("/cgi-bin/token?{query}")).await), want, "{query}");
    }
    let body = |secret: &str| json!({ "grant_type": "client_credential", "appid": APP, "secret": secret });
    assert_eq!(code(&world.post("/cgi-bin/stable_token", &body("wrong")).await), 40125);
    assert_eq!(code(&world.post("/cgi-bin/stable_token", &json!([1])).await), 47001);
    assert_eq!(code(&world.get("/cgi-bin/stable_token").await), 43002);
    assert_eq!(code(&world.get("/cgi-bin/nothing").await), 40066);

    world.wechat.change_app(APP, |s| s.ip_allowlist_on = true).unwrap();
    let refused = world.stable(false).await;
    assert_eq!(code(&refused), 40164);
    assert!(refused["errmsg"].as_str().unwrap().contains("invalid ip 127.0.0.1 "), "{refused}");
    world.wechat.change_app(APP, |s| s.ip_allowlist.push("127.0.0.1".to_owned())).unwrap();
    assert_eq!(code(&world.stable(false).await), 0);
    world.wechat.change_app(APP, |s| s.frozen = true).unwrap();
    assert_eq!(code(&world.normal().await), 40243);
}

#[tokio::test]
async fn bad_tokens_are_told_apart() {
    let world = World::new().await;
    let token = world.token().await;
    assert_eq!(world.verdict("").await, 41001);
    assert_eq!(world.verdict("short").await, 40014);
    assert_eq!(world.verdict(&"x".repeat(136)).await, 40001);
    world.wechat.revoke_tokens(APP).unwrap();
    assert_eq!(world.verdict(&token).await, 40001);
    assert_ne!(world.token().await, token, "a revoked token is not handed out again");
}
