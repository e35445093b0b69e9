//! What WeChat pushes to a platform, and what a browser brings back from WeChat's authorization page.
//!
//! Pushes about the platform itself: a ticket is written down at once; a code is written down and carried out afterwards,
//! because WeChat waits five seconds and the calls may take longer. Pushes about users of an authorized Mini Program do what
//! pushes of the channel itself do, with the platform's keys.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{Timestamp, channel::AuthorizationLoss};
use subledger_store::{Begun, BegunStatus, NewCode};
use subledger_wechat::push::{
    self, Handling, Inbound, PushError,
    component::{self, AuthorizationNews, PlatformEvent, PlatformPush, Received},
};

use super::{authorize::Outcome, carry_out::Carried, doors::PlatformDoor};
use crate::{
    Engine, EngineError,
    intake::{At, PushAnswer, RELOAD_AFTER, Setup, answer_to, is_stale},
    metric_definitions,
};

/// How long a code lives that came without a time, in seconds: what WeChat's redirect says.
const CODE_LIFE_SECONDS: i64 = 600;
/// The longest life of a code that is believed, in seconds. Pushes say an hour.
const LONGEST_CODE_LIFE_SECONDS: i64 = 2 * 3_600;
/// How long a browser waits for its code's turn.
const TURN_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks whether that has come.
const TURN_PAUSE: Duration = Duration::from_millis(100);
/// Characters of a code or a state that came with a redirect, at most.
const MAX_REDIRECT_CHARS: usize = 2_048;

/// What to show somebody who comes back from WeChat's authorization page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectAnswer {
    /// The channel is authorized; which permission sets are missing.
    Authorized {
        /// The channel.
        channel: String,
        /// Those that sending needs and that were not granted.
        missing: Vec<u32>,
    },
    /// It was refused, and why.
    Refused {
        /// Why and what to do.
        detail: String,
    },
    /// It is being carried out and will be done by itself.
    Later {
        /// The channel.
        channel: String,
    },
    /// It belongs to no authorization that was begun here, or to one that is too old.
    Unknown,
}

impl Engine {
    /// Takes in what WeChat pushes about a platform itself. When this answers [`PushAnswer::Taken`] it is on disk.
    pub async fn take_platform_push(
        &self,
        component_appid: &str,
        query: &[u8],
        body: &[u8],
    ) -> Result<PushAnswer, EngineError> {
        let receive = |door: &PlatformDoor| component::receive(&door.own(), query, body, self.unix_seconds());
        let Some((_, received)) = self.through_the_platform_door(component_appid, receive).await? else {
            return Ok(PushAnswer::Unknown);
        };
        let Received { decoded, key, .. } = match received {
            Ok(received) => received,
            Err(error) => return Ok(self.refuse_platform_push(component_appid, &error)),
        };
        let push = match decoded {
            Ok(push) => push,
            Err(reason) => {
                // Nothing of it can be kept, because it may hold a ticket or a code; and coming again would not help.
                tracing::warn!(
                    platform.appid = component_appid,
                    push.reason = reason.class(),
                    "a push to a platform cannot be read; it is passed over"
                );
                self.count_platform_push(component_appid, "undecodable", "passed_over");
                return Ok(PushAnswer::Taken);
            }
        };
        let kind = push.what.kind();
        let result = self.act_on_platform_push(component_appid, push).await?;
        self.count_platform_push(component_appid, kind, result);
        tracing::debug!(
            platform.appid = component_appid, push.kind = kind, push.result = result, push.key = ?key,
            "a push to a platform was taken in"
        );
        Ok(PushAnswer::Taken)
    }

    async fn act_on_platform_push(
        &self,
        component: &str,
        push: PlatformPush,
    ) -> Result<&'static str, EngineError> {
        let dated = push.created_at.unwrap_or_else(|| self.unix_seconds());
        Ok(match push.what {
            PlatformEvent::Ticket(ticket) => {
                match self.store().keep_ticket(component, &ticket, dated).await? {
                    true => "kept",
                    false => "older",
                }
            }
            PlatformEvent::Authorized(news) | PlatformEvent::UpdateAuthorized(news) => {
                self.take_news(component, news, dated).await?
            }
            PlatformEvent::Unauthorized { appid } => {
                let known =
                    self.lose_authorization(component, &appid, dated, AuthorizationLoss::Pushed).await?;
                if known { "lost" } else { "unknown_appid" }
            }
            PlatformEvent::Other { info_type } => {
                tracing::info!(
                    platform.appid = component,
                    push.info_type = info_type,
                    "WeChat pushed something to a platform that nothing is done with"
                );
                "passed_over"
            }
        })
    }

    async fn take_news(
        &self,
        component: &str,
        news: AuthorizationNews,
        dated: i64,
    ) -> Result<&'static str, EngineError> {
        let Some(code) = news.code else {
            // What there is can be asked for by the appid alone.
            self.verify_authorization(component, &news.appid).await?;
            return Ok("verified");
        };
        let begun = match &news.pre_auth_code {
            Some(preauth) => self.store().begun_by_preauth(component, preauth).await?,
            None => None,
        };
        let life = news.code_expires_at.map_or(CODE_LIFE_SECONDS, |at| at.saturating_sub(dated));
        let new = NewCode {
            component_appid: component.to_owned(),
            code,
            begun: begun.map(|begun| begun.id),
            appid: Some(news.appid),
            dated,
            expires_at: self.now().plus_seconds(life.clamp(CODE_LIFE_SECONDS, LONGEST_CODE_LIFE_SECONDS)),
        };
        self.keep_code(new).await?;
        self.platforms().due.notify_one();
        Ok("kept")
    }

    /// Takes in what a browser brings back from WeChat's authorization page: our state, and WeChat's code.
    pub async fn take_redirect(
        &self,
        component_appid: &str,
        state: SecretString,
        auth_code: SecretString,
        expires_in: Option<i64>,
    ) -> Result<RedirectAnswer, EngineError> {
        let fits = |text: &SecretString| {
            let text = text.expose_secret();
            !text.is_empty() && text.len() <= MAX_REDIRECT_CHARS && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !fits(&state) || !fits(&auth_code) || self.platform_door(component_appid, None).await?.is_none() {
            return Ok(RedirectAnswer::Unknown);
        }
        let begun = self.store().begun_by_state(&state).await?;
        let Some(begun) = begun.filter(|begun| begun.component_appid == component_appid) else {
            return Ok(RedirectAnswer::Unknown);
        };
        let channel = begun.channel.to_string();
        // The push was quicker, or the page is loaded again. An old link must not bring in anything new.
        match begun.status {
            BegunStatus::Waiting if self.now() < begun.expires_at.plus_seconds(CODE_LIFE_SECONDS) => {}
            BegunStatus::Waiting => return Ok(RedirectAnswer::Unknown),
            BegunStatus::Authorized => return Ok(answered(channel, Carried::Done(outcome_of(&begun)))),
            BegunStatus::Refused => return Ok(answered(channel, Carried::Refused(outcome_of(&begun)))),
        }
        let life = expires_in.unwrap_or(CODE_LIFE_SECONDS).clamp(60, LONGEST_CODE_LIFE_SECONDS);
        let new = NewCode {
            component_appid: component_appid.to_owned(),
            code: auth_code,
            begun: Some(begun.id),
            appid: None,
            dated: self.unix_seconds(),
            expires_at: self.now().plus_seconds(life),
        };
        let key = self.keep_code(new).await?;
        let carried = self.carry_out_in_turn(component_appid, &key).await?;
        if matches!(carried, Carried::Later | Carried::Busy) {
            self.platforms().due.notify_one();
        }
        Ok(answered(channel, carried))
    }

    /// Carries a code out, after others of the platform: mostly that of the push of the same authorization.
    async fn carry_out_in_turn(&self, component: &str, key: &[u8; 16]) -> Result<Carried, EngineError> {
        let begun = Instant::now();
        loop {
            let carried = self.carry_out(component, key).await?;
            if carried != Carried::Busy || begun.elapsed() >= TURN_PATIENCE {
                return Ok(carried);
            }
            tokio::time::sleep(TURN_PAUSE).await;
        }
    }

    /// Takes in what WeChat pushes about a user of an authorized Mini Program. When this answers [`PushAnswer::Taken`] it is on
    /// disk, acted on or kept to be looked at; unless the Mini Program is no channel, then it is counted.
    pub async fn take_platform_user_push(
        &self,
        component_appid: &str,
        appid: &str,
        query: &[u8],
        body: &[u8],
        request: Option<&str>,
    ) -> Result<PushAnswer, EngineError> {
        if !super::is_appid(appid) {
            return Ok(PushAnswer::Unknown);
        }
        let receive =
            |door: &PlatformDoor| push::receive(&door.of_users(appid), query, body, self.unix_seconds());
        let Some((door, received)) = self.through_the_platform_door(component_appid, receive).await? else {
            return Ok(PushAnswer::Unknown);
        };
        match &received {
            Ok(Inbound::ContainerCheck) => return Ok(PushAnswer::Taken),
            Err(error) if error.handling() != Handling::Keep => {
                return Ok(self.refuse_platform_push(component_appid, error));
            }
            Ok(Inbound::Push(_)) | Err(_) => {}
        }
        let authorizer = self.store().authorizer(component_appid, appid).await?;
        let Some(code) = authorizer.and_then(|authorizer| authorizer.channel) else {
            self.count_platform_push(component_appid, "user", "unknown_appid");
            tracing::debug!(
                platform.appid = component_appid,
                wechat.appid = appid,
                "a push about a user of a Mini Program that is no channel"
            );
            return Ok(PushAnswer::Taken);
        };
        self.count_platform_push(component_appid, "user", "taken");
        let setup = Setup { settings: door.of_users(appid) };
        let at = At { code: &code, setup: &setup, request };
        match received {
            Ok(Inbound::ContainerCheck) => {}
            Ok(Inbound::Push(received)) => self.take_in(&at, &received).await?,
            Err(error) => self.keep_unopened(&at, body, &error).await?,
        }
        Ok(PushAnswer::Taken)
    }

    /// Tries a request with a platform's settings, and once more if they were read a while ago and another node may have
    /// changed them since.
    async fn through_the_platform_door<T>(
        &self,
        component: &str,
        attempt: impl Fn(&PlatformDoor) -> Result<T, PushError>,
    ) -> Result<Option<(std::sync::Arc<PlatformDoor>, Result<T, PushError>)>, EngineError> {
        let Some(door) = self.platform_door(component, None).await? else { return Ok(None) };
        let tried = attempt(&door);
        if !tried.as_ref().err().is_some_and(is_stale) {
            return Ok(Some((door, tried)));
        }
        let Some(fresh) = self.platform_door(component, Some(RELOAD_AFTER)).await? else { return Ok(None) };
        let tried = if std::sync::Arc::ptr_eq(&fresh, &door) { tried } else { attempt(&fresh) };
        Ok(Some((fresh, tried)))
    }

    fn refuse_platform_push(&self, component: &str, error: &PushError) -> PushAnswer {
        let class = error.class();
        metrics::counter!(
            metric_definitions::PLATFORM_PUSH_REFUSALS,
            "platform" => component.to_owned(), "class" => class
        )
        .increment(1);
        let times = self.platforms().refused(component, class);
        // Whoever knows the URL can cause this as often as they like, so it is told ever more rarely.
        if times.is_power_of_two() {
            tracing::warn!(
                platform.appid = component, error.code = class, push.refusals = times, error = %error,
                "a request to a platform's push URL was refused"
            );
        }
        // A body that no key opens is refused, too: it may hold a ticket, which is of no use later. WeChat comes back.
        answer_to(error)
    }

    fn count_platform_push(&self, component: &str, kind: &'static str, result: &'static str) {
        metrics::counter!(
            metric_definitions::PLATFORM_PUSHES,
            "platform" => component.to_owned(), "kind" => kind, "result" => result
        )
        .increment(1);
    }

    fn unix_seconds(&self) -> i64 {
        self.now().micros().div_euclid(Timestamp::MICROS_PER_SECOND)
    }
}

fn outcome_of(begun: &Begun) -> Outcome {
    begun.outcome.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn answered(channel: String, carried: Carried) -> RedirectAnswer {
    match carried {
        Carried::Done(outcome) => RedirectAnswer::Authorized { channel, missing: outcome.missing },
        Carried::Refused(outcome) => RedirectAnswer::Refused {
            detail: outcome.detail.unwrap_or_else(|| "WeChat refused the authorization".to_owned()),
        },
        Carried::Later | Carried::Busy => RedirectAnswer::Later { channel },
    }
}
