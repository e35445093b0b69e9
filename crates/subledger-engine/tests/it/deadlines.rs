//! Doubts that nobody settles: closed by the channel's policy after its deadline, and what comes before and after it.

use std::time::Duration;

use subledger_domain::{
    DeliveryId, Evidence, EvidenceSource, LogName, MessageId, StreamName, Timestamp,
    channel::Policy,
    ledger::{DoubtVerdict, Ledger, LedgerCommand, LedgerError, LedgerEvent, Totals},
};
use subledger_engine::doubts::{DoubtFilter, ManualVerdict};
use subledger_projection::DeliveryState;
use subledger_sandbox::{CallPath, FaultKind, FaultSpec};
use subledger_store::{Cause, Effect, Known, Stage, Stop, StreamRef, Submission, Work};

use crate::{
    place::{Place, on_both_databases},
    world::{LONG_TERM, TEMPLATE, World, send_request, template, to_user},
};

on_both_databases!(
    an_old_doubt_is_taken_for_sent,
    an_old_doubt_is_released_where_the_policy_says_so,
    what_is_settled_in_time_is_left_alone,
    wechat_has_the_last_word_after_the_deadline,
    wechat_confirms_what_was_taken_for_sent,
    wechats_word_in_time_leaves_nothing_to_close,
    a_deadline_that_is_changed_holds_for_doubts_that_exist,
    many_doubts_are_settled_together_by_hand,
);

/// Long, so that the machine's own time does not count.
const DEADLINE: i64 = 3_600;

fn policy(doubt_verdict: DoubtVerdict) -> Policy {
    Policy { doubt_deadline_s: 3_600, doubt_verdict, ..Policy::default() }
}

/// A world in which `taps` grants were counted and the first message is in doubt.
async fn doubt(
    place: &Place,
    verdict: DoubtVerdict,
    taps: usize,
    kind: FaultKind,
) -> (World, String, MessageId) {
    let world = World::on_with_policy(place, policy(verdict)).await;
    let openid = world.user("lisi").await;
    for tap in 0..taps {
        world.tap("lisi", &openid, &format!("tap-{tap}")).await;
    }
    world.wechat.inject(FaultSpec::on(kind, CallPath::Send)).unwrap();
    world.engine.start_dispatch().await;
    let sent = world.send(vec![to_user("lisi")]).await.unwrap();
    assert_eq!(world.ended(sent.msgid, 0).await.state, DeliveryState::InDoubt);
    (world, openid, sent.msgid)
}

/// Waits until a delivery is in this state.
async fn reaches(world: &World, msgid: MessageId, state: DeliveryState) {
    let begun = std::time::Instant::now();
    loop {
        let row = world.delivery(msgid, 0).await;
        if row.state == state {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{row:?} is not {state:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits for a whole sweep at least: what the second one expires was not there before the first one ended.
async fn swept(world: &World) {
    for round in 0..2 {
        let userid = format!("marker-{}-{round}", world.events().await);
        let openid = world.user(&userid).await;
        world.tap(&userid, &openid, &userid).await;
        // A delivery that may not start any more and waits for the sweep alone.
        world.engine.pause_channel(&world.caller, &world.code, "a sweep is waited for".into()).await.unwrap();
        let mut request = send_request(vec![to_user(&userid)]);
        request.expires_at = Some(world.engine.now().plus_seconds(1));
        let sent = world.engine.send(&world.caller, &world.code, request).await.unwrap().answer;
        reaches(world, sent.msgid, DeliveryState::Expired).await;

        world.engine.resume_channel(&world.caller, &world.code, "it came".into()).await.unwrap();
    }
}

async fn totals(world: &World, openid: &str) -> Totals {
    world.ledger(openid).await.totals()
}

/// The evidence of every settlement of a delivery, in order.
async fn settlements(world: &World, delivery: DeliveryId) -> Vec<Evidence> {
    let page =
        world.engine.store().read_log(&world.log(), subledger_store::Position(0), 1_000).await.unwrap();
    let events = page.iter().filter_map(|event| event.decode::<LedgerEvent>().ok());
    let settled = events.filter_map(|event| match event {
        LedgerEvent::SettledLate(settled) if settled.delivery == delivery => Some(settled.evidence),
        _ => None,
    });
    settled.collect()
}

async fn an_old_doubt_is_taken_for_sent(place: Place) {
    let (world, openid, msgid) =
        doubt(&place, DoubtVerdict::AssumeSent, 2, FaultKind::DropBeforeCommit).await;
    // A neighbour waits behind the doubt.
    let next = world.send(vec![to_user("lisi")]).await.unwrap().msgid;
    world.clock.pass_seconds(DEADLINE - 600);
    swept(&world).await;
    assert_eq!(world.delivery(msgid, 0).await.state, DeliveryState::InDoubt);
    world.clock.pass_seconds(600);
    reaches(&world, msgid, DeliveryState::Sent).await;
    // Nobody else wakes the neighbour.
    reaches(&world, next, DeliveryState::Sent).await;
    let row = world.delivery(msgid, 0).await;
    assert_eq!((row.settled_by.as_deref(), row.wechat_msgid), (Some("policy"), None));
    let totals = totals(&world, &openid).await;
    assert_eq!((totals.open, totals.in_doubt, totals.consumed), (0, 0, 2));
    let settled = settlements(&world, DeliveryId::new(msgid, 0)).await;
    assert_eq!(settled.len(), 1, "once, however often it is swept: {settled:?}");
    assert_eq!(settled[0].reference, "doubt_verdict=assume_sent doubt_deadline_s=3600");
}

async fn an_old_doubt_is_released_where_the_policy_says_so(place: Place) {
    let (world, openid, msgid) = doubt(&place, DoubtVerdict::Release, 1, FaultKind::DropBeforeCommit).await;
    world.clock.pass_seconds(DEADLINE);
    reaches(&world, msgid, DeliveryState::NotSent).await;
    let ledger = world.ledger(&openid).await;
    assert_eq!(ledger.lots()[0].doubted_by, Some(DeliveryId::new(msgid, 0)), "the remark stays");
    let next = world.send(vec![to_user("lisi")]).await.unwrap().msgid;
    reaches(&world, next, DeliveryState::Sent).await;
    assert_eq!(world.accepted_by_wechat(), 1);
}

async fn what_is_settled_in_time_is_left_alone(place: Place) {
    let (world, openid, msgid) =
        doubt(&place, DoubtVerdict::AssumeSent, 1, FaultKind::DropBeforeCommit).await;
    let delivery = DeliveryId::new(msgid, 0);
    let reason = "the phone shows nothing".to_owned();
    let settle = world.engine.resolve_doubt(
        &world.caller,
        &world.code,
        delivery,
        ManualVerdict::NotSent,
        reason,
        None,
    );
    settle.await.unwrap();
    world.clock.pass_seconds(10 * DEADLINE);
    swept(&world).await;
    let settled = settlements(&world, delivery).await;
    assert_eq!(settled.iter().map(|one| one.source).collect::<Vec<_>>(), [EvidenceSource::Operator]);
    assert_eq!(totals(&world, &openid).await.open, 1);
}

/// WeChat's sent event, recorded as the intake of pushes records it.
struct SentEvent {
    stream: StreamName,
    at: Timestamp,
}

impl Work for SentEvent {
    type Answer = ();
    type Refusal = LedgerError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Ledger>(self.stream.clone())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<LedgerError>> {
        let command = LedgerCommand::RecordSent {
            wechat_msgid: Some("3161299431936163842".to_owned()),
            code: 0,
            status: "success".to_owned(),
            began: None,
            evidence: Evidence::new(EvidenceSource::WechatPush, "push-1", self.at),
        };
        let events = stage.ask::<Ledger>(&self.stream, command)?.map_err(Stop::Refuse)?;
        for event in &events {
            if let LedgerEvent::SettledLate(settled) = event {
                stage.effect(Effect::Dequeue(settled.delivery));
            }
        }
        Ok(())
    }
}

async fn push_sent(world: &World, openid: &str) {
    let subject = world.engine.store().subject_of(&world.code, &openid.parse().unwrap());
    let work = SentEvent { stream: StreamName::ledger(subject, &template()), at: world.engine.now() };
    let cause = Cause { by: "wechat".to_owned(), command: "sent_event".to_owned(), request: None };
    let submission = Submission { log: LogName::channel(&world.code), receipt: None, cause, work };
    world.engine.executor().submit(submission).await.unwrap();
}

async fn wechat_has_the_last_word_after_the_deadline(place: Place) {
    let (world, openid, msgid) = doubt(&place, DoubtVerdict::Release, 1, FaultKind::DropAfterCommit).await;
    let delivery = DeliveryId::new(msgid, 0);
    world.clock.pass_seconds(DEADLINE);
    reaches(&world, msgid, DeliveryState::NotSent).await;
    push_sent(&world, &openid).await;
    let row = world.delivery(msgid, 0).await;
    assert_eq!((row.state, row.settled_by.as_deref()), (DeliveryState::Sent, Some("wechat_push")));
    assert!(row.sent_event_at.is_some());
    let found = totals(&world, &openid).await;
    assert_eq!((found.open, found.consumed), (0, 1), "the released grant was spent after all");
    swept(&world).await;
    let sources: Vec<_> = settlements(&world, delivery).await.iter().map(|one| one.source).collect();
    assert_eq!(sources, [EvidenceSource::Policy, EvidenceSource::WechatPush]);
}

async fn wechat_confirms_what_was_taken_for_sent(place: Place) {
    let (world, openid, msgid) = doubt(&place, DoubtVerdict::AssumeSent, 1, FaultKind::DropAfterCommit).await;
    world.clock.pass_seconds(DEADLINE);
    reaches(&world, msgid, DeliveryState::Sent).await;
    push_sent(&world, &openid).await;
    let row = world.delivery(msgid, 0).await;
    assert_eq!((row.state, row.settled_by.as_deref()), (DeliveryState::Sent, Some("policy")));
    assert_eq!(row.sent_event_code, Some(0));
    assert_eq!(totals(&world, &openid).await.consumed, 1);
}

async fn wechats_word_in_time_leaves_nothing_to_close(place: Place) {
    let (world, openid, msgid) = doubt(&place, DoubtVerdict::Release, 1, FaultKind::DropAfterCommit).await;
    push_sent(&world, &openid).await;
    world.clock.pass_seconds(10 * DEADLINE);
    swept(&world).await;
    let settled = settlements(&world, DeliveryId::new(msgid, 0)).await;
    assert_eq!(settled.iter().map(|one| one.source).collect::<Vec<_>>(), [EvidenceSource::WechatPush]);
    assert_eq!(totals(&world, &openid).await.consumed, 1);
}

async fn a_deadline_that_is_changed_holds_for_doubts_that_exist(place: Place) {
    let (world, _, msgid) = doubt(&place, DoubtVerdict::Release, 1, FaultKind::DropBeforeCommit).await;
    let patient = Policy { doubt_deadline_s: 36_000, ..policy(DoubtVerdict::Release) };
    world.engine.change_policy(&world.caller, &world.code, patient).await.unwrap();
    world.clock.pass_seconds(2 * DEADLINE);
    swept(&world).await;
    assert_eq!(world.delivery(msgid, 0).await.state, DeliveryState::InDoubt);
    world.engine.change_policy(&world.caller, &world.code, policy(DoubtVerdict::Release)).await.unwrap();
    reaches(&world, msgid, DeliveryState::NotSent).await;
}

async fn many_doubts_are_settled_together_by_hand(place: Place) {
    let patient = Policy { doubt_deadline_s: 2_592_000, ..Policy::default() };
    let world = World::on_with_policy(&place, patient).await;
    world.engine.start_dispatch().await;
    let mut doubts = Vec::new();
    for user in ["lisi", "wangwu", "zhaoliu"] {
        let openid = world.user(user).await;
        world.tap(user, &openid, user).await;
        world.never_answer();
        let msgid = world.send(vec![to_user(user)]).await.unwrap().msgid;
        assert_eq!(world.ended(msgid, 0).await.state, DeliveryState::InDoubt);
        doubts.push(DeliveryId::new(msgid, 0));
        world.clock.pass_seconds(100);
    }
    let filter = |template: Option<&str>, ago: i64, limit| DoubtFilter {
        template: template.map(|id| id.parse().unwrap()),
        since: Some(world.engine.now().plus_seconds(-ago)),
        limit,
    };
    let settle = async |filter: DoubtFilter, dry_run| {
        let reason = "an outage of our line".to_owned();
        let verdict = ManualVerdict::NotSent;
        let done = world.engine.settle_doubts(&world.caller, &world.code, &filter, verdict, reason, dry_run);
        let done = done.await.unwrap().answer;
        let matched: Vec<_> = done.matched.iter().map(|entry| entry.row.delivery).collect();
        (matched, done.settled, done.more)
    };
    let before = world.events().await;
    assert_eq!(settle(filter(None, 150, 10), true).await, (doubts[..2].to_vec(), 0, false));
    assert_eq!(settle(filter(None, 0, 2), true).await, (doubts[..2].to_vec(), 0, true));
    assert_eq!(settle(filter(Some(LONG_TERM), 0, 10), false).await, (Vec::new(), 0, false));
    assert_eq!(world.events().await, before, "nothing was changed");
    assert_eq!(settle(filter(Some(TEMPLATE), 150, 10), false).await, (doubts[..2].to_vec(), 2, false));
    assert_eq!(settle(filter(None, 150, 10), false).await, (Vec::new(), 0, false), "once");
    for (doubt, state) in
        doubts.iter().zip([DeliveryState::NotSent, DeliveryState::NotSent, DeliveryState::InDoubt])
    {
        assert_eq!(world.delivery(doubt.message, 0).await.state, state);
    }
    let settled = settlements(&world, doubts[0]).await;
    assert_eq!(settled[0].reason.as_deref(), Some("an outage of our line"));
    assert_eq!(settle(filter(None, -999, 10), false).await, (doubts[2..].to_vec(), 1, false));
}
