//! Refresh tokens that die or get lost.

use serde_json::json;

use super::{login, state, tap};
use crate::{
    main_job::{ended, send},
    on_both_databases,
    support::{APPID, CHANNEL, COMPONENT, Database, Stage, Told},
};

on_both_databases!(an_authorization_given_again_supersedes_the_refresh_token);
on_both_databases!(an_authorization_whose_answers_are_lost_is_asked_for_by_name);
on_both_databases!(a_refresh_token_that_died_unheard_is_found_in_the_list);

/// Ends every token that the platform holds for the account, and sends: another must be bought with the refresh token.
async fn send_with_new_token(stage: &Stage, page: &str) {
    let ended_tokens =
        stage.wechat.post(&format!("/sandbox/platforms/{COMPONENT}/tokens/revoke"), &json!({})).await;
    assert!(ended_tokens["tokens"].as_u64().unwrap() > 0, "{ended_tokens}");
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), page).await;
    ended(&stage.client, sent["msgid"].as_str().unwrap()).await;
    assert_eq!(state(stage, &sent).await, "sent");
}

async fn an_authorization_given_again_supersedes_the_refresh_token(database: Database) {
    let stage = Stage::authorized(database).await;
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    send_with_new_token(&stage, "pages/a").await;

    let begun = stage.begin().await;
    stage.scan(&begun, &[17, 18], Told::Browser).await;
    assert_eq!(stage.ended(&begun).await["status"], "authorized");
    tap(&stage, "zhangsan", &openid, 1).await;
    send_with_new_token(&stage, "pages/b").await;
    let calls = stage.platform_calls("authorizer_token").await;
    assert!(calls.len() >= 2 && calls.iter().all(|code| *code == 0), "never with the dead one: {calls:?}");
}

/// Both answers that carried the refresh token are lost on their way, and the codes are spent: WeChat is asked about the
/// Mini Program that its push named.
async fn an_authorization_whose_answers_are_lost_is_asked_for_by_name(database: Database) {
    let stage = Stage::with_platform(database).await;
    stage.wechat.fault(&json!({ "kind": "drop_after_commit", "path": "query_auth", "times": 2 })).await;
    let begun = stage.begin().await;
    stage.scan(&begun, &[17, 18], Told::Both).await;
    let shown = stage.ended(&begun).await;
    assert_eq!(shown["status"], "authorized", "{shown}");
    let refreshed = stage.client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await;
    refreshed.expect_status(200);
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    send_with_new_token(&stage, "pages/a").await;
}

/// The administrator scanned a link that nobody here knows of, the sets stayed as they were, so WeChat pushed nothing: the
/// refresh token died unheard.
async fn a_refresh_token_that_died_unheard_is_found_in_the_list(database: Database) {
    let stage = Stage::authorized(database).await;
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    let reality = json!({ "profile": "documented" });
    stage.wechat.put(&format!("/sandbox/platforms/{COMPONENT}/reality"), &reality).await;
    let unheard = json!({ "appid": APPID, "permission_sets": [17, 18] });
    let again = stage.wechat.post(&format!("/sandbox/platforms/{COMPONENT}/authorize"), &unheard).await;
    assert!(again["push"].is_null() && again["redirect"].is_null(), "{again}");
    send_with_new_token(&stage, "pages/a").await;
    assert_eq!(stage.platform_calls("authorizer_token").await.last_chunk(), Some(&[61_023, 0]));
    assert_eq!(stage.platform_calls("get_authorizer_list").await, [0]);
}
