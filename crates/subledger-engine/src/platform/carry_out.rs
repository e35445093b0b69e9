//! Carrying authorization codes out: each once, whichever way and however often it came.
//!
//! A code is good once at WeChat, and what it buys is gone if this process dies before it is written down. So one node at a time
//! works on a platform's codes (a lease), each step leaves something from which another node goes on, and a code that may be
//! spent already is asked about by the Mini Program's appid instead. The ledger of it all is the channel's stream: an
//! authorization that stands there already makes no event.

use std::{collections::BTreeSet, time::Duration};

use subledger_domain::{
    ChannelCode, Timestamp,
    channel::{Authorization, AuthorizationLoss, ChannelCommand, ChannelEvent, SecretRef},
};
use subledger_store::{AuthorizationEnd, Cause, CodeStatus, NewCode, StoredCode};
use subledger_wechat::{
    CallError, ChannelError, RefusalClass,
    component::{AuthorizerInfo, PermissionSets},
};

use super::authorize::Outcome;
use crate::{Engine, EngineError, gateway, limits, metric_definitions};

/// How long a node holds a platform's codes: longer than the calls of one code may take.
const LEASE: Duration = Duration::from_secs(60);
/// How long a code that is being worked on is left alone by others: as long as the lease.
const UNDER_WAY_SECONDS: i64 = 60;
/// The pause after a first failure; doubled with each further one.
const PAUSE_SECONDS: i64 = 5;
/// The longest pause between two tries.
const LONGEST_PAUSE_SECONDS: i64 = 300;

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// It was carried out, now or before.
    Done(Outcome),
    /// WeChat or a rule of ours refuses it.
    Refused(Outcome),
    /// It is tried again by itself.
    Later,
    /// Another code of the platform is being carried out.
    Busy,
}

/// Why a step of carrying out did not succeed.
enum Setback {
    /// For good; an operator or the administrator has to act.
    Refused(Outcome),
    /// It may pass.
    Later(EngineError),
}

impl From<EngineError> for Setback {
    fn from(error: EngineError) -> Self {
        Self::Later(error)
    }
}

impl From<subledger_store::StoreError> for Setback {
    fn from(error: subledger_store::StoreError) -> Self {
        Self::Later(error.into())
    }
}

fn refused(appid: Option<&str>, reason: &str, detail: impl Into<String>) -> Outcome {
    Outcome {
        appid: appid.map(str::to_owned),
        reason: Some(reason.to_owned()),
        detail: Some(detail.into()),
        ..Outcome::default()
    }
}

impl Engine {
    /// Keeps a code before anything is done with it, and has it carried out. Answers by what it is known.
    pub(crate) async fn keep_code(&self, new: NewCode) -> Result<[u8; 16], EngineError> {
        Ok(self.store().keep_code(&new).await?)
    }

    /// Carries a code out, unless that was done or another node is at it.
    pub(crate) async fn carry_out(&self, component: &str, key: &[u8; 16]) -> Result<Carried, EngineError> {
        let lease = format!("platform-codes/{component}");
        // Two tasks of this node must not hold it both.
        let holder = format!("{}/{}", self.node(), uuid::Uuid::new_v4().simple());
        let Some(lease) = self.store().lease_acquire(&lease, &holder, LEASE).await? else {
            let code = self.store().code(component, key).await?;
            return Ok(code.and_then(|code| ended(&code)).unwrap_or(Carried::Busy));
        };
        let carried = self.carry_out_leased(component, key).await;
        if let Err(error) = self.store().lease_release(&[lease]).await {
            // It runs out by itself.
            tracing::debug!(platform.appid = component, error = %error, "a lease could not be given back");
        }
        carried
    }

    async fn carry_out_leased(&self, component: &str, key: &[u8; 16]) -> Result<Carried, EngineError> {
        let Some(code) = self.store().code(component, key).await? else { return Ok(Carried::Later) };
        if let Some(ended) = ended(&code) {
            return Ok(ended);
        }
        let now = self.now();
        if now < code.due_at {
            // Tried a moment ago; who waited for its turn must not try at once again.
            return Ok(Carried::Later);
        }
        let first = code.tries == 0;
        // Before the call: from here on the code may be spent, whatever becomes of this process.
        self.store().postpone_code(component, key, now.plus_seconds(UNDER_WAY_SECONDS)).await?;
        let carried = match self.buy_and_record(&code, first).await {
            Ok(outcome) => Carried::Done(outcome),
            Err(Setback::Refused(outcome)) => Carried::Refused(outcome),
            Err(Setback::Later(error)) if now >= code.expires_at => {
                let detail = format!("the code ran out before it could be used; the last try: {error}");
                Carried::Refused(refused(code.appid.as_deref(), "code_expired", detail))
            }
            Err(Setback::Later(error)) => {
                let doubled = u32::try_from(code.tries).unwrap_or(u32::MAX).min(16);
                let pause = (PAUSE_SECONDS << doubled).min(LONGEST_PAUSE_SECONDS);
                self.store().postpone_code(component, key, self.now().plus_seconds(pause)).await?;
                tracing::warn!(
                    platform.appid = component, error = %error, cause = ?error.cause, retry.seconds = pause,
                    "an authorization could not be carried out yet"
                );
                return Ok(Carried::Later);
            }
        };
        self.settle(&code, &carried).await?;
        Ok(carried)
    }

    /// Writes down what became of a code, and of the authorization it belongs to.
    async fn settle(&self, code: &StoredCode, carried: &Carried) -> Result<(), EngineError> {
        let (outcome, done) = match carried {
            Carried::Done(outcome) => (outcome, true),
            Carried::Refused(outcome) => (outcome, false),
            Carried::Later | Carried::Busy => return Ok(()),
        };
        let component = code.component_appid.as_str();
        let text =
            serde_json::to_string(outcome).map_err(|error| EngineError::internal(error.to_string()))?;
        if let Some(id) = &code.begun
            && !outcome.is_about_the_code()
        {
            let end = if done { AuthorizationEnd::Authorized } else { AuthorizationEnd::Refused };
            self.store().end_authorization(id, end, &text).await?;
            self.platforms().ended.notify_waiters();
        }
        self.store().settle_code(component, &code.key, done, &text).await?;
        let result = outcome.reason.as_deref().unwrap_or("authorized");
        metrics::counter!(
            metric_definitions::AUTHORIZATIONS,
            "platform" => component.to_owned(), "result" => result.to_owned()
        )
        .increment(1);
        let id = code.begun.map(|id| uuid::Uuid::from_bytes(id).to_string());
        let (appid, detail) = (outcome.appid.as_deref(), outcome.detail.as_deref());
        if done {
            tracing::info!(
                platform.appid = component, wechat.appid = appid, authorization.id = id,
                authorization.missing = ?outcome.missing, "an authorization was carried out"
            );
        } else {
            tracing::warn!(
                platform.appid = component,
                wechat.appid = appid,
                authorization.id = id,
                authorization.result = result,
                authorization.detail = detail,
                "an authorization was refused"
            );
        }
        Ok(())
    }

    async fn buy_and_record(&self, code: &StoredCode, first: bool) -> Result<Outcome, Setback> {
        let component = code.component_appid.as_str();
        let appid = match self.query_auth(code, first).await? {
            Some(appid) => appid,
            // It was spent by a try whose end nobody knows; the push says whose it was.
            None => code.appid.clone().ok_or_else(|| {
                let detail = "WeChat does not take the code, it is wrong, old or was used before; begin a new authorization \
                              unless the channel is shown as authorized";
                Setback::Refused(refused(None, "code_refused", detail))
            })?,
        };
        let info = self.authorizer_info(component, &appid).await?;
        self.record_authorization(component, &appid, code.begun.as_ref(), &info, code.dated).await
    }

    /// Uses the code. Answers with the Mini Program's appid; with nothing if the code was used before.
    async fn query_auth(&self, code: &StoredCode, first: bool) -> Result<Option<String>, Setback> {
        let component = code.component_appid.as_str();
        let Some(text) = &code.code else { return Ok(None) };
        let bought = self
            .gateway()
            .component(component)
            .call(|client, token| {
                let text = text.clone();
                async move { client.query_auth(&token, &text).await }
            })
            .await;
        let bought = match bought {
            Ok(bought) => bought,
            Err(ChannelError::Call(CallError::Refused {
                class: RefusalClass::AuthorizationCode, ..
            })) if !first || code.appid.is_some() => {
                return Ok(None);
            }
            Err(error) => return Err(setback(code.appid.as_deref(), &error)),
        };
        // At once: the refresh token before it is dead, and the code does not work again.
        self.store()
            .supersede_refresh_token(component, &bought.appid, bought.refresh_token.as_ref(), code.dated)
            .await?;
        let known = NewCode {
            component_appid: component.to_owned(),
            code: text.clone(),
            begun: code.begun,
            appid: Some(bought.appid.clone()),
            dated: code.dated,
            expires_at: code.expires_at,
        };
        self.store().keep_code(&known).await?;
        Ok(Some(bought.appid))
    }

    async fn authorizer_info(&self, component: &str, appid: &str) -> Result<AuthorizerInfo, Setback> {
        let info = self
            .gateway()
            .component(component)
            .call(|client, token| async move { client.authorizer_info(&token, appid).await })
            .await;
        info.map_err(|error| setback(Some(appid), &error))
    }

    /// Puts on the books what WeChat says of a Mini Program that authorized a platform.
    async fn record_authorization(
        &self,
        component: &str,
        appid: &str,
        begun: Option<&[u8; 16]>,
        info: &AuthorizerInfo,
        dated: i64,
    ) -> Result<Outcome, Setback> {
        if !info.is_mini_program {
            let detail =
                "the account that was authorized is no Mini Program; scan again and choose the Mini Program";
            return Err(Setback::Refused(refused(Some(appid), "not_a_mini_program", detail)));
        }
        let permissions = permissions(&info.permission_sets);
        if info.permission_sets.undecodable > 0 {
            tracing::warn!(
                platform.appid = component,
                wechat.appid = appid,
                sets.unreadable = info.permission_sets.undecodable,
                "WeChat lists permission sets of an unknown shape"
            );
        }
        let Some(original_id) = info.original_id.clone() else {
            let detail = "WeChat did not tell the Mini Program's original id";
            return Err(Setback::Later(EngineError::new(
                crate::ErrorKind::Upstream,
                "wechat_no_answer",
                detail,
            )));
        };
        let meant = match begun {
            Some(id) => self.store().begun(id).await?.map(|begun| begun.channel),
            None => None,
        };
        let authorizer = self.store().authorizer(component, appid).await?;
        let has = authorizer.as_ref().and_then(|authorizer| authorizer.channel.clone());
        if let (Some(meant), Some(has)) = (&meant, &has)
            && meant != has
        {
            let detail =
                format!("this Mini Program is channel {has} already; it cannot be channel {meant}, too");
            return Err(Setback::Refused(refused(Some(appid), "appid_in_use", detail)));
        }
        let code = match meant.or(has) {
            Some(code) => Some(code),
            None => self.channel_of_appid(appid).await?,
        };
        // The row is what the channel is called by. A code whose answer was lost has left none, or one without a token.
        let token = info.refresh_token.as_ref();
        let incomplete = authorizer.is_none_or(|known| known.refresh_token.is_none() && token.is_some());
        if incomplete {
            self.store().supersede_refresh_token(component, appid, token, dated).await?;
        }
        let Some(code) = code else {
            let detail = "the Mini Program was authorized without a link from here and is no channel; begin with \
                          POST /channels/{code}/authorization";
            return Err(Setback::Refused(refused(Some(appid), "no_channel", detail)));
        };
        let name = info.nick_name.as_deref().map(tidy).filter(|name| !name.is_empty());
        let wish = Authorization {
            platform: component.to_owned(),
            appid: appid.to_owned(),
            name: name.unwrap_or_else(|| code.to_string()),
            permissions: permissions.clone(),
            refresh_token: SecretRef(format!("authorizer/{component}/{appid}")),
            original_id,
        };
        let events = self.authorize_channel(&code, appid, wish).await?;
        self.store().link_authorizer(component, appid, &code).await?;
        if !events.is_empty() {
            self.push_doors().forget(&code);
            // The token of the authorization before is dead, and would look as if another system replaced it.
            self.gateway().renew_platform_token(appid).await;
        }
        self.signals().wake(&code);
        let (channel, _) = self.channel(&code).await?;
        let missing = channel.authorization().map(|state| state.granted.missing.clone()).unwrap_or_default();
        let missing: Vec<u32> = missing.into_iter().collect();
        let detail = (!missing.is_empty()).then(|| {
            format!(
                "permission set {} is missing: sends wait until the administrator scans again and ticks it. Only one platform \
                 can hold it at a time, and while one does, the Mini Program cannot be published through WeChat's console",
                missing.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
            )
        });
        let permissions = permissions.into_iter().collect();
        Ok(Outcome { appid: Some(appid.to_owned()), permissions, missing, reason: None, detail })
    }

    async fn authorize_channel(
        &self,
        code: &ChannelCode,
        appid: &str,
        wish: Authorization,
    ) -> Result<Vec<ChannelEvent>, Setback> {
        let cause = cause("authorize_channel");
        match self.change_channel(cause, code, ChannelCommand::Authorize(wish)).await {
            Ok(done) => Ok(done.answer),
            Err(error) if error.code == "other_mini_program" => {
                Err(Setback::Refused(refused(Some(appid), "other_mini_program", error.detail)))
            }
            Err(error) if error.kind == crate::ErrorKind::Invalid => {
                Err(Setback::Refused(refused(Some(appid), error.code, error.detail)))
            }
            Err(error) => Err(Setback::Later(error)),
        }
    }

    /// The channel of a Mini Program, where only one is set up for it.
    async fn channel_of_appid(&self, appid: &str) -> Result<Option<ChannelCode>, EngineError> {
        let rows = self.queries().channels().await?;
        let mut found = rows.into_iter().map(|row| row.value).filter(|row| row.appid == appid);
        let first = found.next();
        Ok(first.filter(|_| found.next().is_none()).map(|row| row.code))
    }

    /// Asks WeChat how a Mini Program stands with a platform, and puts the answer on the books: still authorized, with which
    /// permission sets, or not any more.
    pub(crate) async fn verify_authorization(&self, component: &str, appid: &str) -> Result<(), EngineError> {
        let seconds = self.now().micros().div_euclid(Timestamp::MICROS_PER_SECOND);
        let info = self
            .gateway()
            .component(component)
            .call(|client, token| async move { client.authorizer_info(&token, appid).await })
            .await;
        match info {
            // Absence proves nothing then.
            Ok(info) if info.permission_sets.undecodable > 0 => Ok(()),
            Ok(info) => match self.record_authorization(component, appid, None, &info, seconds).await {
                Ok(_) => Ok(()),
                Err(Setback::Later(error)) => Err(error),
                Err(Setback::Refused(outcome)) => {
                    tracing::warn!(
                        platform.appid = component,
                        wechat.appid = appid,
                        authorization.result = outcome.reason,
                        authorization.detail = outcome.detail,
                        "an authorization does not fit the books"
                    );
                    Ok(())
                }
            },
            Err(ChannelError::Call(CallError::Refused { class: RefusalClass::NotAuthorized, .. })) => {
                self.lose_authorization(component, appid, seconds, AuthorizationLoss::Refused).await.map(drop)
            }
            Err(error) => Err(gateway::channel_error(&error)),
        }
    }

    /// Puts on the books that an authorization is lost since `dated`, in seconds by WeChat's clock. Answers whether it was one
    /// that we knew.
    pub(crate) async fn lose_authorization(
        &self,
        component: &str,
        appid: &str,
        dated: i64,
        loss: AuthorizationLoss,
    ) -> Result<bool, EngineError> {
        let Some(authorizer) = self.store().authorizer(component, appid).await? else { return Ok(false) };
        // Before the event, and again by a repetition that comes because the event did not succeed.
        if !self.store().lose_refresh_token(component, appid, dated).await? {
            tracing::info!(
                platform.appid = component,
                wechat.appid = appid,
                "an authorization was given again after it was lost; the loss is old news"
            );
            return Ok(true);
        }
        self.gateway().forget_platform_token(appid);
        if let Some(code) = authorizer.channel {
            let command = ChannelCommand::LoseAuthorization { platform: component.to_owned(), loss };
            let done = self.change_channel(cause("lose_authorization"), &code, command).await?;
            if !done.answer.is_empty() {
                tracing::warn!(
                    channel.code = %code, platform.appid = component, wechat.appid = appid, authorization.loss = ?loss,
                    "the authorization of a channel is lost; its deliveries wait until it is given again"
                );
            }
        }
        Ok(true)
    }
}

fn cause(command: &str) -> Cause {
    Cause { by: "wechat".to_owned(), command: command.to_owned(), request: None }
}

fn ended(code: &StoredCode) -> Option<Carried> {
    let outcome =
        || code.outcome.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match code.status {
        CodeStatus::Waiting => None,
        CodeStatus::Done => Some(Carried::Done(outcome())),
        CodeStatus::Refused => Some(Carried::Refused(outcome())),
    }
}

/// What a failed call means for a code: WeChat's definite no ends it, anything else may pass. An operator may mend what is
/// wrong with the platform while the code still lives.
fn setback(appid: Option<&str>, error: &ChannelError) -> Setback {
    let said = gateway::channel_error(error);
    match error {
        ChannelError::Call(CallError::Refused { class: RefusalClass::PlatformConfig, .. }) => {
            Setback::Later(said)
        }
        ChannelError::Call(CallError::Refused { class, .. }) => {
            Setback::Refused(refused(appid, class.as_str(), said.detail))
        }
        _ => Setback::Later(said),
    }
}

/// WeChat's numbers as ours; what is no such number is none that sending needs.
fn permissions(sets: &PermissionSets) -> BTreeSet<u32> {
    sets.ids().into_iter().filter_map(|id| u32::try_from(id).ok()).collect()
}

/// A name from WeChat within the rule for names of channels.
fn tidy(name: &str) -> String {
    let plain: String = name.chars().filter(|c| !c.is_control()).collect();
    plain.trim().chars().take(limits::MAX_NAME_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_wechat_s_fits_our_rule() {
        assert_eq!(tidy("  示例\u{0}小程序\n "), "示例小程序");
        assert_eq!(tidy(&"长".repeat(300)).chars().count(), limits::MAX_NAME_CHARS);
        assert_eq!(tidy("\u{7}"), "");
    }
}
