//! Channels: set up with a live probe, refresh templates, replace the secret, pause, resume, change policies.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, LogName, StreamName, Template, TemplateId, TemplateKey, TemplateKind, Timestamp,
    channel::{
        Channel, ChannelCommand, ChannelError, ChannelEvent, Policy, PolicyChange, Registered, SecretRef,
        TokenMode,
    },
};
use subledger_store::{Cause, Done, Effect, Known, Stage, Stop, StreamRef, Submission, Work};
use subledger_wechat as wechat;

use crate::{
    Caller, Engine, EngineError,
    gateway::{self, Credentials},
    limits,
    submit::{done_with, receipt},
    text::check_text,
    tokens::{self, credentials},
};

/// A Mini Program to set up with AppID and AppSecret.
#[derive(Debug, Clone)]
pub struct NewChannel {
    /// The code, chosen by the operator.
    pub code: ChannelCode,
    /// A name for people, 1 to [`limits::MAX_NAME_CHARS`] characters.
    pub name: String,
    /// The Mini Program's AppID.
    pub appid: String,
    /// Its AppSecret; in external mode, the credential for the token server.
    pub secret: SecretString,
    /// How tokens are obtained. Not [`TokenMode::Platform`].
    pub token_mode: TokenMode,
    /// The company's token server; in external mode, and there only.
    pub token_url: Option<String>,
    /// Its policies.
    pub policy: Policy,
    /// Makes a repetition harmless.
    pub idempotency_key: Option<String>,
}

/// What a template refresh found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Templates WeChat lists now.
    pub listed: u32,
    /// New (or listed again).
    pub added: Vec<TemplateId>,
    /// With another title, content, kind or keys.
    pub changed: Vec<TemplateId>,
    /// No longer listed.
    pub vanished: Vec<TemplateId>,
    /// Listed, but of a kind or shape this version does not know; left out.
    pub unreadable: u32,
}

/// What is asked of the channel aggregate, once WeChat has answered.
pub(crate) struct Change {
    pub(crate) command: ChannelCommand,
    pub(crate) secrets: Vec<(SecretRef, SecretString)>,
}

impl Work for Change {
    type Answer = Vec<ChannelEvent>;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<Channel>(StreamName::channel())]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<Self::Answer, Stop<EngineError>> {
        let events = stage
            .ask::<Channel>(&StreamName::channel(), self.command.clone())?
            .map_err(|error| Stop::Refuse(refusal(&error)))?;
        for (reference, secret) in &self.secrets {
            stage.effect(Effect::KeepSecret { reference: reference.0.clone(), secret: secret.clone() });
        }
        Ok(events)
    }
}

pub(crate) fn refusal(error: &ChannelError) -> EngineError {
    let text = error.to_string();
    match error {
        ChannelError::AlreadyRegistered => {
            EngineError::conflict("channel_exists", "a channel with this code exists")
        }
        ChannelError::NotRegistered => EngineError::unknown_channel(),
        ChannelError::TokenSourceDoesNotFit { .. } => {
            EngineError::field("bad_token_source", "/token_mode", "does_not_fit", text)
        }
        ChannelError::NoSecretInUse => EngineError::conflict("no_secret_in_use", text),
        ChannelError::TooManyTemplates { .. } => EngineError::invalid("too_many_templates", text),
        ChannelError::AlreadyPaused => EngineError::conflict("already_paused", text),
        ChannelError::NotPaused => EngineError::conflict("not_paused", text),
        ChannelError::OtherMiniProgram { .. } => EngineError::conflict("other_mini_program", text),
        ChannelError::NothingToRelay => EngineError::field("bad_relay_kinds", "/kinds", "kinds", text),
        ChannelError::NotRelayed => EngineError::conflict("not_relayed", text),
        ChannelError::PolicyOutOfBounds { .. } => bad_policy(error, ""),
        ChannelError::NoCallbackToken => EngineError::field("bad_callback", "/token", "required", text),
        ChannelError::NoCallbackKey => {
            EngineError::field("bad_callback", "/encoding_aes_key", "required", text)
        }
        ChannelError::BadOriginalId => {
            EngineError::field("bad_callback", "/original_id", "original_id", text)
        }
        ChannelError::NoCallback => EngineError::not_found("no_callback", text),
    }
}

/// A number of a policy is out of bounds; `at` is where the policies stand in the request.
fn bad_policy(error: &ChannelError, at: &str) -> EngineError {
    let ChannelError::PolicyOutOfBounds { policy, .. } = error else { return refusal(error) };
    EngineError::field("bad_policy", &format!("{at}/{policy}"), "out_of_bounds", error.to_string())
}

impl NewChannel {
    fn check(&self) -> Result<(), EngineError> {
        if self.code.as_str().eq_ignore_ascii_case(LogName::MAIN) {
            return Err(EngineError::field(
                "bad_channel_code",
                "/code",
                "reserved",
                "the code \"main\" is reserved",
            ));
        }
        check_text("bad_name", "/name", &self.name, limits::MAX_NAME_CHARS)?;
        self.policy.check().map_err(|error| bad_policy(&error, "/policy"))?;
        let appid_fits =
            (4..=64).contains(&self.appid.len()) && self.appid.bytes().all(|b| b.is_ascii_alphanumeric());
        if !appid_fits {
            let rule = "must be 4 to 64 letters and digits, as the Mini Program's console shows it";
            return Err(EngineError::field("bad_appid", "/appid", "appid", rule));
        }
        if self.token_mode == TokenMode::Platform {
            return Err(tokens::platform_is_authorized());
        }
        check_secret(&self.secret)
    }
}

pub(crate) fn check_secret(secret: &SecretString) -> Result<(), EngineError> {
    let length = secret.expose_secret().len();
    let plain = secret.expose_secret().bytes().all(|b| b.is_ascii_graphic());
    if !(8..=128).contains(&length) || !plain {
        let rule = format!("must be 8 to 128 printable ASCII characters; found {length}");
        return Err(EngineError::field("bad_secret", "/secret", "secret", rule));
    }
    Ok(())
}

impl Engine {
    /// Sets a channel up, after WeChat has accepted its credentials.
    pub async fn register_channel(&self, caller: &Caller, new: NewChannel) -> Result<Done<()>, EngineError> {
        new.check()?;
        let token_url = self.source_url(new.token_mode, new.token_url.as_deref())?;
        let log = LogName::channel(&new.code);
        // The secret takes part as a hash, so that a repetition with another secret is another body.
        let body = (&new.code, &new.name, &new.appid, new.token_mode, &new.policy, secret_hash(&new.secret));
        let key = new.idempotency_key.as_deref();
        // Bodies without a URL are what they were before there were any.
        let receipt = match &token_url {
            Some(url) => receipt("channel", caller, key, &(body, url))?,
            None => receipt("channel", caller, key, &body)?,
        };
        if let Some(done) = self.answered::<Vec<ChannelEvent>>(&log, receipt.as_ref()).await? {
            return Ok(done_with(done, ()));
        }
        let (channel, _) = self.store().load::<Channel>(&log, &StreamName::channel()).await?;
        if channel.registered().is_some() {
            return Err(refusal(&ChannelError::AlreadyRegistered));
        }
        let credentials = credentials(new.token_mode, new.secret.clone(), token_url.clone());
        self.probe(&new.appid, credentials).await?;
        let reference = new_secret_ref(&new.code);
        let registered = Registered {
            appid: new.appid,
            name: new.name,
            secret: Some(reference.clone()),
            token_mode: new.token_mode,
            token_url,
            policy: new.policy,
        };
        let work =
            Change { command: ChannelCommand::Register(registered), secrets: vec![(reference, new.secret)] };
        let done = self.submit(log, caller, "register_channel", receipt, work).await?;
        tracing::info!(channel.code = %new.code, "channel set up");
        Ok(done_with(done, ()))
    }

    /// Uses another AppSecret, or another credential for the token server, after a token was had with it.
    pub async fn replace_credentials(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        secret: SecretString,
    ) -> Result<Done<()>, EngineError> {
        check_secret(&secret)?;
        let registered = self.registered(code).await?;
        if registered.token_mode == TokenMode::Platform {
            return Err(refusal(&ChannelError::NoSecretInUse));
        }
        let credentials = credentials(registered.token_mode, secret.clone(), registered.token_url.clone());
        self.probe(&registered.appid, credentials).await?;
        let reference = new_secret_ref(code);
        let command = ChannelCommand::ReplaceCredentials { secret: reference.clone() };
        let work = Change { command, secrets: vec![(reference, secret)] };
        let done = self.submit(LogName::channel(code), caller, "replace_credentials", None, work).await?;
        Ok(done_with(done, ()))
    }

    pub(crate) async fn probe(&self, appid: &str, credentials: Credentials) -> Result<(), EngineError> {
        let probe = self.gateway().probe(appid, credentials).await;
        match probe.result {
            Ok(_) => Ok(()),
            Err(error) => Err(gateway::probe_error(&error, probe.advice)),
        }
    }

    /// The registration of a channel, or the error that there is none.
    pub async fn registered(&self, code: &ChannelCode) -> Result<Registered, EngineError> {
        Ok(self.channel(code).await?.1)
    }

    pub(crate) async fn channel(&self, code: &ChannelCode) -> Result<(Channel, Registered), EngineError> {
        let (channel, _) =
            self.store().load::<Channel>(&LogName::channel(code), &StreamName::channel()).await?;
        let registered = channel.registered().cloned().ok_or_else(EngineError::unknown_channel)?;
        Ok((channel, registered))
    }

    /// Reads the template list from WeChat and takes it over.
    pub async fn refresh_templates(
        &self,
        caller: &Caller,
        code: &ChannelCode,
    ) -> Result<Done<Refreshed>, EngineError> {
        let (channel, registered) = self.channel(code).await?;
        self.refresh_slot(code)?;
        let list = self
            .client(&LogName::channel(code), &registered)
            .templates()
            .await
            .map_err(|error| gateway::channel_error(&error))?;
        let read = list.templates.len() + list.undecodable;
        let mut listed: Vec<Template> = list.templates.into_iter().filter_map(template).collect();
        let unreadable = u32::try_from(read - listed.len()).unwrap_or(u32::MAX);
        if list.undecodable > 0 {
            // An entry that could not be read may be any of the known ones: its absence does not prove that it is gone.
            let seen: BTreeSet<TemplateId> = listed.iter().map(|template| template.id.clone()).collect();
            let kept = channel.templates().filter(|known| known.listed && !seen.contains(&known.template.id));
            listed.extend(kept.map(|known| known.template.clone()));
        }
        if unreadable > 0 {
            tracing::warn!(channel.code = %code, templates.unreadable = unreadable, "templates of unknown shape");
        }
        let work = Change { command: ChannelCommand::RefreshTemplates { listed }, secrets: Vec::new() };
        let done = self.submit(LogName::channel(code), caller, "refresh_templates", None, work).await?;
        let refreshed = done
            .answer
            .iter()
            .find_map(|event| match event {
                ChannelEvent::TemplatesRefreshed(e) => Some(Refreshed {
                    listed: e.listed,
                    added: e.added.iter().map(|template| template.id.clone()).collect(),
                    changed: e.changed.iter().map(|template| template.id.clone()).collect(),
                    vanished: e.vanished.clone(),
                    unreadable,
                }),
                _ => None,
            })
            .ok_or_else(|| EngineError::internal("a refresh recorded no event"))?;
        Ok(done_with(done, refreshed))
    }

    /// Stops sending; what waits keeps waiting.
    pub async fn pause_channel(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        reason: String,
    ) -> Result<Done<()>, EngineError> {
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        self.change(caller, code, "pause_channel", ChannelCommand::Pause { reason }).await
    }

    /// Goes on sending.
    pub async fn resume_channel(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        reason: String,
    ) -> Result<Done<()>, EngineError> {
        check_text("bad_reason", "/reason", &reason, limits::MAX_REASON_CHARS)?;
        self.change(caller, code, "resume_channel", ChannelCommand::Resume { reason }).await
    }

    /// Changes the named policies of a channel; the others stay.
    pub async fn amend_policy(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        change: PolicyChange,
    ) -> Result<Done<()>, EngineError> {
        self.change(caller, code, "amend_policy", ChannelCommand::AmendPolicy { change }).await
    }

    /// Sets all policies of a channel.
    pub async fn change_policy(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        policy: Policy,
    ) -> Result<Done<()>, EngineError> {
        self.change(caller, code, "change_policy", ChannelCommand::ChangePolicy { policy }).await
    }

    pub(crate) async fn change(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        name: &str,
        command: ChannelCommand,
    ) -> Result<Done<()>, EngineError> {
        Ok(done_with(self.change_channel(caller.cause(name), code, command).await?, ()))
    }

    /// Asks a channel for something in whoever's name.
    pub(crate) async fn change_channel(
        &self,
        cause: Cause,
        code: &ChannelCode,
        command: ChannelCommand,
    ) -> Result<Done<Vec<ChannelEvent>>, EngineError> {
        let work = Change { command, secrets: Vec::new() };
        let submission = Submission { log: LogName::channel(code), receipt: None, cause, work };
        Ok(self.executor().submit(submission).await?)
    }
}

/// The template as the domain knows it; `None` for a kind other than one-time and long-term.
fn template(info: wechat::TemplateInfo) -> Option<Template> {
    let kind = match info.kind {
        wechat::TemplateKind::OneTime => TemplateKind::OneTime,
        wechat::TemplateKind::LongTerm => TemplateKind::LongTerm,
        wechat::TemplateKind::Other(_) => return None,
    };
    let label = |key: &str| {
        let line = info.content.lines().find(|line| line.contains(&format!("{{{{{key}.DATA")))?;
        let (label, _) = line.split_once([':', '：'])?;
        Some(label.trim().to_owned())
    };
    let keys = info
        .keys
        .iter()
        .map(|key| TemplateKey {
            label: label(&key.key).unwrap_or_default(),
            key: key.key.clone(),
            allowed: key.enum_values.clone(),
        })
        .collect();
    Some(Template {
        id: info.pri_tmpl_id.parse().ok()?,
        title: info.title,
        content: info.content.clone(),
        example: info.example,
        kind,
        keys,
    })
}

fn secret_hash(secret: &SecretString) -> String {
    blake3::hash(secret.expose_secret().as_bytes()).to_hex().to_string()
}

pub(crate) fn new_secret_ref(code: &ChannelCode) -> SecretRef {
    SecretRef(format!("appsecret/{code}/{}", uuid::Uuid::now_v7().simple()))
}

/// When each channel's templates were last read, to keep refreshes apart.
#[derive(Debug, Default)]
pub(crate) struct RefreshTimes(std::sync::Mutex<std::collections::HashMap<ChannelCode, Timestamp>>);

impl Engine {
    fn refresh_slot(&self, code: &ChannelCode) -> Result<(), EngineError> {
        let now = self.now();
        let mut times = self.refresh_times().0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let apart = i64::try_from(limits::MIN_REFRESH_INTERVAL.as_micros()).unwrap_or(i64::MAX);
        if times.get(code).is_some_and(|last| now < last.plus_micros(apart)) {
            return Err(EngineError {
                retry_after: Some(limits::MIN_REFRESH_INTERVAL),
                ..EngineError::new(
                    crate::ErrorKind::TooOften,
                    "refresh_too_soon",
                    "the templates of this channel were refreshed a moment ago; WeChat caps this call per day",
                )
            });
        }
        times.insert(code.clone(), now);
        Ok(())
    }
}
