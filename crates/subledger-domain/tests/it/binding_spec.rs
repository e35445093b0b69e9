//! One openid per user and channel.

use subledger_domain::binding::*;

use crate::support::*;

fn bound(n: u8) -> BindingEvent {
    BindingEvent::Bound(Bound { subject: subject(n), evidence: operator(1) })
}

fn bind(n: u8) -> BindingCommand {
    BindingCommand::Bind { subject: subject(n), evidence: operator(1) }
}

fn unbind() -> BindingCommand {
    BindingCommand::Unbind { evidence: operator(1) }
}

fn unbound(n: u8) -> BindingEvent {
    BindingEvent::Unbound(Unbound { subject: subject(n), evidence: operator(1) })
}

#[test]
fn a_user_is_bound_once() {
    spec::<Binding>(vec![], bind(1), vec![bound(1)]);
    spec::<Binding>(vec![bound(1)], bind(1), vec![]);
}

#[test]
fn binding_another_openid_moves_the_user() {
    let moved = Moved { from: subject(1), subject: subject(2), evidence: operator(1) };
    let moved = BindingEvent::Moved(moved);
    spec::<Binding>(vec![bound(1)], bind(2), vec![moved.clone()]);
    spec::<Binding>(vec![bound(1), moved.clone()], bind(2), vec![]);
    spec::<Binding>(vec![bound(1), moved], unbind(), vec![unbound(2)]);
}

#[test]
fn an_unbound_user_can_be_bound_again_but_not_unbound_again() {
    spec::<Binding>(vec![bound(1)], unbind(), vec![unbound(1)]);
    spec::<Binding>(vec![bound(1), unbound(1)], bind(1), vec![bound(1)]);
    refused::<Binding>(vec![bound(1), unbound(1)], unbind(), BindingError::NotBound);
    refused::<Binding>(vec![], unbind(), BindingError::NotBound);
}
