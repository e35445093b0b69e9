//! What looks after platforms: are tickets coming, which codes are due, and what did WeChat say that does not fit our books.
//!
//! Runs on every node. Whatever must not be done by two is guarded where it is done: a row says when WeChat was last asked for
//! tickets, a lease keeps codes apart, and asking WeChat how a Mini Program stands is harmless.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use subledger_domain::{Timestamp, platform::TicketAsk};
use subledger_store::Cause;
use tokio_util::sync::CancellationToken;

use super::{TICKET_DEAD, TICKET_STALE, TicketHealth, TicketState};
use crate::{Engine, EngineError, metric_definitions};

/// How often WeChat is asked to push tickets while none come.
const ASK_AGAIN_SECONDS: i64 = 3_600;
/// Codes looked at in one round.
const CODES: u32 = 50;
/// How often lost authorizations are asked about: the push and the redirect of a new one may both be lost.
const LOST_AGAIN: Duration = Duration::from_secs(600);
/// Mini Programs read at once.
const PAGE: u32 = 200;
/// How long authorizations and codes are kept after their time is over.
const KEPT_SECONDS: i64 = 30 * 24 * 3_600;
/// How often old ones are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);
/// How long what WeChat said of a Mini Program is not asked about again: sends under way all find the same.
const SUSPECT_AGAIN: Duration = Duration::from_secs(10);

/// What the watch remembers from round to round.
#[derive(Default)]
struct Watch {
    states: HashMap<String, TicketState>,
    /// Since when platforms of which no ticket has come are watched here.
    new_since: HashMap<String, Timestamp>,
    asked: HashMap<(String, String), Instant>,
    looked_for_lost: Option<Instant>,
    swept: Option<Instant>,
}

/// Looks after platforms until `stop`.
pub(crate) async fn run(engine: Engine, stop: CancellationToken) {
    let mut watch = Watch::default();
    let poll = engine.settings().platform.poll;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = engine.platforms().due.notified() => {}
            () = engine.gateway().suspicions().wake.notified() => {}
            () = tokio::time::sleep(poll) => {}
        }
        // A round may take as long as WeChat takes to answer; a stop must not wait for that. What was begun is gone on with by
        // the next node, as after any end of a process.
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = watch.round(&engine) => {}
        }
    }
}

fn due(last: Option<Instant>, every: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= every)
}

impl Watch {
    async fn round(&mut self, engine: &Engine) {
        let rounds = [
            ("tickets", self.tickets(engine).await),
            ("codes", codes(engine).await),
            ("suspicions", self.suspicions(engine).await),
            ("lost authorizations", self.lost(engine).await),
            ("old authorizations", self.sweep(engine).await),
        ];
        for (what, result) in rounds {
            if let Err(error) = result {
                tracing::debug!(platform.watched = what, error = %error, cause = ?error.cause, "platforms could not be looked after");
            }
        }
    }

    async fn tickets(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let now = engine.now();
        for watched in engine.store().watched_platforms().await? {
            let component = watched.component_appid.as_str();
            let health = TicketHealth::of(&watched, now);
            let age = health.age_s.unwrap_or(TICKET_DEAD.as_secs());
            #[allow(clippy::cast_precision_loss, reason = "seconds of an age")]
            metrics::gauge!(metric_definitions::TICKET_AGE_SECONDS, "platform" => component.to_owned())
                .set(age as f64);
            let before = self.states.insert(component.to_owned(), health.state);
            if before != Some(health.state) {
                tell(component, health);
            }
            let new_since = *self.new_since.entry(component.to_owned()).or_insert(now);
            // A platform that was just set up gets its first within ten minutes by itself.
            let patience = i64::try_from(TICKET_STALE.as_secs()).unwrap_or(i64::MAX);
            let new = health.state == TicketState::None && now < new_since.plus_seconds(patience);
            if health.state == TicketState::Fresh || new {
                continue;
            }
            if engine.store().note_ticket_ask(component, now.plus_seconds(-ASK_AGAIN_SECONDS)).await? {
                let cause = Cause {
                    by: "policy:stale_ticket".to_owned(),
                    command: "start_ticket_push".to_owned(),
                    request: None,
                };
                match engine.ask_for_tickets(component).await {
                    Ok(_) => {
                        engine.note_ticket_push(cause, component, TicketAsk::Stale).await?;
                    }
                    Err(error) => {
                        tracing::warn!(platform.appid = component, error = %error, "WeChat could not be asked to push tickets");
                    }
                }
            }
        }
        Ok(())
    }

    async fn suspicions(&mut self, engine: &Engine) -> Result<(), EngineError> {
        self.asked.retain(|_, at| at.elapsed() < SUSPECT_AGAIN);
        for (component, appid) in engine.gateway().suspicions().take() {
            let of = (component, appid);
            if self.asked.contains_key(&of) {
                continue;
            }
            self.asked.insert(of.clone(), Instant::now());
            if let Err(error) = engine.verify_authorization(&of.0, &of.1).await {
                tracing::warn!(
                    platform.appid = of.0, wechat.appid = of.1, error = %error, cause = ?error.cause,
                    "WeChat could not be asked how an authorization stands"
                );
            }
        }
        Ok(())
    }

    async fn lost(&mut self, engine: &Engine) -> Result<(), EngineError> {
        if !due(self.looked_for_lost, LOST_AGAIN) {
            return Ok(());
        }
        self.looked_for_lost = Some(Instant::now());
        for watched in engine.store().watched_platforms().await? {
            let component = watched.component_appid.as_str();
            let mut after = String::new();
            loop {
                let page = engine.store().authorizers(component, &after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after.clone_from(&last.appid);
                for authorizer in page {
                    let (Some(code), None) = (&authorizer.channel, &authorizer.refresh_token) else {
                        continue;
                    };
                    tracing::debug!(channel.code = %code, platform.appid = component, "a lost authorization is looked at again");
                    engine.gateway().suspicions().note(component, &authorizer.appid);
                }
            }
        }
        Ok(())
    }

    async fn sweep(&mut self, engine: &Engine) -> Result<(), EngineError> {
        if !due(self.swept, SWEEP_EVERY) {
            return Ok(());
        }
        self.swept = Some(Instant::now());
        let before: Timestamp = engine.now().plus_seconds(-KEPT_SECONDS);
        let deleted = engine.store().forget_old_authorizations(before).await?;
        if deleted > 0 {
            tracing::info!(authorizations.deleted = deleted, "old authorizations were deleted");
        }
        Ok(())
    }
}

async fn codes(engine: &Engine) -> Result<(), EngineError> {
    for code in engine.store().due_codes(CODES).await? {
        // One that fails for want of the database must not keep the others waiting.
        if let Err(error) = engine.carry_out(&code.component_appid, &code.key).await {
            tracing::warn!(
                platform.appid = code.component_appid, error = %error, cause = ?error.cause,
                "an authorization code could not be looked after"
            );
        }
    }
    Ok(())
}

/// Tells of a change, loudly where somebody has to act.
fn tell(component: &str, health: TicketHealth) {
    let advice = health.state.advice().unwrap_or_default();
    let (state, age) = (health.state.as_str(), health.age_s);
    match health.state {
        TicketState::Fresh => {
            tracing::info!(
                platform.appid = component,
                ticket.state = state,
                ticket.age_s = age,
                "tickets come"
            );
        }
        TicketState::None => {
            tracing::warn!(
                platform.appid = component,
                ticket.state = state,
                advice,
                "no ticket has come yet"
            );
        }
        TicketState::Stale => {
            tracing::warn!(
                platform.appid = component,
                ticket.state = state,
                ticket.age_s = age,
                advice,
                "tickets are missing"
            );
        }
        TicketState::Dead => {
            tracing::error!(
                platform.appid = component,
                ticket.state = state,
                ticket.age_s = age,
                advice,
                "the newest ticket is of no use any more"
            );
        }
    }
}
