//! Taps reported straight from a device, with a user token: across a restart, twice, and both ways.

use serde_json::{Value, json};

use crate::{
    main_job::{bind_and_tap, ended, ledger, send},
    on_both_databases,
    support::{CHANNEL, Client, Database, Stage, run_cli},
};

on_both_databases!(a_device_reports_its_taps_itself);

async fn a_device_reports_its_taps_itself(database: Database) {
    let mut stage = Stage::start(database).await;
    let openid = bind_and_tap(&stage, "zhangsan", 0).await;
    let issue = format!("/channels/{CHANNEL}/user-tokens");
    let mut tokens = Vec::new();
    for person in [json!({ "userid": "zhangsan" }), json!({ "openid": openid })] {
        let issued = stage.client.post(&issue, &person).await;
        tokens.push(issued.expect_status(200)["token"].as_str().unwrap().to_owned());
    }
    // Nothing is kept of a token, so a process that starts later knows it as well.
    stage.kill();
    stage.restart().await;

    let report = |id: &str, result: &Value| json!({ "report_id": id, "tapped_at": "2026-03-01T08:00:00.000Z", "result": result });
    for (number, token) in tokens.iter().enumerate() {
        let device = Client::new(&stage.client.url, token);
        let result = stage.wechat.tap(&openid).await;
        let once = report("tap-1", &result);
        let told = device.post("/client-reports", &once).await;
        assert_eq!(
            told.expect_status(200)["choices"][0]["lot"],
            number + 1,
            "each way of naming has its ids"
        );
        assert_eq!(device.post("/client-reports", &once).await.expect_status(200)["replayed"], true);
    }
    // The back end handed it in before the device did.
    let result = stage.wechat.tap(&openid).await;
    let mut relayed = report("tap-2", &result);
    relayed["userid"] = json!("zhangsan");
    stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &relayed).await.expect_status(200);
    let device = Client::new(&stage.client.url, &tokens[0]);
    let again = device.post("/client-reports", &report("tap-2", &result)).await;
    assert_eq!(again.expect_status(200)["replayed"], true);

    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=1").await;
    assert_eq!(ended(&stage.client, sent["msgid"].as_str().unwrap()).await["counts"]["sent"], 1);
    let counts = ledger(&stage.client, "zhangsan").await;
    assert_eq!((&counts["granted"], &counts["balance"]), (&json!(3), &json!(2)), "{counts}");
    assert_eq!(stage.wechat.remaining(&openid).await, 2);

    let events = run_cli(&stage.database, &["events", "list", "--log", CHANNEL, "--json"]);
    let events = String::from_utf8_lossy(&events.stdout).into_owned();
    assert_eq!(events.matches("\"user-token:shop\"").count(), 2, "{events}");
    let proved = run_cli(&stage.database, &["audit", "verify"]);
    assert_eq!(proved.status.code(), Some(0), "{}", String::from_utf8_lossy(&proved.stdout));
}
