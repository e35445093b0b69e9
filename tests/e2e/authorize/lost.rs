//! Refresh tokens that die or get lost.

use serde_json::json;

use super::{login, state, tap};
use crate::{
    main_job::{ended, send},
    on_both_databases,
    support::{CHANNEL, COMPONENT, Database, Stage, Told},
};

on_both_databases!(an_authorization_given_again_supersedes_the_refresh_token);
on_both_databases!(a_lost_refresh_token_is_found_in_the_list);

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

/// Both answers that carried the refresh token are lost on their way: WeChat's list is all that is left.
async fn a_lost_refresh_token_is_found_in_the_list(database: Database) {
    let stage = Stage::with_platform(database).await;
    stage.wechat.fault(&json!({ "kind": "drop_after_commit", "path": "query_auth", "times": 2 })).await;
    let begun = stage.begin().await;
    stage.scan(&begun, &[17, 18], Told::Both).await;
    let shown = stage.ended(&begun).await;
    assert_eq!(shown["status"], "authorized", "{shown}");
    assert!(stage.platform_calls("get_authorizer_list").await.contains(&0));
    let refreshed = stage.client.post(&format!("/channels/{CHANNEL}/templates/refresh"), &json!({})).await;
    refreshed.expect_status(200);
    let openid = login(&stage, "zhangsan").await;
    tap(&stage, "zhangsan", &openid, 1).await;
    send_with_new_token(&stage, "pages/a").await;
}
