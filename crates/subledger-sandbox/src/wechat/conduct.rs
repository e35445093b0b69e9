//! The course of one call: roll the faults, wait, judge, answer or fail to.
//!
//! Judging happens once and under the lock. While a call waits it runs as a task of its own: WeChat does not notice that a
//! caller has left, so a send that was delayed past its caller's patience is still accepted and still takes a count.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::oneshot;

use super::answer;
use crate::errcode::WxError;
use crate::fault::{CallFacts, Ending, FaultKind, Plan};
use crate::sandbox::Sandbox;
use crate::serve::{Caller, no_answer};
use crate::state::State;

/// What is not JSON, for [`FaultKind::Garbage`].
const GARBAGE: &str = "<!doctype html><title>{\"errcode\":0,</title>\u{fffd}\u{0}";

/// How the judgement is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// In earnest.
    Judge,
    /// Not at all: this refusal stands instead.
    Refuse(WxError),
    /// Not at all, and nothing will be answered in WeChat's name.
    PassOver,
}

/// What the judgement gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// WeChat's answer; none if it was passed over.
    pub(super) body: Option<Value>,
    /// Where it stands.
    pub(super) noted: Option<Noted>,
}

/// A place in one of the journals.
#[derive(Debug, Clone, Copy)]
pub(super) enum Noted {
    /// In that of sends.
    Send(u64),
    /// In that of platforms.
    Component(u64),
}

impl Outcome {
    /// Notes that the caller got its answer.
    fn mark_answered(&self, state: &mut State) {
        match self.noted {
            Some(Noted::Send(seq)) => state.journal.mark_answered(seq),
            Some(Noted::Component(seq)) => state.platform_journal.mark_called_back(seq),
            None => {}
        }
    }
}

/// A send's hold on its openid: while it lasts, other sends to the openid answer 43108.
#[derive(Debug)]
pub(super) struct Lane {
    sandbox: Sandbox,
    key: (String, String),
}

impl Lane {
    /// Takes the lane, unless somebody holds it.
    pub(super) fn take(sandbox: &Sandbox, state: &mut State, key: (String, String)) -> Option<Self> {
        state.lanes.insert(key.clone()).then(|| Self { sandbox: sandbox.clone(), key })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.sandbox.with(|state| state.lanes.remove(&self.key));
    }
}

/// Carries one call through. `judge` is run exactly once.
pub(super) async fn conduct<F>(
    sandbox: Sandbox,
    caller: Caller,
    facts: CallFacts,
    lane: Option<Lane>,
    judge: F,
) -> Response
where
    F: FnOnce(&mut State, Step, Option<FaultKind>) -> Outcome + Send + 'static,
{
    let plan = sandbox.with(|state| state.faults.plan(&facts, &mut state.ids));
    if plan.latency.is_zero() {
        let outcome = perform(&sandbox, &facts, &plan, judge);
        return deliver(sandbox, caller, plan.ending, outcome, lane).await;
    }
    let (done, waiting) = oneshot::channel();
    let (task_sandbox, task_plan) = (sandbox.clone(), plan.clone());
    tokio::spawn(async move {
        tokio::time::sleep(task_plan.latency).await;
        let outcome = perform(&task_sandbox, &facts, &task_plan, judge);
        // Fails if the caller has left; the lane is given back either way.
        let _ = done.send((outcome, lane));
    });
    tokio::select! {
        finished = waiting => match finished {
            Ok((outcome, lane)) => deliver(sandbox, caller, plan.ending, outcome, lane).await,
            Err(_) => no_answer(),
        },
        () = caller.closing() => no_answer(),
    }
}

fn perform<F>(sandbox: &Sandbox, facts: &CallFacts, plan: &Plan, judge: F) -> Outcome
where
    F: FnOnce(&mut State, Step, Option<FaultKind>) -> Outcome,
{
    let step = match (&plan.ending, plan.commit) {
        (_, true) => Step::Judge,
        (Ending::Errcode(error), false) => Step::Refuse(error.clone()),
        (_, false) => Step::PassOver,
    };
    sandbox.with(|state| {
        if let (true, Some(appid)) = (plan.revoke, &facts.appid) {
            let now = state.now();
            state.tokens.revoke(appid, now);
        }
        judge(state, step, plan.kind)
    })
}

/// Gives the caller what the plan's ending says.
async fn deliver(
    sandbox: Sandbox,
    caller: Caller,
    ending: Ending,
    outcome: Outcome,
    lane: Option<Lane>,
) -> Response {
    match ending {
        Ending::Answer => whole_answer(&sandbox, &outcome, None),
        Ending::Errcode(error) => whole_answer(&sandbox, &outcome, Some(&error)),
        Ending::Close => no_answer(),
        Ending::Reset => {
            caller.arm_reset();
            no_answer()
        }
        Ending::Hang => {
            // Ends only with the server: when the caller leaves, the server drops this future, and the lane with it.
            caller.closing().await;
            drop(lane);
            no_answer()
        }
        Ending::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            let kind = HeaderValue::from_static("text/html");
            let page = format!("<html><head><title>{status}</title></head><body>{status}</body></html>");
            (status, [(header::CONTENT_TYPE, kind)], page).into_response()
        }
        Ending::Garbage => GARBAGE.into_response(),
        Ending::SlowBody(pause) => slow_answer(sandbox, caller, pause, outcome, lane),
    }
}

/// WeChat's answer, or `instead` of it an injected one.
fn whole_answer(sandbox: &Sandbox, outcome: &Outcome, instead: Option<&WxError>) -> Response {
    let body = sandbox.with(|state| {
        outcome.mark_answered(state);
        match (instead, &outcome.body) {
            (Some(error), _) => state.refusal(error),
            (None, Some(body)) => body.clone(),
            (None, None) => state.refusal(&WxError::new(-1)),
        }
    });
    answer(&body)
}

/// Headers and half the body now, the rest after `pause`. Only the second half makes the call answered.
fn slow_answer(
    sandbox: Sandbox,
    caller: Caller,
    pause: Duration,
    outcome: Outcome,
    lane: Option<Lane>,
) -> Response {
    let text = outcome.body.as_ref().map(|b| b.to_string()).unwrap_or_default().into_bytes();
    let (first, second) = text.split_at(text.len() / 2);
    let (first, second) = (Bytes::copy_from_slice(first), Bytes::copy_from_slice(second));
    let rest = async move {
        let _lane = lane;
        tokio::select! {
            () = tokio::time::sleep(pause) => {
                sandbox.with(|state| outcome.mark_answered(state));
                Ok(second)
            }
            () = caller.closing() => Err(std::io::Error::from(std::io::ErrorKind::ConnectionAborted)),
        }
    };
    let halves = futures::StreamExt::chain(
        futures::stream::iter([Ok::<_, std::io::Error>(first)]),
        futures::stream::once(rest),
    );
    let kind = HeaderValue::from_static("application/json; charset=UTF-8");
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(halves)).into_response()
}
