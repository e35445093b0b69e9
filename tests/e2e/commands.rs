//! The command line: every command helps, the demo tells its story, wrong use is said plainly.

use serde_json::Value;

use crate::support::{Database, run_cli};

const COMMANDS: &[&[&str]] = &[
    &["demo"],
    &["serve"],
    &["sandbox"],
    &["migrate"],
    &["app", "create"],
    &["app", "add-key"],
    &["app", "revoke-key"],
    &["app", "list"],
    &["channel", "list"],
    &["channel", "add"],
    &["channel", "authorize"],
    &["channel", "refresh"],
    &["channel", "policy"],
    &["channel", "callback"],
    &["channel", "pushes", "list"],
    &["channel", "pushes", "show"],
    &["channel", "pushes", "redo"],
    &["channel", "push-health"],
    &["channel", "relay", "set"],
    &["channel", "relay", "show"],
    &["channel", "relay", "test"],
    &["channel", "relay", "stop"],
    &["channel", "relay", "redrive"],
    &["channel", "quota"],
    &["channel", "clear-quota"],
    &["channel", "pause"],
    &["channel", "resume"],
    &["platform", "set"],
    &["platform", "show"],
    &["platform", "start-ticket"],
    &["audit", "ledger"],
    &["audit", "message"],
    &["audit", "user"],
    &["audit", "verify"],
    &["audit", "templates"],
    &["audit", "erase-user"],
    &["audit", "doubts", "list"],
    &["audit", "doubts", "settle"],
    &["audit", "doubts", "settle-all"],
    &["audit", "adjust"],
    &["import", "balances"],
    &["events", "list"],
    &["events", "tail"],
    &["events", "export"],
    &["projections", "status"],
    &["projections", "rebuild"],
    &["projections", "verify"],
    &["report", "activity"],
    &["report", "stock"],
    &["report", "reach"],
    &["report", "loss"],
    &["report", "drift"],
    &["report", "doubts"],
    &["doctor"],
    &["admin", "master-key"],
    &["admin", "settings"],
    &["admin", "retention"],
    &["admin", "signing-key"],
    &["admin", "openapi"],
];

#[test]
fn every_command_helps_with_an_example() {
    let database = Database::sqlite();
    for command in COMMANDS {
        let output = run_cli(&database, &[command, &["--help"][..]].concat());
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("Example"), "{command:?}: {said}");
    }
}

#[test]
fn the_demo_tells_the_whole_story_and_leaves_its_file() {
    let database = Database::sqlite();
    let data = database.folder.path().join("demo");
    let output = run_cli(&database, &["demo", "--once", "--json", "--data", data.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let story: Value = serde_json::from_str(&said).unwrap();
    let steps = story["steps"].as_array().unwrap();
    assert!(steps.len() >= 8, "{said}");
    let sends =
        steps.iter().find_map(|step| step["facts"].as_array().filter(|facts| facts.len() == 4)).unwrap();
    let states: Vec<&str> = sends.iter().map(|delivery| delivery["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["sent", "sent", "in_doubt", "skipped"]);
    assert!(std::path::Path::new(story["database"].as_str().unwrap()).is_file());
}

#[test]
fn the_demo_tells_of_an_authorization_too() {
    let database = Database::sqlite();
    let data = database.folder.path().join("demo");
    let arguments = ["demo", "--authorize", "--once", "--json", "--data", data.to_str().unwrap()];
    let output = run_cli(&database, &arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let story: Value = serde_json::from_str(&said).unwrap();
    assert!(story["steps"].as_array().unwrap().len() >= 10, "{said}");
    for secret in ["demo-platform-secret-0001", "demoPlatformToken01", "refreshtoken@@@"] {
        assert!(!said.contains(secret), "{secret}");
    }
}

#[test]
fn an_empty_database_says_so_and_what_to_do() {
    let database = Database::sqlite();
    for (command, hint) in [
        (["app", "list"], "app create"),
        (["channel", "list"], "channel add"),
        (["projections", "status"], "No log"),
    ] {
        let output = run_cli(&database, &command);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains(hint),
            "{command:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn wrong_use_is_said_with_the_rule() {
    let database = Database::sqlite();
    for (arguments, word) in [
        (&["app", "create", "shop", "--rights", "everything"][..], "manage"),
        (&["app", "create", "a b"][..], "letters"),
        (&["audit", "message", "--channel", "wechatmp123", "xyz"][..], "hexadecimal"),
        (&["audit", "templates", "--channel", "wechatmp123", "--at", "yesterday"][..], "2026-03-01"),
        (&["audit", "templates", "--channel", "wechatmp123", "--at", "7"][..], "stands at 0"),
        (&["audit", "templates", "--channel", "wechatmp123", "--zone", "Mars"][..], "Asia/Shanghai"),
        (&["audit", "templates", "--channel", "wechatmp123", "--lang", "fr"][..], "zh"),
        (&["serve", "--config", "/no/such/file.toml"][..], "file.toml"),
        (&["sandbox", "--profile", "kind"][..], "hostile"),
        (&["platform", "show", "wx1"][..], "SUBLEDGER_API_KEY"),
        (&["platform", "show", "wx1", "--key", "slk", "--url", "127.0.0.1:1"][..], "http"),
        (&["channel", "authorize", "wechatmp123", "--key", "slk", "--wait", "0"][..], "86400"),
    ] {
        let output = run_cli(&database, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
    }
}

/// A mistyped name is not a log in which all is well.
#[test]
fn a_name_that_does_not_exist_is_said_and_changes_nothing() {
    let database = Database::sqlite();
    for arguments in [
        &["events", "list", "--log", "nosuch"][..],
        &["events", "tail", "--log", "nosuch"][..],
        &["projections", "verify", "--log", "nosuch"][..],
        &["projections", "rebuild", "--log", "nosuch"][..],
        &["audit", "user", "--channel", "nosuch", "--userid", "zhangsan"][..],
        &["audit", "templates", "--channel", "nosuch"][..],
        &["report", "activity", "--channel", "nosuch"][..],
    ] {
        let output = run_cli(&database, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("there is no") && said.contains("nosuch"), "{arguments:?}: {said}");
    }
    let left = run_cli(&database, &["projections", "verify"]);
    assert!(!String::from_utf8_lossy(&left.stdout).contains("nosuch"));
}
