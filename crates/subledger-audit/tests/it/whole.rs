//! What is whole is found whole, also while the service writes; and looking changes nothing.

use std::sync::Arc;

use subledger_audit::proof::{self, Deliveries, Options, VerifyError};
use subledger_domain::LogName;
use subledger_store::{Inspector, OpenError};

use crate::{
    support::{Place, catch_up, on_both_databases},
    world::{Node, log, plan, reserve, tell, tell_on},
};

async fn a_whole_database_is_clean_and_its_recipients_are_accounted_for(place: Place) {
    let told = tell(&place).await;
    let report = place.verify().await;
    assert!(report.clean, "{:#?}", report.findings);
    let names: Vec<&str> = report.logs.iter().map(|log| log.log.as_str()).collect();
    assert_eq!(names, ["main", "wechatmp123"]);
    let channel = &report.logs[1];
    assert_eq!((channel.position, channel.events), (told.end(), told.events.len() as u64));
    assert_eq!(channel.link, hex::encode(told.events.last().unwrap().link.0));
    assert_eq!(channel.read_models, ["bindings", "channels", "ledgers", "messages"]);
    assert_eq!(report.logs[0].read_models, ["apps"]);
    let expected = Deliveries {
        messages: 1,
        targeted: 11,
        unplanned: 1,
        reserved: 1,
        started: 1,
        in_doubt: 1,
        sent: 1,
        refused: 2,
        failed: 1,
        retracted: 1,
        not_sent: 1,
        skipped: 1,
        ..Deliveries::default()
    };
    assert_eq!(channel.deliveries, expected);
    assert_eq!(channel.queued, 3);
    assert!(channel.receipts > 20);
}

async fn a_verification_while_commands_are_carried_out_stays_clean(place: Place) {
    let node = Arc::new(Node::on(&place).await);
    tell_on(&node).await;
    catch_up(&node.store).await;
    let writer = Arc::clone(&node);
    let writing = tokio::spawn(async move {
        for message in 10..120 {
            let who = 20 + message % 3;
            writer.ask(&log(), vec![writer.tap(who)]).await;
            let asks = vec![writer.accept(message, 1), reserve(message, 0, who), plan(message, 1, vec![])];
            writer.ask(&log(), asks).await;
        }
    });
    let mut looked = 0;
    while !writing.is_finished() || looked < 2 {
        let report = place.verify().await;
        assert!(report.clean, "{:#?}", report.findings);
        looked += 1;
    }
    writing.await.unwrap();
    let report = place.verify().await;
    assert!(report.clean, "{:#?}", report.findings);
    assert_eq!(report.logs[1].deliveries.messages, 111);
}

async fn one_log_can_be_looked_at_alone_and_an_unknown_one_cannot(place: Place) {
    tell(&place).await;
    let options = Options { log: Some(LogName::main()), skip_read_models: true, now: None };
    let report = place.verify_with(options).await;
    assert_eq!((report.logs.len(), report.clean, report.read_models), (1, true, false));
    let inspector = Inspector::open(&place.url).await.unwrap();
    let options = Options { log: Some(LogName::new("nosuch")), skip_read_models: true, now: None };
    let refused = proof::verify(&inspector, &options, |_| {}).await;
    assert!(matches!(refused, Err(VerifyError::UnknownLog(_))), "{refused:?}");
    inspector.close().await;
}

async fn a_database_of_another_schema_version_is_refused(place: Place) {
    tell(&place).await;
    place
        .tamper("delete from _sqlx_migrations where version = (select max(version) from _sqlx_migrations)")
        .await;
    let refused = Inspector::open(&place.url).await;
    assert!(matches!(&refused, Err(OpenError::Unsupported(what)) if what.contains("migrate")), "{refused:?}");
}

on_both_databases!(
    a_whole_database_is_clean_and_its_recipients_are_accounted_for,
    a_verification_while_commands_are_carried_out_stays_clean,
    one_log_can_be_looked_at_alone_and_an_unknown_one_cannot,
    a_database_of_another_schema_version_is_refused,
);

#[tokio::test]
async fn a_missing_file_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nosuch.db");
    let refused = Inspector::open(&format!("sqlite://{}", path.display())).await;
    assert!(matches!(refused, Err(OpenError::Unsupported(_))), "{refused:?}");
    assert!(!path.exists());
    std::fs::write(&path, b"").unwrap();
    let empty = Inspector::open(&format!("sqlite://{}", path.display())).await;
    assert!(matches!(empty, Err(OpenError::Unsupported(_))), "{empty:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_changes_no_byte_of_the_file() {
    let place = Place::sqlite();
    tell(&place).await;
    let path = place.url.strip_prefix("sqlite://").unwrap();
    let before = std::fs::read(path).unwrap();
    assert!(place.verify().await.clean);
    assert!(before == std::fs::read(path).unwrap());
}
