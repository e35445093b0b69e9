//! A read model that is stopped at an event: the others go on, and nobody is shown older numbers than were asked for.

use serde_json::json;
use subledger_domain::{
    DeliveryId, LogName, MessageId, StreamName, SubjectId, TemplateId, TemplateKind,
    ledger::{Ledger, LedgerCommand, UnknownBalance},
};
use subledger_store::{Cause, Known, Stage, Stop, StreamRef, Submission, Work};

use crate::support::{CHANNEL, ORDER, TestApp};

/// Sets a grant aside for a delivery of a message that nobody asked for: a ledger allows it, and the read model of messages
/// cannot make sense of it.
struct Reserve(SubjectId, TemplateId);

impl Work for Reserve {
    type Answer = ();
    type Refusal = String;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(StreamName::ledger(self.0, &self.1))]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<String>> {
        let command = LedgerCommand::Reserve {
            delivery: DeliveryId::new(MessageId::from_bytes([9; 16]), 0),
            kind: TemplateKind::OneTime,
            unknown_balance: UnknownBalance::Refuse,
            user: None,
        };
        stage
            .ask::<Ledger>(&StreamName::ledger(self.0, &self.1), command)?
            .map_err(|error| Stop::Refuse(error.to_string()))?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn min_position_is_kept_by_each_read_model_for_itself() {
    let app = TestApp::new().await;
    app.user("zhangsan", 1).await;
    let user = app.get(&format!("/channels/{CHANNEL}/users/zhangsan")).await.ok(200);
    let subject: SubjectId = user["subject"].as_str().unwrap().parse().unwrap();
    let submission = Submission {
        log: LogName::new(CHANNEL),
        receipt: None,
        cause: Cause { by: "app:tester".into(), command: "test".into(), request: None },
        work: Reserve(subject, ORDER.parse().unwrap()),
    };
    let stopped_at = app.engine.executor().submit(submission).await.unwrap().position.0;
    let body = json!({ "userid": "lisi", "openid": "oDEMO_user_000000000000000_Z" });
    let bound = app.post(&format!("/channels/{CHANNEL}/users"), &body).await.ok(200);
    let position = bound["position"].as_u64().unwrap();

    let read = async |path: &str, wait: bool| {
        let wait = if wait { format!("?min_position={position}") } else { String::new() };
        app.get(&format!("/channels/{CHANNEL}{path}{wait}")).await
    };
    for path in ["/users", "/users/lisi", "/users/zhangsan/ledgers", "/ledgers", "/templates", ""] {
        let answer = read(path, true).await.ok(200);
        assert_eq!(answer["position"], position, "{path}");
    }
    for path in ["/messages", "/in-doubt"] {
        read(path, true).await.problem(503, "not_caught_up");
        assert_eq!(read(path, false).await.ok(200)["position"], stopped_at - 1, "{path}");
    }
}
