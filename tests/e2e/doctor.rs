//! The doctor at the command line: beside a running service, and where none can run.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{APPID, CHANNEL, Database, Stage, run_cli_with};

/// What it found, and its exit code.
fn examine(database: &Database, environment: &[(&str, &str)], more: &[&str]) -> (Value, Option<i32>) {
    let output = run_cli_with(database, environment, &[&["doctor", "--json"][..], more].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code())
}

fn state(report: &Value, check: &str, channel: Option<&str>) -> String {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|it| it["check"] == check && it["channel"] == json!(channel));
    found.unwrap_or_else(|| panic!("{check} in {report}"))["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_is_wrong_beside_a_running_service_sqlite() {
    beside_a_running_service(Database::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_is_wrong_beside_a_running_service_postgres() {
    let Some(database) = Database::postgres("it_tells_what_is_wrong_beside_a_running_service") else {
        return;
    };
    beside_a_running_service(database).await;
}

async fn beside_a_running_service(database: Database) {
    let stage = Stage::start(database).await;
    let url = stage.wechat.url.clone();
    let environment = [("SUBLEDGER_WECHAT_BASE_URL", url.as_str())];
    let heads = async || stage.client.get(&format!("/channels/{CHANNEL}")).await.body["position"].clone();
    let before = heads().await;
    let (report, code) = examine(&stage.database, &environment, &["--channel", CHANNEL]);
    for check in ["database", "migrations", "master_key", "clock", "egress"] {
        assert_eq!(state(&report, check, None), "ok", "{report}");
    }
    for check in ["read_models", "sending", "token", "address", "templates", "doubts"] {
        assert_eq!(state(&report, check, Some(CHANNEL)), "ok", "{report}");
    }
    // No push URL is configured: a warning, and nothing worse.
    assert_eq!((state(&report, "pushes", Some(CHANNEL)).as_str(), code), ("warn", Some(1)), "{report}");
    // The service says the same of what both look at.
    let served = stage.client.get(&format!("/channels/{CHANNEL}/doctor")).await;
    assert_eq!(state(served.expect_status(200), "token", Some(CHANNEL)), "ok");

    // WeChat lets this machine in no more, and the token is gone.
    let settings = json!({ "ip_allowlist_on": true, "ip_allowlist": ["198.51.100.1"] });
    stage.wechat.patch(&format!("/sandbox/apps/{APPID}"), &settings).await;
    stage.wechat.post(&format!("/sandbox/apps/{APPID}/tokens/revoke"), &json!({})).await;
    let (report, code) = examine(&stage.database, &environment, &[]);
    assert_eq!((state(&report, "address", Some(CHANNEL)).as_str(), code), ("fail", Some(2)), "{report}");
    assert!(report.to_string().contains("put 127.0.0.1 on the IP allow-list"), "{report}");
    assert_eq!(heads().await, before, "nothing was recorded");

    // For people: aligned, in either language, without colours where nobody looks.
    let told = |lang: &str| -> Output {
        run_cli_with(&stage.database, &environment, &["doctor", "--lang", lang, "--channel", CHANNEL])
    };
    let english = String::from_utf8(told("en").stdout).unwrap();
    assert!(english.lines().any(|line| line.starts_with("fail") && line.contains("address")), "{english}");
    assert!(english.contains("docs/doctor.md#address") && !english.contains('\u{1b}'), "{english}");
    assert!(String::from_utf8(told("zh").stdout).unwrap().contains("白名单"));
    let unknown = run_cli_with(&stage.database, &environment, &["doctor", "--channel", "nosuch"]);
    assert_eq!(unknown.status.code(), Some(1), "there is no such channel");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_works_where_no_service_can_run() {
    let nowhere = [("SUBLEDGER_WECHAT_BASE_URL", "http://127.0.0.1:9")];
    let database = Database::sqlite();
    let (report, code) = examine(&database, &nowhere, &[]);
    assert_eq!((state(&report, "database", None).as_str(), code), ("fail", Some(2)), "{report}");
    assert_eq!(state(&report, "egress", None), "fail");
    assert_eq!(std::fs::read_dir(database.folder.path()).unwrap().count(), 0, "no file was made");
    // The key of another deployment.
    let stage = Stage::start(database).await;
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let environment = [nowhere[0], ("SUBLEDGER_MASTER_KEY", key)];
    let (report, code) = examine(&stage.database, &environment, &[]);
    assert_eq!((state(&report, "master_key", None).as_str(), code), ("fail", Some(2)), "{report}");
    assert_eq!(state(&report, "migrations", None), "ok");
    assert!(!report.to_string().contains(key));
}
