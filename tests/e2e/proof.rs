//! `audit verify` and `events export`, as an auditor uses them: exit codes are the answer.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    on_both_databases,
    support::{CHANNEL, Database, Stage, run_cli, run_cli_with},
};

#[track_caller]
fn code(output: &Output, expected: i32) -> String {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(expected), "{said}");
    said
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}

/// A running service is verified, exported, and verified against the export; without a master key.
async fn a_running_service_is_proved(database: Database) {
    let mut stage = Stage::start(database).await;
    let openid = stage.wechat.user().await;
    let bound = json!({ "userid": "zhangsan", "openid": openid });
    stage.client.post(&format!("/channels/{CHANNEL}/users"), &bound).await.expect_status(200);
    let report =
        json!({ "report_id": "r1", "userid": "zhangsan", "result": stage.wechat.tap(&openid).await });
    stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await.expect_status(200);

    let keyless = [("SUBLEDGER_MASTER_KEY", "")];
    let said = code(&run_cli_with(&stage.database, &keyless, &["audit", "verify"]), 0);
    assert!(said.contains("Clean.") && said.contains("log main") && said.contains(CHANNEL), "{said}");
    let json = run_cli_with(&stage.database, &keyless, &["audit", "verify", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&json["clean"], &json["database"]["read_models"]), (&json!(true), &json!(true)));

    let key = code(&run_cli(&stage.database, &["admin", "signing-key"]), 0).trim().to_owned();
    let file = stage.database.folder.path().join("events.ndjson");
    code(&run_cli(&stage.database, &["events", "export", "--all", "--out", path(&file)]), 0);
    assert!(!stage.database.folder.path().join("events.ndjson.part").exists());
    let against = ["audit", "verify", "--against", path(&file), "--key", &key];
    code(&run_cli_with(&stage.database, &keyless, &against), 0);
    let offline = ["audit", "verify", "--file", path(&file), "--key", &key];
    code(&run_cli(&stage.database, &offline), 0);
    let trusting = code(&run_cli(&stage.database, &["audit", "verify", "--file", path(&file)]), 0);
    assert!(trusting.contains("only as trusted as the file"), "{trusting}");

    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, whole.replacen("accept", "acceqt", 1)).unwrap();
    let said = code(&run_cli(&stage.database, &offline), 1);
    assert!(said.contains("BROKEN. First: chain") && said.contains("position"), "{said}");
    code(&run_cli(&stage.database, &against), 1);
    let cut: String = whole.lines().take(3).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&file, cut).unwrap();
    assert!(code(&run_cli(&stage.database, &offline), 1).contains("cut off"));

    // A stream without an end does not hold the stop up.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/v1/events?log={CHANNEL}", stage.client.url);
    let request = http.get(url).bearer_auth(&stage.client.key).header("accept", "text/event-stream");
    let mut stream = request.send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert!(stream.chunk().await.unwrap().is_some());
    let begun = Instant::now();
    let ended = stage.service.take().unwrap().terminate().await;
    assert!(ended == Some(0) && begun.elapsed() < Duration::from_secs(8), "{ended:?} {:?}", begun.elapsed());
    while stream.chunk().await.unwrap().is_some() {}
    code(&run_cli(&stage.database, &["audit", "verify"]), 0);
}

on_both_databases!(a_running_service_is_proved);

/// What cannot be looked at is neither clean nor broken, and nothing is made by looking.
#[test]
fn what_cannot_be_looked_at_is_said_so() {
    let database = Database::sqlite();
    let file = database.url.strip_prefix("sqlite://").unwrap().to_owned();
    let said = code(&run_cli(&database, &["audit", "verify"]), 2);
    assert!(said.contains("could not look") && said.contains("there is no database file"), "{said}");
    assert!(!Path::new(&file).exists());
    code(&run_cli(&database, &["audit", "verify", "--database", "postgres://x@127.0.0.1:1/x"]), 2);
    code(&run_cli(&database, &["audit", "verify", "--database", "mysql://x"]), 2);
    code(&run_cli(&database, &["audit", "verify", "--file", "/no/such/file"]), 2);
    code(&run_cli(&database, &["audit", "verify", "--file", "x", "--against", "y"]), 2);
    let said = code(&run_cli(&database, &["audit", "verify", "--file", "x", "--key", "abc"]), 2);
    assert!(said.contains("64 hexadecimal digits"), "{said}");
    code(&run_cli(&database, &["app", "create", "shop"]), 0);
    code(&run_cli(&database, &["audit", "verify"]), 0);
    code(&run_cli(&database, &["audit", "verify", "--log", "nosuch"]), 2);
    std::fs::write(&file, b"this is not a database, and it is longer than a header would be................")
        .unwrap();
    code(&run_cli(&database, &["audit", "verify"]), 2);
}

/// The demo's story has every sort of delivery, made by the service itself.
#[test]
fn the_demo_leaves_books_that_prove() {
    let database = Database::sqlite();
    let data = database.folder.path().join("demo");
    let told = run_cli(&database, &["demo", "--once", "--json", "--data", path(&data)]);
    let story: Value = serde_json::from_slice(&told.stdout).unwrap();
    let url = format!("sqlite://{}", story["database"].as_str().unwrap());
    let proved = run_cli(&database, &["audit", "verify", "--json", "--database", &url]);
    let report: Value = serde_json::from_slice(&proved.stdout).unwrap();
    assert_eq!((proved.status.code(), &report["clean"]), (Some(0), &json!(true)), "{report}");
    let channel = &report["database"]["logs"][1];
    let sums = &channel["deliveries"];
    // The one that was in doubt is among the sent.
    assert_eq!(
        (&sums["sent"], &sums["in_doubt"], &sums["skipped"]),
        (&json!(3), &json!(0), &json!(1)),
        "{sums}"
    );
    assert_eq!(channel["queued"], 0);
}

/// One byte of the database file is flipped, with no help of any database program.
#[test]
fn a_flipped_byte_of_the_file_is_named() {
    let database = Database::sqlite();
    code(&run_cli(&database, &["app", "create", "shop", "--name", "Bakery-at-the-corner"]), 0);
    code(&run_cli(&database, &["audit", "verify"]), 0);
    let file = database.url.strip_prefix("sqlite://").unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let name = b"Bakery-at-the-corner";
    let places: Vec<usize> =
        (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place] ^= 1;
    }
    std::fs::write(file, bytes).unwrap();
    let said = code(&run_cli(&database, &["audit", "verify"]), 1);
    assert!(said.contains("BROKEN. First: chain, log main, position 1"), "{said}");
}

/// An export goes through a pipe into its check.
#[test]
fn an_export_is_checked_from_a_pipe() {
    let database = Database::sqlite();
    code(&run_cli(&database, &["app", "create", "shop"]), 0);
    let exported = run_cli(&database, &["events", "export", "--log", "main"]);
    code(&exported, 0);
    let file = database.folder.path().join("piped");
    std::fs::write(&file, &exported.stdout).unwrap();
    let mut check = Command::new(crate::support::binary());
    check.args(["audit", "verify", "--file", "-"]).stdin(std::fs::File::open(&file).unwrap());
    code(&check.output().unwrap(), 0);
    assert!(code(&run_cli(&database, &["events", "export", "--log", "nosuch"]), 1).contains("no events"));
}
