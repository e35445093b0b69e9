//! WeChat tells of an authorization twice, by the browser and by a push, and either may be lost, late or repeated.

use serde_json::{Value, json};

use crate::{
    on_both_databases,
    support::{APPID, CHANNEL, COMPONENT, Database, Stage, Told, run_cli},
};

on_both_databases!(either_way_is_enough_and_both_count_once);
on_both_databases!(what_is_told_again_changes_nothing);

/// The kinds of the events that are about the authorization, in order.
fn told(database: &Database) -> Vec<String> {
    let listed = run_cli(database, &["events", "list", "--log", CHANNEL, "--limit", "1000", "--json"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let said = String::from_utf8_lossy(&listed.stdout);
    let kinds = said.lines().map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["kind"].as_str().unwrap().to_owned()
    });
    kinds.filter(|kind| kind.contains("authoriz")).collect()
}

async fn either_way_is_enough_and_both_count_once(database: Database) {
    let stage = Stage::with_platform(database).await;
    for (round, told_by) in [Told::Push, Told::Browser, Told::Both].into_iter().enumerate() {
        let begun = stage.begin().await;
        stage.scan(&begun, &[17, 18], told_by).await;
        let shown = stage.ended(&begun).await;
        assert_eq!(shown["status"], "authorized", "{told_by:?}: {shown}");
        let expected = [&["channel.authorized", "channel.unauthorized"][..]; 3].concat();
        assert_eq!(told(&stage.database), expected[..2 * round + 1], "{told_by:?}");
        let taken = json!({ "appid": APPID });
        stage.wechat.post(&format!("/sandbox/platforms/{COMPONENT}/deauthorize"), &taken).await;
        stage.settle().await;
        assert_eq!(told(&stage.database), expected[..2 * round + 2], "{told_by:?}");
    }
}

async fn what_is_told_again_changes_nothing(database: Database) {
    let stage = Stage::with_platform(database).await;
    for event in ["authorized", "unauthorized"] {
        let twice = json!({ "kind": "duplicated", "event": event, "copies": 2, "times": 0 });
        stage.wechat.post("/sandbox/push-faults", &twice).await;
    }
    let begun = stage.begin().await;
    let spec = json!({ "appid": APPID, "link": begun["pc_url"], "permission_sets": [17, 18] });
    let scanned = stage.wechat.post(&format!("/sandbox/platforms/{COMPONENT}/authorize"), &spec).await;
    let redirect = scanned["redirect"].as_str().unwrap();
    for _ in 0..3 {
        assert_eq!(stage.browse(redirect).await, 200);
    }
    stage.settle().await;
    assert_eq!(stage.ended(&begun).await["status"], "authorized");
    assert_eq!(told(&stage.database), ["channel.authorized"]);

    // Another state is nobody's: it is refused, and nothing is asked of WeChat for it.
    let asked = stage.platform_calls("query_auth").await.len();
    let state = reqwest::Url::parse(redirect).unwrap();
    let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let forged = redirect.replace(&state, "0123456789abcdef0123456789abcdef");
    assert!((400..500).contains(&stage.browse(&forged).await));
    assert_eq!(stage.platform_calls("query_auth").await.len(), asked);

    stage
        .wechat
        .post(&format!("/sandbox/platforms/{COMPONENT}/deauthorize"), &json!({ "appid": APPID }))
        .await;
    stage.settle().await;
    // The browser's tab is opened once more, a day later.
    stage.browse(redirect).await;
    stage.settle().await;
    assert_eq!(told(&stage.database), ["channel.authorized", "channel.unauthorized"]);
}

/// WeChat's page opens only for browsers that come from the platform's domain, so what is handed out is a page there.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_that_is_handed_out_leads_to_wechat_s() {
    let stage = Stage::with_platform(Database::sqlite()).await;
    let domain = json!({ "login_domain": "127.0.0.1" });
    stage.wechat.patch(&format!("/sandbox/platforms/{COMPONENT}"), &domain).await;
    let begun = stage.begin().await;
    let start = begun["start_url"].as_str().unwrap();
    assert!(
        start.starts_with(&format!("{}/callbacks/wechat-open/{COMPONENT}/start/", stage.client.url)),
        "{start}"
    );
    let browser = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = browser.get(start).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), &page.headers()["referrer-policy"]),
        (200, &"origin".parse().unwrap())
    );
    let page = page.text().await.unwrap();
    let (_, rest) = page.split_once("href=\"").unwrap();
    let link = rest.split_once('"').unwrap().0.replace("&amp;", "&");
    assert_eq!(begun["pc_url"], link);
    assert!(page.contains("<svg"), "for phones: {page}");

    let from_nowhere = browser.get(&link).send().await.unwrap().text().await.unwrap();
    let origin = format!("{}/", stage.client.url);
    let led_on = browser.get(&link).header("referer", origin).send().await.unwrap().text().await.unwrap();
    assert!(led_on.contains("<form") && !from_nowhere.contains("<form"), "{from_nowhere} {led_on}");

    assert_eq!(stage.browse(&start.replace("/start/", "/start/x")).await, 404);
    stage.scan(&begun, &[17, 18], Told::Both).await;
    stage.ended(&begun).await;
    assert_eq!(stage.browse(start).await, 410, "a link is good once");
    let id = begun["id"].as_str().unwrap();
    assert_eq!(stage.browse(&start.replace(id, "00000000-0000-0000-0000-000000000000")).await, 404);
}
