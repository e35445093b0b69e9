//! Correcting the books from the command line: doubts by hand, adjustments, imported balances.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::{
    main_job::{ended, send},
    on_both_databases,
    support::{APPID, CHANNEL, Database, Stage, TEMPLATE, run_cli},
};

on_both_databases!(the_books_are_corrected_from_the_command_line);

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(database: &Database, arguments: &[&str]) -> Value {
    let said = succeeded(&run_cli(database, &[arguments, &["--channel", CHANNEL, "--json"]].concat()));
    serde_json::from_str(&said).unwrap_or(Value::Null)
}

fn balance(database: &Database, userid: &str) -> Value {
    told(database, &["audit", "ledger", "--userid", userid, "--template", TEMPLATE])["balance"].take()
}

/// A user with one grant and one message in doubt.
pub(crate) async fn doubt(stage: &Stage, userid: &str) -> String {
    let openid = stage.wechat.user().await;
    let body = json!({ "userid": userid, "openid": openid });
    stage.client.post(&format!("/channels/{CHANNEL}/users"), &body).await.expect_status(200);
    let report = json!({ "report_id": userid, "userid": userid, "result": stage.wechat.tap(&openid).await });
    stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await.expect_status(200);
    stage.wechat.fault(&json!({ "appid": APPID, "path": "send", "kind": "drop_before_commit" })).await;
    let sent = send(&stage.client, json!([{ "userid": userid }]), "pages/a?id=1").await;
    let msgid = sent["msgid"].as_str().unwrap().to_owned();
    assert_eq!(ended(&stage.client, &msgid).await["counts"]["in_doubt"], 1);
    msgid
}

async fn the_books_are_corrected_from_the_command_line(database: Database) {
    let mut stage = Stage::start(database).await;
    let (first, second) = (doubt(&stage, "lisi").await, doubt(&stage, "wangwu").await);
    let listed = run_cli(&stage.database, &["audit", "doubts", "list", "--channel", CHANNEL]);
    let listed = succeeded(&listed);
    assert!(listed.contains(&first) && listed.contains(&second), "beside a server: {listed}");
    // One process writes an SQLite file.
    stage.kill();
    let database = &stage.database;

    let settle = ["audit", "doubts", "settle", &first, "0", "--verdict", "not_sent", "--reason", "no card"];
    told(database, &settle);
    assert_eq!(balance(database, "lisi"), 1);
    let again = run_cli(database, &[&settle[..], &["--channel", CHANNEL]].concat());
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("not_in_doubt"));
    let all = ["audit", "doubts", "settle-all", "--verdict", "sent", "--reason", "outage"];
    let shown = told(database, &all);
    assert_eq!((&shown["settled"], &shown["matched"][0]["msgid"]), (&json!(0), &json!(second)));
    assert_eq!(
        told(database, &[&all[..], &["--yes", "--older-than-s", "3600"]].concat())["matched"],
        json!([])
    );
    assert_eq!(told(database, &[&all[..], &["--yes"]].concat())["settled"], 1);
    let none = run_cli(database, &["audit", "doubts", "list", "--channel", CHANNEL]);
    assert_eq!(succeeded(&none), "Nothing is in doubt.\n");

    let adjust = ["audit", "adjust", "--userid", "lisi", "--template", TEMPLATE, "--reason", "counted twice"];
    let added = told(database, &[&adjust[..], &["--add", "2"]].concat());
    assert_eq!((&added["after"]["balance"], &added["added"]), (&json!(3), &json!([2, 3])));
    let removed = told(database, &[&adjust[..], &["--remove", "1"]].concat());
    assert_eq!((&removed["before"]["balance"], &removed["removed"]), (&json!(3), &json!([3])));
    let too_many = run_cli(database, &[&adjust[..], &["--remove", "9", "--channel", CHANNEL]].concat());
    assert_eq!(too_many.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&too_many.stderr).contains("not_enough_open"));

    import(database);
    let verified = run_cli(database, &["audit", "verify", "--json"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

fn import(database: &Database) {
    let file = database.folder.path().join("old.csv");
    let path = file.to_str().unwrap();
    let errors = database.folder.path().join("old.errors.csv");
    // With a byte order mark, blanks and a line of each sort of fault; the second row says what the first one does.
    let rows = format!(
        "\u{feff}userid, openid, template, count\nlisi,,{TEMPLATE},2\nlisi,,{TEMPLATE},2\n\
         nobody,,{TEMPLATE},1\n,oImported000000000000001,{TEMPLATE}, 5\nlisi,,{TEMPLATE},none\n\
         lisi,oImported000000000000001,{TEMPLATE},1\nlisi,,{TEMPLATE}\nlisi,,no_such_template,1\n"
    );
    fs::write(&file, &rows).unwrap();
    let run = |more: &[&str]| {
        let arguments = [&["import", "balances", path, "--channel", CHANNEL, "--json"], more].concat();
        let output = run_cli(database, &arguments);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        });
        (output.status.code(), said)
    };
    let numbers = |said: &Value| ["counted", "repeated", "refused", "grants"].map(|name| said[name].as_u64());
    let found = || {
        let text = fs::read_to_string(&errors).unwrap();
        let codes = text.lines().skip(1).map(|line| line.split(',').take(2).collect::<Vec<_>>().join(","));
        codes.collect::<Vec<_>>()
    };
    let mut expected =
        ["4,unknown_user", "6,bad_count", "7,one_of", "8,bad_row", "9,unknown_template"].map(str::to_owned);
    let before = balance(database, "lisi");
    let (code, said) = run(&["--dry-run"]);
    assert_eq!((code, numbers(&said)), (Some(1), [Some(3), Some(0), Some(5), Some(9)]), "{said}");
    assert_eq!((balance(database, "lisi"), found()), (before.clone(), expected.to_vec()));
    let (code, said) = run(&[]);
    assert_eq!((code, numbers(&said)), (Some(1), [Some(3), Some(0), Some(5), Some(9)]), "{said}");
    // What the reading finds comes before what the books answer.
    let mut written = found();
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
    assert_eq!(balance(database, "lisi").as_u64(), before.as_u64().map(|before| before + 4));

    // Again, with a line more: only that one is counted.
    fs::write(&file, rows + &format!("lisi,,{TEMPLATE},2\n")).unwrap();
    let (_, said) = run(&[]);
    assert_eq!(numbers(&said), [Some(1), Some(3), Some(5), Some(2)], "{said}");
    let (_, said) = run(&["--import-id", "another"]);
    assert_eq!(numbers(&said)[0], Some(4), "another import counts anew: {said}");

    fs::write(&file, "name,count\nlisi,1\n").unwrap();
    let output = run_cli(database, &["import", "balances", path, "--channel", CHANNEL]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"name\""));
}
