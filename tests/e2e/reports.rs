//! `subledger report`: tables for people, JSON and CSV for programs, wrong use said plainly.

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    books::doubt,
    main_job::{bind_and_tap, ended, send},
    on_both_databases,
    support::{CHANNEL, Database, Stage, TEMPLATE, run_cli},
};

on_both_databases!(reports_say_the_same_in_every_form);
on_both_databases!(drift_and_doubts_say_the_same_in_every_form);
on_both_databases!(wrong_questions_and_empty_answers_are_said_plainly);

fn report(database: &Database, arguments: &[&str]) -> Output {
    let (kind, rest) = arguments.split_first().unwrap();
    run_cli(database, &[&["report", kind, "--channel", CHANNEL], rest].concat())
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Cells of CSV without quotes in it, by row and column.
fn cell<'a>(csv: &'a str, row: usize, column: &str) -> &'a str {
    let mut lines = csv.lines();
    let at = lines.next().unwrap().split(',').position(|name| name == column).unwrap();
    lines.nth(row).unwrap().split(',').nth(at).unwrap()
}

async fn reports_say_the_same_in_every_form(database: Database) {
    let stage = Stage::start(database).await;
    bind_and_tap(&stage, "zhangsan", 3).await;
    bind_and_tap(&stage, "lisi", 0).await;
    let recipients = json!([{ "userid": "zhangsan" }, { "userid": "lisi" }]);
    let sent = send(&stage.client, recipients, "pages/report").await;
    let msgid = sent["msgid"].as_str().unwrap();
    ended(&stage.client, msgid).await;
    let over_http = stage.client.get(&format!("/reports/activity?channel={CHANNEL}")).await;
    let over_http = over_http.expect_status(200).clone();

    let database = &stage.database;
    let json: Value = serde_json::from_str(&said(&report(database, &["activity", "--json"]))).unwrap();
    let counts = &json["lines"][0]["counts"];
    assert_eq!(*counts, over_http["lines"][0]["counts"], "the command line and HTTP tell the same");
    assert_eq!(json["position"], over_http["position"]);
    assert_eq!((&counts["granted"], &counts["sent"], &counts["skipped"]), (&json!(3), &json!(1), &json!(1)));
    let csv = said(&report(database, &["activity", "--csv"]));
    for (name, count) in counts.as_object().unwrap() {
        assert_eq!(cell(&csv, 0, name), count.to_string(), "{name}");
    }
    assert_eq!(csv.lines().count(), 2);
    let table = said(&report(database, &["activity", "--total", "--template", TEMPLATE]));
    assert!(table.contains("TEMPLATE_ID") && table.contains(TEMPLATE), "{table}");
    assert!(table.contains(&format!("as of position {}", json["position"])), "{table}");
    assert!(table.contains("REJECTED") && table.contains("DRIFTED"), "{table}");
    // The sentence under a table tells the time in the zone of its days.
    for (kind, zone, offset) in [
        ("activity", "Asia/Shanghai", "+08:00."),
        ("stock", "Asia/Kathmandu", "+05:45."),
        ("reach", "UTC", "+00:00."),
    ] {
        let template = [kind, "--template", TEMPLATE, "--zone", zone];
        let table = said(&report(database, &template));
        assert!(table.trim_end().ends_with(offset), "{kind}: {table}");
    }

    let stock = said(&report(database, &["stock", "--csv", "--zone", "Asia/Kathmandu"]));
    assert_eq!((cell(&stock, 0, "open"), cell(&stock, 0, "consumed")), ("2", "1"));
    assert_eq!(cell(&stock, 0, "zone"), "Asia/Kathmandu");
    let reach: Value =
        serde_json::from_str(&said(&report(database, &["reach", "--template", TEMPLATE, "--json"]))).unwrap();
    assert_eq!((&reach["reach"]["bound_users"], &reach["reach"]["users"]), (&json!(2), &json!(1)));
    let people = said(&report(database, &["reach", "--template", TEMPLATE]));
    assert!(people.contains("1 of 2 bound users"), "{people}");
    let loss: Value = serde_json::from_str(&said(&report(database, &["loss", msgid, "--json"]))).unwrap();
    assert_eq!((&loss["loss"]["targeted"], &loss["loss"]["accepted"]), (&json!(2), &json!(1)));
    assert!(said(&report(database, &["loss", msgid])).contains("no_grant"));
}

/// A tap that never was, found out by the first send; a lost answer; and the two reports of it.
async fn drift_and_doubts_say_the_same_in_every_form(database: Database) {
    let stage = Stage::start(database).await;
    let lost = doubt(&stage, "lisi").await;
    bind_and_tap(&stage, "zhangsan", 0).await;
    let lie = json!({ "report_id": "lie", "userid": "zhangsan", "result": { (TEMPLATE): "accept" } });
    stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &lie).await.expect_status(200);
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/report").await;
    let refused = sent["msgid"].as_str().unwrap();
    assert_eq!(ended(&stage.client, refused).await["counts"]["refused"], 1);
    for (kind, msgid, amount) in [("drift", refused, "found"), ("doubts", lost.as_str(), "doubts")] {
        let over_http = stage.client.get(&format!("/reports/{kind}?channel={CHANNEL}")).await;
        let over_http = over_http.expect_status(200).clone();
        let database = &stage.database;
        let json: Value = serde_json::from_str(&said(&report(database, &[kind, "--json"]))).unwrap();
        assert_eq!(json["counts"], over_http["counts"], "the command line and HTTP tell the same");
        assert_eq!(json["position"], over_http["position"]);
        let (entry, same) = (&json["entries"][0], &over_http["entries"][0]);
        assert_eq!((&entry["msgid"], entry["index"].as_u64()), (&json!(msgid), Some(0)));
        for (name, value) in entry.as_object().unwrap() {
            // An open doubt is a little older when it is asked for later.
            assert!(name.starts_with("age") || *value == same[name], "{name}: {value} {}", same[name]);
        }
        let csv = said(&report(database, &[kind, "--csv"]));
        assert_eq!((cell(&csv, 0, "msgid"), csv.lines().count()), (msgid, 2));
        assert_eq!(cell(&csv, 0, "cause"), entry["cause"].as_str().unwrap());
        let counts = said(&report(database, &[kind, "--csv", "--counts"]));
        assert_eq!((cell(&counts, 0, "by"), cell(&counts, 0, amount)), ("total", "1"));
        let table = said(&report(database, &[kind]));
        for word in ["BY", "CAUSE", "TEMPLATE_ID", msgid, TEMPLATE, "as of position"] {
            assert!(table.contains(word), "{kind}: {word} not in {table}");
        }
        let counts = said(&report(database, &[kind, "--counts", "--template", TEMPLATE]));
        assert!(!counts.contains(msgid) && counts.contains("total"), "{counts}");
    }
    let database = &stage.database;
    let none = said(&report(database, &["drift", "--cause", "stranger"]));
    assert!(none.contains("No such drift was found in these days."), "{none}");
    assert_eq!(said(&report(database, &["doubts", "--state", "deadline", "--csv"])).lines().count(), 1);
}

async fn wrong_questions_and_empty_answers_are_said_plainly(database: Database) {
    let stage = Stage::start(database).await;
    let database = &stage.database;
    assert!(said(&report(database, &["activity"])).contains("Nothing was recorded in these days."));
    assert!(said(&report(database, &["stock"])).contains("No grant was recorded"));
    assert_eq!(said(&report(database, &["activity", "--csv"])).lines().count(), 1, "the heading alone");
    let reach = said(&report(database, &["reach", "--template", TEMPLATE]));
    assert!(reach.contains("0 of 0 bound users"), "{reach}");
    for (arguments, code, word) in [
        (&["activity", "--from", "2026-03-02", "--to", "2026-03-01"][..], 2, "--from: must not be after to"),
        (&["activity", "--from", "march"][..], 2, "2026-03-01"),
        (&["activity", "--from", "2020-01-01", "--to", "2026-03-01"][..], 2, "at most 400 days"),
        (&["stock", "--zone", "Asia/Nowhere"][..], 2, "IANA"),
        (&["activity", "--template", "a"][..], 2, "--template"),
        (&["activity", "--json", "--csv"][..], 2, "cannot be used with"),
        (&["activity", "--template", "unknown_template"][..], 1, "unknown_template"),
        (&["reach", "--template", "unknown_template"][..], 1, "unknown_template"),
        (&["loss", "xyz"][..], 2, "hexadecimal"),
        (&["drift", "--cause", "wind"][..], 2, "settings_changed"),
        (&["doubts", "--state", "over"][..], 2, "late_answer"),
        (&["drift", "--template", "unknown_template"][..], 1, "unknown_template"),
        (&["doubts", "--template", "unknown_template"][..], 1, "unknown_template"),
        (&["loss", "00000000000000000000000000000000"][..], 1, "there is no message"),
    ] {
        let output = report(database, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
    let nowhere = run_cli(database, &["report", "activity", "--channel", "nosuch"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("there is no channel nosuch"));
}
