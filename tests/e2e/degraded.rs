//! When what we rest on is away: the database, its key, its integrity.

use std::time::Duration;

use serde_json::json;

use crate::{
    main_job::bind_and_tap,
    support::{
        CHANNEL, Database, Pusher, Stage, TEMPLATE, eventually,
        push::{PUSH_KEY, PUSH_TOKEN, set_pushes_up},
        run_cli, run_cli_with,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_shows_and_heals_without_a_restart() {
    let Some(database) = Database::postgres("a_lost_database_shows_and_heals_without_a_restart") else {
        return;
    };
    let stage = Stage::start(database).await;
    assert_eq!(stage.client.status_of("/readyz").await, Some(200));
    stage.database.allow_connections(false);
    stage.database.cut_connections();
    eventually("not ready", PATIENCE, async || {
        (stage.client.status_of("/readyz").await == Some(503)).then_some(())
    })
    .await;
    assert_eq!(stage.client.status_of("/healthz").await, Some(200), "the process itself is alive");
    let user = json!({ "userid": "zhangsan", "openid": "oDEMO_user_000000000000000_A" });
    let refused = stage.client.post(&format!("/channels/{CHANNEL}/users"), &user).await;
    assert_eq!(refused.status, 503, "{}", refused.body);

    stage.database.allow_connections(true);
    eventually("ready again", PATIENCE, async || {
        (stage.client.status_of("/readyz").await == Some(200)).then_some(())
    })
    .await;
    eventually("works again", PATIENCE, async || {
        let answer = stage.client.post(&format!("/channels/{CHANNEL}/users"), &user).await;
        matches!(answer.status, 200 | 201).then_some(())
    })
    .await;
}

/// What WeChat pushes while there is no database is refused, so that it comes again; then it is taken, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_finds_no_database_is_asked_for_again() {
    let Some(database) = Database::postgres("a_push_that_finds_no_database_is_asked_for_again") else {
        return;
    };
    let stage = Stage::start(database).await;
    set_pushes_up(&stage.client, PUSH_TOKEN, PUSH_KEY).await;
    let pusher = Pusher::new(PUSH_TOKEN, PUSH_KEY);
    let first = pusher.popup(1, "oDEMO_user_000000000000000_A");
    assert!(pusher.is_taken(&stage.client, &first).await);
    stage.database.allow_connections(false);
    stage.database.cut_connections();
    let second = pusher.popup(2, "oDEMO_user_000000000000000_B");
    // One whose key the node still knows, and, a while later, one whose key it would have to look for.
    for wait in [Duration::ZERO, Duration::from_secs(3)] {
        tokio::time::sleep(wait).await;
        for push in [&first, &second] {
            let posted = std::time::Instant::now();
            let (status, body) = pusher.post(&stage.client, push).await.expect("an answer");
            assert!(status >= 500 && !body.contains("success"), "{status} {body}");
            assert!(
                posted.elapsed() < Duration::from_secs(5),
                "WeChat waits no longer: {:?}",
                posted.elapsed()
            );
        }
    }
    stage.database.allow_connections(true);
    for push in [&second, &second, &first] {
        eventually("taken", PATIENCE, async || pusher.is_taken(&stage.client, push).await.then_some(()))
            .await;
    }
    let health = stage.client.get(&format!("/channels/{CHANNEL}/push-health")).await;
    assert_eq!(health.expect_status(200)["states"], json!({ "acted": 2 }), "{}", health.body);
    eventually("two grants", PATIENCE, async || {
        let activity = stage.client.get(&format!("/reports/activity?channel={CHANNEL}")).await;
        activity.body.to_string().contains("\"granted\":2").then_some(())
    })
    .await;
}

/// A newer node writes beside an older one: what rests on its events is refused by name, all else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_wrote_asks_for_an_upgrade() {
    let Some(database) = Database::postgres("what_a_newer_version_wrote_asks_for_an_upgrade") else { return };
    let mut stage = Stage::start(database).await;
    bind_and_tap(&stage, "lisi", 1).await;
    let openid = bind_and_tap(&stage, "zhangsan", 2).await;
    let head = stage.client.get(&format!("/channels/{CHANNEL}/users/zhangsan")).await;
    let newest = head.expect_status(200)["position"].as_u64().unwrap();
    let place = format!("position {newest} of log {CHANNEL}");
    // The kinds that taps are, under a schema to come; and a kind to come.
    for change in ["schema = 99", "kind = 9999"] {
        stage.kill();
        let log = format!("log = (select id from head where name = '{CHANNEL}')");
        stage.database.tamper(&format!("update event set {change} where position = {newest} and {log}"));
        stage.restart().await;

        let ledgers = format!("/channels/{CHANNEL}/users/zhangsan/ledgers?at=");
        let past = stage.client.get(&format!("{ledgers}{newest}")).await;
        past.expect_problem(503, "newer_version");
        let detail = past.body["detail"].as_str().unwrap();
        assert!(detail.contains(&place) && detail.contains("upgrade"), "{detail}");
        stage.client.get(&format!("{ledgers}{}", newest - 1)).await.expect_status(200);
        for (userid, status) in [("zhangsan", 503), ("lisi", 200)] {
            let openid = if userid == "lisi" { stage.wechat.user().await } else { openid.clone() };
            let result = stage.wechat.tap(&openid).await;
            let report = json!({ "report_id": format!("{userid}-{}", &change[..4]), "userid": userid, "result": result });
            let report = stage.client.post(&format!("/channels/{CHANNEL}/client-reports"), &report).await;
            match status {
                503 => report.expect_problem(503, "newer_version"),
                _ => drop(report.expect_status(status)),
            }
        }

        let ledger =
            ["audit", "ledger", "--channel", CHANNEL, "--userid", "zhangsan", "--template", TEMPLATE];
        let before = (newest - 1).to_string();
        for explain in [&[][..], &["--explain"]] {
            let output = run_cli(&stage.database, &[&ledger[..], explain].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert_eq!((said.matches(&place).count(), said.matches("upgrade").count()), (1, 1), "{said}");
            let earlier = run_cli(&stage.database, &[&ledger[..], explain, &["--at", &before]].concat());
            assert!(earlier.status.success(), "{}", String::from_utf8_lossy(&earlier.stderr));
        }
    }
    // A command of the command line: the channel's own stream.
    stage.kill();
    stage.database.tamper("update event set schema = 99 where kind = 10");
    let pause = ["channel", "pause", CHANNEL, "--reason", "a test"];
    let output = run_cli(&stage.database, &pause);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.matches("upgrade").count()), (Some(3), 1), "{said}");
}

#[test]
fn an_unreachable_database_is_said_plainly() {
    let mut database = Database::sqlite();
    for url in ["postgres://nobody@127.0.0.1:1/none", "sqlite:///no/such/folder/subledger.db"] {
        database.url = url.to_owned();
        let output = run_cli(&database, &["serve", "--listen", "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{url}: {said}");
        assert!(said.contains("database"), "{said}");
    }
}

/// What the server or the system says is told at once, with the place and without the password.
#[test]
fn why_there_is_no_connection_is_said_at_once() {
    let mut database = Database::sqlite();
    let mut cases = vec![(
        "postgres://ann:hunter2@127.0.0.1:1/books".to_owned(),
        vec!["127.0.0.1", "port 1,", "refused"],
    )];
    if let Some(other) = Database::postgres("why_there_is_no_connection_is_said_at_once") {
        let (server, _) = other.url.rsplit_once('/').unwrap();
        cases.push((format!("{server}/no_such_database"), vec!["\"no_such_database\" does not exist"]));
    }
    for (url, words) in cases {
        database.url = url;
        for arguments in
            [&["channel", "list"][..], &["serve", "--listen", "127.0.0.1:0"], &["audit", "verify"]]
        {
            let begun = std::time::Instant::now();
            let output = run_cli(&database, arguments);
            let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert!(begun.elapsed() < Duration::from_secs(5), "{arguments:?} took {:?}", begun.elapsed());
            let code = if arguments[0] == "audit" { 2 } else { 3 };
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
            for word in &words {
                assert_eq!(said.matches(word).count(), 1, "{word} in {said}");
            }
            assert!(!said.contains("hunter2") && !said.contains("pool"), "{said}");
        }
    }
}

#[test]
fn a_corrupt_file_is_said_plainly() {
    let database = Database::sqlite();
    std::fs::write(database.folder.path().join("e2e.db"), vec![b'x'; 8192]).unwrap();
    let output = run_cli(&database, &["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("not a database"), "{said}");
}

#[test]
fn the_master_key_must_be_there_and_right() {
    let database = Database::sqlite();
    assert!(run_cli(&database, &["migrate"]).status.success());
    for (key, word) in [
        ("", "SUBLEDGER_MASTER_KEY"),
        ("too short", "SUBLEDGER_MASTER_KEY"),
        ("//////////////////////////////////////////8=", "does not unlock this database"),
    ] {
        let output =
            run_cli_with(&database, &[("SUBLEDGER_MASTER_KEY", key)], &["serve", "--listen", "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{key:?}: {said}");
        assert!(said.contains(word), "{key:?}: {said}");
        assert!(key.is_empty() || !said.contains(key), "the key itself must not be printed: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_may_read_a_sqlite_file_but_not_write_it() {
    let mut stage = Stage::start(Database::sqlite()).await;
    let serve = run_cli(&stage.database, &["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&serve.stderr);
    assert_eq!(serve.status.code(), Some(3), "{said}");
    let process = stage.service.as_ref().unwrap().id();
    assert!(said.contains(&format!("process {process} writes")), "{said}");
    assert!(said.contains("PostgreSQL"), "it says what to do instead: {said}");
    let create = run_cli(&stage.database, &["app", "create", "other"]);
    assert_eq!(create.status.code(), Some(3), "{}", String::from_utf8_lossy(&create.stderr));
    let list = run_cli(&stage.database, &["app", "list", "--json"]);
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let listed = String::from_utf8_lossy(&list.stdout);
    assert!(listed.contains("shop") && !listed.contains("other"), "{listed}");
    // However the first one ends, the next may write.
    stage.kill();
    let create = run_cli(&stage.database, &["app", "create", "other"]);
    assert!(create.status.success(), "{}", String::from_utf8_lossy(&create.stderr));
}
