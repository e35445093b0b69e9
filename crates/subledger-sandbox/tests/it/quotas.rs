//! Daily quotas: what is used, what is left, forgetting it, midnight in China.

use serde_json::{Value, json};
use subledger_sandbox::{Reality, SandboxConfig};

use crate::platform_world::Open;
use crate::support::{APP, SECRET, World, code, config, order};

const SEND: &str = "/cgi-bin/message/subscribe/send";

async fn quota(world: &World, token: &str, path: &str) -> Value {
    world
        .post(&format!("/cgi-bin/openapi/quota/get?access_token={token}"), &json!({ "cgi_path": path }))
        .await
}

async fn used(world: &World, token: &str, path: &str) -> (u64, u64, u64) {
    let got = quota(world, token, path).await;
    assert_eq!(code(&got), 0, "{got}");
    let part = |name: &str| got["quota"][name].as_u64().unwrap();
    (part("daily_limit"), part("used"), part("remain"))
}

#[tokio::test]
async fn sends_use_the_quota_up_until_midnight_in_china() {
    let world = World::new().await;
    let token = world.token().await;
    world.wechat.change_app(APP, |s| s.daily_limit = 3).unwrap();
    assert_eq!(used(&world, &token, SEND).await, (3, 0, 3));
    for (sent, want) in [(1, 0), (2, 0), (3, 0), (3, 45009)] {
        assert_eq!(code(&world.send(&token, &order(&world.user_with(1))).await), want);
        assert_eq!(used(&world, &token, SEND).await, (3, sent, 3 - sent));
    }
    // It is 11:00 in China.
    world.wechat.advance(13 * 3_600 - 1).unwrap();
    let token = world.token().await;
    assert_eq!(used(&world, &token, SEND).await, (3, 3, 0));
    assert_eq!(code(&world.send(&token, &order(&world.user_with(1))).await), 45009);
    world.wechat.advance(1).unwrap();
    assert_eq!(used(&world, &token, SEND).await, (3, 0, 3));
    assert_eq!(code(&world.send(&token, &order(&world.user_with(1))).await), 0);
}

#[tokio::test]
async fn each_call_has_its_own_quota_and_minute_limits_are_told() {
    let open = Open::new().await;
    let (_, held, _) = open.connected().await;
    let world = &open.world;
    let token = world.token().await;
    world.normal().await;
    world.wechat.change_app(APP, |s| (s.template_daily_limit, s.per_minute_limit) = (2, 7)).unwrap();
    for want in [0, 0, 45009] {
        assert_eq!(world.verdict(&token).await, want);
    }
    assert_eq!(used(world, &token, "/wxaapi/newtmpl/gettemplate").await, (2, 2, 0));
    assert_eq!(used(world, &token, "/cgi-bin/token").await, (2_000, 1, 1_999));
    assert_eq!(used(world, &token, "/cgi-bin/stable_token").await, (500_000, 1, 499_999));
    let own = quota(world, &token, SEND).await;
    let rate = json!({ "call_count": 7, "refresh_second": 60 });
    assert_eq!((&own["rate_limit"], own.get("component_rate_limit")), (&rate, None));
    let platform = quota(world, &held, SEND).await;
    assert_eq!(platform["component_rate_limit"], rate);
    assert_eq!(platform["quota"], own["quota"], "a platform uses the app's quota");
    for (path, want) in
        [("cgi-bin/x", 76003), ("", 76003), ("/cgi-bin/x", 76021), ("/sns/jscode2session", 76022)]
    {
        assert_eq!(code(&quota(world, &token, path).await), want, "{path}");
    }
    assert_eq!(code(&quota(world, "short", SEND).await), 40014);
    assert_eq!(world.wechat.stats().quota_get[&76021], 1);
}

#[tokio::test]
async fn quotas_are_cleared_ten_times_a_month() {
    let world = World::new().await;
    let token = world.token().await;
    world.wechat.change_app(APP, |s| s.daily_limit = 1).unwrap();
    let spent = async || {
        assert_eq!(code(&world.send(&token, &order(&world.user_with(1))).await), 0);
        assert_eq!(code(&world.send(&token, &order(&world.user_with(1))).await), 45009);
    };
    let clear = async |appid: &str| {
        let path = format!("/cgi-bin/clear_quota?access_token={token}");
        code(&world.post(&path, &json!({ "appid": appid })).await)
    };
    let clear_one = async |path: &str| {
        let body = json!({ "cgi_path": path });
        code(&world.post(&format!("/cgi-bin/openapi/quota/clear?access_token={token}"), &body).await)
    };
    let by_secret = async |secret: &str| {
        code(&world.post("/cgi-bin/clear_quota/v2", &json!({ "appid": APP, "appsecret": secret })).await)
    };
    spent().await;
    assert_eq!(
        (clear("wxother").await, by_secret("wrong").await, clear_one("/x").await),
        (40013, 40125, 76021)
    );
    assert_eq!(clear(APP).await, 0);
    spent().await;
    assert_eq!(by_secret(SECRET).await, 0);
    spent().await;
    assert_eq!(clear_one("/cgi-bin/token").await, 0);
    assert_eq!(used(&world, &token, SEND).await, (1, 1, 0), "another call's quota");
    assert_eq!(clear_one(SEND).await, 0);
    for _ in 4..10 {
        spent().await;
        assert_eq!(clear(APP).await, 0);
    }
    assert_eq!((clear(APP).await, clear_one(SEND).await, by_secret(SECRET).await), (48006, 48006, 48006));
    assert_eq!(world.wechat.stats().clear_quota[&48006], 3);
    // From 2 January 11:00 in China to the first moment of February there.
    world.wechat.advance(29 * 86_400 + 13 * 3_600 - 1).unwrap();
    assert_eq!(by_secret(SECRET).await, 48006);
    world.wechat.advance(1).unwrap();
    assert_eq!(by_secret(SECRET).await, 0);
}

#[tokio::test]
async fn figures_may_be_a_little_wrong() {
    let reality = Reality { quota_wrong_by: 0.1, ..Reality::default() };
    let world = World::with(SandboxConfig { reality, ..config() }).await;
    let token = world.token().await;
    for _ in 0..100 {
        world.verdict(&token).await;
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let (limit, used, remain) = used(&world, &token, "/wxaapi/newtmpl/gettemplate").await;
        assert!((90..=110).contains(&used) && used + remain == limit, "{used} {remain} of {limit}");
        seen.insert(used);
    }
    assert!(seen.len() > 3, "{seen:?}");
}
