//! Users: bind a userid to an openid, given by the integrator or learnt from a login code; unbind.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subledger_domain::{
    ChannelCode, Evidence, EvidenceSource, LogName, Openid, StreamName, SubjectId, UserId, UserRef,
    binding::{Binding, BindingCommand, BindingError, BindingEvent},
    channel::{Channel, Registered, TokenMode},
};
use subledger_store::{Done, Effect, Known, Stage, Stop, StreamRef, Work};
use subledger_wechat::LoginIdentity;

use crate::{
    Caller, Engine, EngineError, gateway,
    submit::{done_with, receipt},
};

/// How the openid of a user is given.
#[derive(Clone)]
pub enum BindBy {
    /// By itself.
    Openid(Openid),
    /// By the code of `wx.login`, to be exchanged at WeChat. Works once, for about five minutes.
    LoginCode(SecretString),
}

/// What binding changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindResult {
    /// The user had no openid here.
    Bound,
    /// The user had another openid here.
    Moved,
    /// The user had this openid already; nothing is recorded.
    Unchanged,
}

struct Bind {
    user: UserRef,
    userid: UserId,
    subject: SubjectId,
    openid: Openid,
    source: EvidenceSource,
    by: String,
}

impl Work for Bind {
    type Answer = BindResult;
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![
            StreamRef::of::<Channel>(StreamName::channel()),
            StreamRef::of::<Binding>(StreamName::binding(self.user)),
        ]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<BindResult, Stop<EngineError>> {
        require_channel(stage)?;
        let evidence = Evidence::new(self.source, self.by.clone(), stage.now());
        let command = BindingCommand::Bind { subject: self.subject, evidence };
        let events = stage
            .ask::<Binding>(&StreamName::binding(self.user), command)?
            .map_err(|error| Stop::Refuse(EngineError::internal(error.to_string())))?;
        let result = match events.first() {
            Some(BindingEvent::Bound(_)) => BindResult::Bound,
            Some(BindingEvent::Moved(_)) => BindResult::Moved,
            _ => BindResult::Unchanged,
        };
        // Also where nothing changed: what is kept stays, and what an erasure took a moment ago comes back.
        stage.effect(Effect::KeepOpenid { subject: self.subject, openid: self.openid.clone() });
        stage.effect(Effect::KeepUserId { user: self.user, userid: self.userid.clone() });
        Ok(result)
    }
}

struct Unbind {
    user: UserRef,
    by: String,
}

impl Work for Unbind {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![
            StreamRef::of::<Channel>(StreamName::channel()),
            StreamRef::of::<Binding>(StreamName::binding(self.user)),
        ]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        require_channel(stage)?;
        let evidence = Evidence::new(EvidenceSource::Integrator, self.by.clone(), stage.now());
        match stage.ask::<Binding>(&StreamName::binding(self.user), BindingCommand::Unbind { evidence })? {
            Ok(_) => Ok(()),
            Err(BindingError::NotBound) => Err(Stop::Refuse(unknown_user())),
        }
    }
}

/// Refuses unless the channel is set up.
pub(crate) fn require_channel(stage: &Stage<'_>) -> Result<(), Stop<EngineError>> {
    match stage.state::<Channel>(&StreamName::channel())?.registered() {
        Some(_) => Ok(()),
        None => Err(Stop::Refuse(EngineError::unknown_channel())),
    }
}

/// The user has no openid in the channel.
pub(crate) fn unknown_user() -> EngineError {
    EngineError::not_found("unknown_user", "no user with this userid is bound in this channel")
}

impl Engine {
    /// Binds a user to an openid in a channel. A user has one openid per channel; another one moves the user.
    pub async fn bind_user(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        userid: UserId,
        by: BindBy,
        idempotency_key: Option<&str>,
    ) -> Result<Done<BindResult>, EngineError> {
        let registered = self.registered(channel).await?;
        let user = self.store().user_ref_of(&userid);
        let log = LogName::channel(channel);
        // A login code works once at WeChat, so a repetition must be answered before it is spent again; it takes part in the
        // fingerprint as a hash.
        let body = match &by {
            BindBy::Openid(openid) => ("openid", self.store().subject_of(channel, openid).to_string()),
            BindBy::LoginCode(code) => {
                ("login_code", blake3::hash(code.expose_secret().as_bytes()).to_hex().to_string())
            }
        };
        let receipt = receipt("bind", caller, idempotency_key, &(user, body))?;
        if let Some(done) = self.answered(&log, receipt.as_ref()).await? {
            return Ok(done);
        }
        let (openid, source) = match by {
            BindBy::Openid(openid) => (openid, EvidenceSource::Integrator),
            BindBy::LoginCode(code) => {
                let identity = self.login(&log, &registered, &code).await?;
                let openid = identity.openid.parse().map_err(|_| {
                    EngineError::new(
                        crate::ErrorKind::Upstream,
                        "wechat_no_answer",
                        "WeChat answered the login with something that is not an openid",
                    )
                })?;
                (openid, EvidenceSource::WechatAnswer)
            }
        };
        let subject = self.store().subject_of(channel, &openid);
        let work = Bind { user, userid, subject, openid, source, by: caller.who() };
        self.submit(log, caller, "bind_user", receipt, work).await
    }

    /// Takes the binding of a user away. Its ledgers stay: grants belong to the openid.
    pub async fn unbind_user(
        &self,
        caller: &Caller,
        channel: &ChannelCode,
        userid: &UserId,
    ) -> Result<Done<()>, EngineError> {
        let work = Unbind { user: self.store().user_ref_of(userid), by: caller.who() };
        Ok(done_with(self.submit(LogName::channel(channel), caller, "unbind_user", None, work).await?, ()))
    }

    /// Turns the code of `wx.login` into an openid, by the channel's own secret or through its platform.
    async fn login(
        &self,
        log: &LogName,
        registered: &Registered,
        code: &SecretString,
    ) -> Result<LoginIdentity, EngineError> {
        let identity = match registered.token_mode {
            TokenMode::Platform => self.platform_login(&registered.appid, code).await?,
            TokenMode::Stable | TokenMode::Normal | TokenMode::External => {
                self.client(log, registered).login(code).await
            }
        };
        identity.map_err(|error| gateway::channel_error(&error))
    }
}
