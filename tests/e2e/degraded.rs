//! When what we rest on is away: the database, its key, its integrity.

use std::time::Duration;

use serde_json::json;

use crate::support::{CHANNEL, Database, Stage, eventually, run_cli, run_cli_with};

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
        ("//////////////////////////////////////////8=", "not the key"),
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
