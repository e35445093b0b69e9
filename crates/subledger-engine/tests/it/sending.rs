//! Accepting a message: who is skipped and why, what is refused, idempotency.

use subledger_domain::{
    channel::Policy,
    ledger::{RefusedSend, UnknownBalance},
    message::SkipReason,
};
use subledger_engine::{
    ErrorKind, Values,
    send::{Recipient, RecipientPlan, To},
};
use subledger_projection::DeliveryState;
use subledger_sandbox::{CallPath, FaultKind, FaultSpec};

use crate::world::{APPID, LONG_TERM, TEMPLATE, World, send_request, to_user};

#[tokio::test(flavor = "multi_thread")]
async fn each_recipient_is_accepted_or_skipped_with_its_reason() {
    let world = World::new().await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    world.user("lisi").await;
    let by_openid = Recipient { to: To::Openid(openid.parse().unwrap()), data: Values::new() };
    let answer =
        world.send(vec![to_user("zhangsan"), to_user("lisi"), to_user("nobody"), by_openid]).await.unwrap();
    let skipped = |reason| RecipientPlan::Skipped { reason };
    let expected = [
        RecipientPlan::Accepted,
        skipped(SkipReason::NoGrant),
        skipped(SkipReason::NotBound),
        skipped(SkipReason::Duplicate),
    ];
    assert_eq!(answer.recipients, expected);
    assert_eq!((answer.targeted, answer.accepted, answer.skipped), (4, 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_answer_and_another_body_is_refused() {
    let world = World::new().await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    let mut request = send_request(vec![to_user("zhangsan")]);
    request.idempotency_key = Some("order-42".to_owned());
    let first = world.engine.send(&world.caller, &world.code, request.clone()).await.unwrap();
    let events = world.events().await;
    let again = world.engine.send(&world.caller, &world.code, request.clone()).await.unwrap();
    assert_eq!((&again.answer, again.replayed), (&first.answer, true));
    request.page = Some("pages/other".to_owned());
    let other = world.engine.send(&world.caller, &world.code, request).await.unwrap_err();
    assert_eq!((other.kind, other.code), (ErrorKind::Invalid, "idempotency_key_reused"));
    assert_eq!(world.events().await, events, "nothing more is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_refused_by_field_and_records_nothing() {
    let world = World::new().await;
    let openid = world.user("zhangsan").await;
    world.tap("zhangsan", &openid, "tap-1").await;
    let events = world.events().await;
    let with = |change: fn(&mut subledger_engine::send::SendRequest)| {
        let mut request = send_request(vec![to_user("zhangsan")]);
        change(&mut request);
        request
    };
    for (request, code, pointer) in [
        (with(|r| r.recipients.clear()), "no_recipients", "/recipients"),
        (with(|r| r.recipients = vec![to_user("nobody")]), "unknown_user", "/recipients/0/userid"),
        (with(|r| r.recipients = vec![to_user("zhangsan"); 1_001]), "too_many_recipients", "/recipients"),
        (with(|r| r.template = "TPL_unknown".parse().unwrap()), "unknown_template", "/template_id"),
        (with(|r| drop(r.data.remove("date2"))), "bad_values", "/data/date2"),
        (with(|r| drop(r.data.insert("thing1".to_owned(), String::new()))), "bad_values", "/data/thing1"),
        (with(|r| drop(r.data.insert("thing1".to_owned(), "面".repeat(21)))), "bad_values", "/data/thing1"),
        (
            with(|r| drop(r.recipients[0].data.insert("phrase3".to_owned(), "六个字的短语".to_owned()))),
            "bad_values",
            "/recipients/0/data/phrase3",
        ),
        (with(|r| r.page = Some("https://example.invalid".to_owned())), "bad_page", "/page"),
        (
            with(|r| r.expires_at = Some(subledger_domain::Timestamp::from_micros(0))),
            "bad_expires_at",
            "/expires_at",
        ),
    ] {
        let error = world.engine.send(&world.caller, &world.code, request).await.unwrap_err();
        let found = error.fields.first().map(|field| field.pointer.as_str());
        assert_eq!((error.kind, error.code, found), (ErrorKind::Invalid, code, Some(pointer)), "{error}");
    }
    assert_eq!(world.events().await, events, "nothing is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_recipients_are_one_commit_and_add_up() {
    let world = World::new().await;
    let mut recipients = Vec::new();
    for user in 0..20 {
        let userid = format!("user-{user}");
        let openid = world.user(&userid).await;
        if user % 2 == 0 {
            world.tap(&userid, &openid, &format!("tap-{user}")).await;
        }
        recipients.push(to_user(&userid));
    }
    recipients.extend((20..1_000).map(|user| to_user(&format!("unbound-{user}"))));
    let answer = world.send(recipients).await.unwrap();
    assert_eq!((answer.targeted, answer.accepted, answer.skipped), (1_000, 10, 990));
    world.engine.start_dispatch().await;
    for index in (0..20).step_by(2) {
        assert_eq!(world.ended(answer.msgid, index).await.state, DeliveryState::Sent);
    }
    let row = world.engine.queries().message(&world.code, answer.msgid).await.unwrap().value.unwrap();
    assert_eq!((row.targeted, row.counts.sent, row.counts.skipped), (1_000, 10, 990));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_term_template_needs_consent_and_no_count() {
    let world = World::new().await;
    let openid = world.user("zhangsan").await;
    let mut request = send_request(vec![to_user("zhangsan")]);
    request.template = LONG_TERM.parse().unwrap();
    let before = world.engine.send(&world.caller, &world.code, request.clone()).await.unwrap().answer;
    assert_eq!(before.recipients, [RecipientPlan::Skipped { reason: SkipReason::NoGrant }]);
    world.tap_for(LONG_TERM, "zhangsan", &openid, "consent").await;
    world.engine.start_dispatch().await;
    for _ in 0..3 {
        let answer = world.engine.send(&world.caller, &world.code, request.clone()).await.unwrap().answer;
        let row = world.ended(answer.msgid, 0).await;
        assert_eq!((row.state, row.lot), (DeliveryState::Sent, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_balance_is_attempted_once_where_the_policy_says_so() {
    let world =
        World::with_policy(Policy { unknown_balance: UnknownBalance::Attempt, ..Policy::default() }).await;
    let openid = world.user("legacy").await;
    // A tap from before our books: WeChat knows of it, nobody reported it.
    let tap = subledger_sandbox::TapSpec::new(&openid, &[TEMPLATE], subledger_sandbox::Choice::Accept);
    world.wechat.tap(APPID, &tap).unwrap();
    world.engine.start_dispatch().await;
    for expected in [DeliveryState::Sent, DeliveryState::Refused, DeliveryState::Skipped] {
        let answer = world.send(vec![to_user("legacy")]).await.unwrap();
        assert_eq!(world.ended(answer.msgid, 0).await.state, expected);
    }
    assert_eq!((world.wechat.journal().len(), world.accepted_by_wechat()), (2, 1));
    assert_eq!(world.ledger(&openid).await.totals().voided, 0, "nothing was believed, so nothing drifted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_send_costs_its_grant_where_the_policy_says_so() {
    for (refused_send, open) in [(RefusedSend::Release, 1), (RefusedSend::Consume, 0)] {
        let world = World::with_policy(Policy { refused_send, ..Policy::default() }).await;
        let openid = world.user("zhangsan").await;
        world.tap("zhangsan", &openid, "tap-1").await;
        let fault = FaultSpec { code: Some(40037), ..FaultSpec::on(FaultKind::Errcode, CallPath::Send) };
        world.wechat.inject(fault).unwrap();
        world.engine.start_dispatch().await;
        let answer = world.send(vec![to_user("zhangsan")]).await.unwrap();
        let row = world.ended(answer.msgid, 0).await;
        assert_eq!((row.state, row.code), (DeliveryState::Refused, Some(40037)));
        let totals = world.ledger(&openid).await.totals();
        assert_eq!((totals.open, totals.consumed), (open, 1 - open), "{refused_send:?}");
    }
}
