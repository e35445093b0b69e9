//! A message is accepted once and its recipients are planned in order, each once.

use subledger_domain::TemplateKind;
use subledger_domain::message::*;

use crate::support::*;

fn request(targeted: u32) -> Accepted {
    Accepted {
        app: "app-1".parse().unwrap(),
        template: "template-1".parse().unwrap(),
        kind: TemplateKind::OneTime,
        targeted,
        expires_at: at(NOW + 60),
    }
}

fn taken(targeted: u32) -> Vec<MessageEvent> {
    vec![MessageEvent::Accepted(request(targeted))]
}

fn skip(index: u32, reason: SkipReason) -> Skip {
    Skip { index, reason, user: None, subject: Some(subject(1)) }
}

fn plan(from: u32, reserved: u32, skipped: &[u32]) -> Planned {
    let skipped = skipped.iter().map(|index| skip(*index, SkipReason::NoGrant)).collect();
    Planned { from, reserved, skipped }
}

#[test]
fn a_message_is_accepted_once() {
    spec::<Message>(vec![], MessageCommand::Accept(request(2)), taken(2));
    refused::<Message>(taken(2), MessageCommand::Accept(request(2)), MessageError::AlreadyAccepted);
    refused::<Message>(vec![], MessageCommand::Accept(request(0)), MessageError::NoRecipients);
}

#[test]
fn what_was_not_accepted_cannot_be_planned_or_retracted() {
    let retracted = Retracted { app: "app-1".parse().unwrap(), released: 0 };
    refused::<Message>(vec![], MessageCommand::Plan(plan(0, 1, &[])), MessageError::NotAccepted);
    refused::<Message>(vec![], MessageCommand::Retract(retracted), MessageError::NotAccepted);
}

#[test]
fn recipients_are_planned_in_chunks_until_none_is_left() {
    let first = plan(0, 2, &[1]);
    let second = plan(3, 0, &[4, 3]);
    spec::<Message>(
        taken(5),
        MessageCommand::Plan(first.clone()),
        vec![MessageEvent::Planned(first.clone())],
    );
    let history = [taken(5), vec![MessageEvent::Planned(first)]].concat();
    spec::<Message>(
        history.clone(),
        MessageCommand::Plan(second.clone()),
        vec![MessageEvent::Planned(second.clone())],
    );
    let mut message = Message::default();
    let history = [history, vec![MessageEvent::Planned(second)]].concat();
    history.into_iter().for_each(|event| cqrs_es::Aggregate::apply(&mut message, event));
    assert_eq!((message.planned(), message.reserved(), message.skipped()), (5, 2, 3));
}

#[test]
fn a_plan_that_does_not_fit_is_refused() {
    let history = [taken(5), vec![MessageEvent::Planned(plan(0, 2, &[1]))]].concat();
    let misfits = [
        ("again", plan(0, 2, &[1])),
        ("a gap", plan(4, 1, &[])),
        ("past the end", plan(3, 3, &[])),
        ("huge", plan(3, u32::MAX, &[])),
        ("a skip before the chunk", plan(3, 1, &[2])),
        ("a skip after the chunk", plan(3, 1, &[5])),
        ("one recipient twice", plan(3, 0, &[3, 3])),
    ];
    for (what, misfit) in misfits {
        let result = decide::<Message>(history.clone(), MessageCommand::Plan(misfit));
        assert_eq!(result, Err(MessageError::PlanDoesNotFit { planned: 3, targeted: 5 }), "{what}");
    }
}

#[test]
fn a_retraction_is_recorded() {
    let retracted = Retracted { app: "app-1".parse().unwrap(), released: 3 };
    let events = vec![MessageEvent::Retracted(retracted.clone())];
    spec::<Message>(taken(5), MessageCommand::Retract(retracted), events.clone());
    let mut message = Message::default();
    [taken(5), events].concat().into_iter().for_each(|event| cqrs_es::Aggregate::apply(&mut message, event));
    assert!(message.is_retracted());
}
