//! Scans that are of no use, and links that nobody scans.

use serde_json::{Value, json};

use super::{authorize, end};
use crate::{
    on_both_databases,
    support::{CHANNEL, Database, Stage, Told, run_cli, run_cli_with},
};

on_both_databases!(an_official_account_is_refused);
on_both_databases!(another_mini_program_is_refused_and_the_channel_stays_as_it_was);

const OTHER: &str = "wx00000000demo0002";

async fn an_official_account_is_refused(database: Database) {
    let stage = Stage::with_platform(database).await;
    stage.wechat.add_app(OTHER).await;
    let official = json!({ "account": { "mini_program": false } });
    stage.wechat.patch(&format!("/sandbox/apps/{OTHER}"), &official).await;
    let (command, begun) = authorize(&stage);
    stage.stray_scan(&begun, OTHER, Told::Both).await;
    let (last, code) = end(command).await;
    assert_eq!(
        (&last["status"], &last["reason"]),
        (&json!("refused"), &json!("not_a_mini_program")),
        "{last}"
    );
    assert_eq!(code, Some(1));
    stage.client.get(&format!("/channels/{CHANNEL}")).await.expect_problem(404, "unknown_channel");
}

async fn another_mini_program_is_refused_and_the_channel_stays_as_it_was(database: Database) {
    let stage = Stage::authorized(database).await;
    stage.wechat.add_app(OTHER).await;
    let before = stage.client.get(&format!("/channels/{CHANNEL}")).await.expect_status(200).clone();
    let (command, begun) = authorize(&stage);
    stage.stray_scan(&begun, OTHER, Told::Both).await;
    let (last, code) = end(command).await;
    assert_eq!(
        (&last["status"], &last["reason"]),
        (&json!("refused"), &json!("other_mini_program")),
        "{last}"
    );
    assert_eq!(code, Some(1));
    let after = stage.client.get(&format!("/channels/{CHANNEL}")).await.expect_status(200).clone();
    let same =
        |shown: &Value| (shown["appid"].clone(), shown["hold"].clone(), shown["authorization"].clone());
    assert_eq!(same(&after), same(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_waits_long_enough_says_that_nobody_scanned() {
    let stage = Stage::with_platform(Database::sqlite()).await;
    let arguments = ["channel", "authorize", CHANNEL, "--wait", "1"];
    let waited = run_cli_with(&stage.database, &stage.remote(), &arguments);
    let said = String::from_utf8_lossy(&waited.stdout);
    assert_eq!(waited.status.code(), Some(4), "{said}{}", String::from_utf8_lossy(&waited.stderr));
    assert!(said.contains("/start/wechatmp123/"), "the page for computers: {said}");
    assert!(said.contains("/wxaopen/safe/bindcomponent?") && said.contains('█'), "link and code: {said}");
    assert!(said.contains("Nobody has scanned yet"), "{said}");
    let drawn = said.lines().filter(|line| line.contains('█')).map(|line| line.chars().count()).max();
    assert!(drawn.unwrap() <= 80, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_say_what_is_wrong_with_the_service_or_the_key() {
    let stage = Stage::with_platform(Database::sqlite()).await;
    let [(url, at), (key, right)] = stage.remote();
    for (environment, code, word) in [
        ([(url, at), (key, "slk_wrong")], 2, "key"),
        ([(url, "http://127.0.0.1:1"), (key, right)], 1, "cannot be reached"),
        ([(url, stage.wechat.url.as_str()), (key, right)], 1, "--url"),
    ] {
        let told = run_cli_with(&stage.database, &environment, &["platform", "show", "wx00000000comp0001"]);
        let said = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(code), "{said}");
        assert!(said.contains(word) && !said.contains(right), "{said}");
    }
    let nobody = run_cli(&stage.database, &["platform", "show", "wx1", "--url", at]);
    assert_eq!(nobody.status.code(), Some(2), "{}", String::from_utf8_lossy(&nobody.stderr));
}
