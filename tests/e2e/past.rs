//! The past on the command line: what was known then, every number with the events behind it, in both languages.

use std::process::Output;

use serde_json::{Value, json};

use crate::{
    main_job::send,
    on_both_databases,
    support::{CHANNEL, Database, Stage, TEMPLATE, run_cli, run_cli_with},
};

on_both_databases!(the_past_is_told_in_both_languages);

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(database: &Database, arguments: &[&str]) -> Value {
    let arguments = [&["audit"], arguments, &["--channel", CHANNEL, "--json"]].concat();
    serde_json::from_str(&said(&run_cli(database, &arguments))).unwrap()
}

async fn the_past_is_told_in_both_languages(database: Database) {
    let stage = Stage::start(database).await;
    let openid = stage.wechat.user().await;
    let body = json!({ "userid": "zhangsan", "openid": openid });
    stage.client.post(&format!("/channels/{CHANNEL}/users"), &body).await.expect_status(200);
    let result = stage.wechat.tap(&openid).await;
    let report = json!({ "report_id": "r-1", "userid": "zhangsan", "result": result });
    let tapped = stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await;
    let tapped = tapped.expect_status(200)["position"].as_u64().unwrap().to_string();
    let pause = json!({ "reason": "a test" });
    stage.client.post(&format!("/channels/{CHANNEL}/pause"), &pause).await.expect_status(200);
    let sent = send(&stage.client, json!([{ "userid": "zhangsan" }]), "pages/order?id=1").await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    let database = &stage.database;

    let ledger = ["ledger", "--userid", "zhangsan", "--template", TEMPLATE, "--explain"];
    let now = told(database, &ledger);
    assert_eq!((&now["balance"], &now["reserved"], &now["known"]), (&json!(0), &json!(1), &json!(true)));
    assert_eq!(now["openid"], openid);
    let explained = &now["explanation"];
    assert_eq!((&explained["findings"], &explained["sum"]["holds"]), (&json!([]), &json!(true)));
    assert_eq!(explained["deliveries"]["items"][0]["tap"]["ref"], "r-1", "{explained}");
    assert_eq!(explained["taps"]["items"][0]["delivery"], format!("{msgid}-0"));
    let then = told(database, &[&ledger[..], &["--at", &tapped]].concat());
    assert_eq!((&then["balance"], &then["reserved"]), (&json!(1), &json!(0)), "{then}");
    assert_eq!(then["at"]["position"].to_string(), tapped);
    let by_time = then["at"]["time"].as_str().unwrap();
    assert_eq!(told(database, &[&ledger[..], &["--at", by_time]].concat()), then, "a moment means the same");
    let before = told(database, &[&ledger[..], &["--at", "2001-01-01"]].concat());
    assert_eq!((&before["known"], &before["at"]["position"]), (&json!(false), &json!(0)));

    let user = told(database, &["user", "--userid", "zhangsan"]);
    assert_eq!(user["ledgers"][0]["template_id"], TEMPLATE, "{user}");
    assert_eq!(told(database, &["user", "--userid", "zhangsan", "--at", "0"])["known"], false);
    let unknown = said(&run_cli(database, &["audit", "user", "--channel", CHANNEL, "--userid", "nosuch"]));
    assert!(unknown.contains("userid nosuch") && unknown.contains("had not been bound"), "{unknown}");
    let unbound = ["audit", "ledger", "--channel", CHANNEL, "--template", TEMPLATE, "--userid", "zhangsan"];
    let unbound = said(&run_cli(database, &[&unbound[..], &["--at", "1", "--lang", "en"]].concat()));
    assert!(unbound.starts_with("as of position 1, recorded "), "{unbound}");
    // The filter by stream looks past the first ones, and counts those it prints.
    let stream = format!("ledger/{}/{TEMPLATE}", now["subject"].as_str().unwrap());
    let list = ["events", "list", "--log", CHANNEL, "--stream", &stream, "--after", &tapped, "--limit", "1"];
    assert!(said(&run_cli(database, &list)).contains("ledger.reserved"));
    // Only to look is no writing, so it works beside the process that writes the file.
    said(&run_cli(database, &["admin", "retention", "--dry-run"]));
    let told_message = told(database, &["message", &msgid]);
    assert_eq!((&told_message["counts"]["queued"], &told_message["reserved"]), (&json!(1), &json!(1)));
    assert_eq!(told_message["deliveries"][0]["entries"][0]["kind"], "ledger.reserved");
    assert_eq!(told_message["deliveries"][0]["userid"], "zhangsan");
    assert_eq!(told(database, &["message", &msgid, "--at", &tapped])["known"], false);
    assert_eq!(told(database, &["templates"])["templates"][0]["listed"], true);
    assert_eq!(told(database, &["templates", "--at", "1"])["templates"], json!([]));

    let words = |environment: &[(&str, &str)], arguments: &[&str]| {
        let arguments = [&["audit"], arguments, &["--channel", CHANNEL]].concat();
        said(&run_cli_with(database, environment, &arguments))
    };
    for (environment, lang, marks) in [
        (&[("LC_ALL", "zh_CN.UTF-8")][..], &[][..], ["授权账本", "预留 1", "全部一致", "+08:00"]),
        (&[("LC_ALL", "C")], &["--lang", "zh"], ["授权账本", "预留 1", "全部一致", "+08:00"]),
        (&[("LC_ALL", "C")], &[], ["Ledger of", "reserved 1", "Everything agrees", "+08:00"]),
        (&[("LC_ALL", "C")], &["--zone", "UTC"], ["Ledger of", "reserved 1", "Everything agrees", "+00:00"]),
    ] {
        let text = words(environment, &[&ledger[..], lang].concat());
        for mark in marks {
            assert!(text.contains(mark), "{mark}: {text}");
        }
        for question in [&["message", msgid.as_str()][..], &["user", "--openid", &openid], &["templates"]] {
            assert!(!words(environment, &[question, lang].concat()).is_empty());
        }
    }
    let text = words(&[("LC_ALL", "C")], &["user", "--userid", "zhangsan"]);
    assert!(text.contains("userid zhangsan") && text.contains(&format!("openid {openid}")), "{text}");
}
