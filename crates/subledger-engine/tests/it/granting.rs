//! Client reports: counted once, whole, and for whoever tapped.

use serde_json::json;

use crate::world::{TEMPLATE, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_report_counts_once_and_another_content_is_refused() {
    let world = World::new().await;
    let openid = world.user("zhangsan").await;
    let accept = json!({ "errMsg": "requestSubscribeMessage:ok", TEMPLATE: "accept" });
    for _ in 0..3 {
        let choices = world.report("zhangsan", "report-1", &accept).await.unwrap();
        assert_eq!((choices[0].lot, choices[0].balance), (Some(1), 1));
    }
    let reject = json!({ "errMsg": "requestSubscribeMessage:ok", TEMPLATE: "reject" });
    let error = world.report("zhangsan", "report-1", &reject).await.unwrap_err();
    assert_eq!(error.code, "idempotency_key_reused");
    assert_eq!(world.ledger(&openid).await.balance(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reporters_of_many_taps_lose_none() {
    let world = std::sync::Arc::new(World::new().await);
    let openid = world.user("zhangsan").await;
    let reporters: Vec<_> = (0..40)
        .map(|number| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move {
                let accept = json!({ TEMPLATE: "accept" });
                // Every report comes twice, as a client that lost the answer sends it.
                for _ in 0..2 {
                    world.report("zhangsan", &format!("report-{number}"), &accept).await.unwrap();
                }
            })
        })
        .collect();
    for reporter in reporters {
        reporter.await.unwrap();
    }
    assert_eq!(world.ledger(&openid).await.totals().granted, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_an_unknown_user_or_channel_records_nothing() {
    let world = World::new().await;
    let events = world.events().await;
    let accept = json!({ TEMPLATE: "accept" });
    assert_eq!(world.report("nobody", "report-1", &accept).await.unwrap_err().code, "unknown_user");
    assert_eq!(world.events().await, events);
    let elsewhere = World { code: "nowhere1".parse().unwrap(), ..world };
    assert_eq!(elsewhere.report("nobody", "report-1", &accept).await.unwrap_err().code, "unknown_channel");
    assert_eq!(elsewhere.events().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_for_a_template_not_refreshed_yet_is_not_lost() {
    let world = World::new().await;
    world.user("zhangsan").await;
    let accept = json!({ "TPL_brand_new_template": "accept" });
    let choices = world.report("zhangsan", "report-1", &accept).await.unwrap();
    assert_eq!((choices[0].balance, choices[0].listed), (1, false));
}
