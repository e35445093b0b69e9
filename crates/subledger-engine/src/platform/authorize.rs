//! Beginning an authorization and telling where it stands.
//!
//! A link carries WeChat's pre-auth code and, in the URL that WeChat returns the browser to, a state of our own: WeChat sends
//! none, and without one anybody could hand us a code of another Mini Program for this channel. The push carries the pre-auth
//! code. Either leads back to the row that was made here.

use std::time::Duration;

use rand::seq::IndexedRandom;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subledger_domain::{ChannelCode, LogName, StreamName, Timestamp, channel::Channel};
use subledger_store::{Begun, BegunAuthorization, BegunStatus};
use subledger_wechat::component::LinkRequest;

use super::own_path;
use crate::{Caller, Engine, EngineError, gateway, submit::receipt};

/// Characters of a state.
const STATE_CHARS: usize = 32;
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// How often whoever follows an authorization looks at the database: another node may have ended it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An authorization to begin.
#[derive(Debug, Clone, Default)]
pub struct BeginAuthorization {
    /// The platform; may be left out where there is only one.
    pub component_appid: Option<String>,
    /// Makes a repetition harmless.
    pub idempotency_key: Option<String>,
}

/// Where an authorization stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationStatus {
    /// Nobody has scanned yet.
    Waiting,
    /// The Mini Program is authorized; see what is missing.
    Authorized,
    /// It was scanned, and what came of it was refused.
    Refused,
    /// Nobody scanned in time.
    Expired,
}

impl AuthorizationStatus {
    /// The name used in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Authorized => "authorized",
            Self::Refused => "refused",
            Self::Expired => "expired",
        }
    }
}

/// What an authorization came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// The Mini Program that was authorized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// The permission sets that were granted, by WeChat's numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<u32>,
    /// Those that sending needs and that were not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<u32>,
    /// Why it was refused, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people, with what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Outcome {
    /// Whether only a code was refused. The other way may bring a good one, so the authorization goes on waiting.
    pub(super) fn is_about_the_code(&self) -> bool {
        const ABOUT: [&str; 3] = ["authorization_code", "code_refused", "code_expired"];
        self.reason.as_deref().is_some_and(|reason| ABOUT.contains(&reason))
    }
}

/// An authorization. `Debug` does not print its links.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationView {
    /// Its id.
    pub id: uuid::Uuid,
    /// The channel that is to be authorized.
    pub channel: ChannelCode,
    /// The platform.
    pub component_appid: String,
    /// WeChat's page for computers and the one for phones, while it waits.
    pub links: Option<(String, String)>,
    /// The page of this service that leads to them, while it waits: WeChat's for computers opens only from a page of the
    /// platform's domain.
    pub start_url: Option<String>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// Until when the links are good.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub status: AuthorizationStatus,
    /// What it came to, once it has ended.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl std::fmt::Debug for AuthorizationView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthorizationView")
            .field("id", &self.id)
            .field("channel", &self.channel)
            .field("status", &self.status)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Begins an authorization of a channel's Mini Program to a platform. A channel that is not set up is set up by it.
    pub async fn begin_authorization(
        &self,
        caller: &Caller,
        code: &ChannelCode,
        asked: BeginAuthorization,
    ) -> Result<(AuthorizationView, bool), EngineError> {
        let component = self.platform_for(asked.component_appid).await?;
        // Kept by its row and not by a receipt of the log: the answer holds a link that is not to stand there.
        let receipt = receipt("authorize", caller, asked.idempotency_key.as_deref(), &(code, &component))?;
        let request = receipt.map(|receipt| receipt.id);
        if let Some(request) = &request
            && let Some(begun) = self.store().begun_by_request(request).await?
        {
            return Ok((self.same(begun, code, &component).await?, true));
        }
        let (channel, _) =
            self.store().load::<Channel>(&LogName::channel(code), &StreamName::channel()).await?;
        let preauth = self
            .gateway()
            .component(&component)
            .call(|client, token| async move { client.create_preauthcode(&token).await })
            .await
            .map_err(|error| gateway::channel_error(&error))?;
        let new = BegunAuthorization {
            id: *uuid::Uuid::new_v4().as_bytes(),
            component_appid: component.clone(),
            channel: code.clone(),
            state: state(),
            preauth_code: preauth.code,
            request: request.clone(),
            expires_at: self.now().plus_seconds(preauth.expires_in),
        };
        if !self.store().begin_authorization(&new).await?
            && let Some(request) = &request
        {
            // The same request came twice at once; the other was quicker.
            let begun = self.store().begun_by_request(request).await?;
            let begun = begun.ok_or_else(|| EngineError::internal("an authorization vanished"))?;
            return Ok((self.same(begun, code, &component).await?, true));
        }
        let id = uuid::Uuid::from_bytes(new.id);
        tracing::info!(
            channel.code = %code, platform.appid = component, authorization.id = %id,
            authorization.new_channel = channel.registered().is_none(), "an authorization was begun"
        );
        Ok((self.authorization(code, id).await?, false))
    }

    async fn same(
        &self,
        begun: Begun,
        code: &ChannelCode,
        component: &str,
    ) -> Result<AuthorizationView, EngineError> {
        if begun.channel != *code || begun.component_appid != component {
            return Err(subledger_store::SubmitError::<EngineError>::ReceiptConflict.into());
        }
        self.authorization(code, uuid::Uuid::from_bytes(begun.id)).await
    }

    /// An authorization of a channel.
    pub async fn authorization(
        &self,
        code: &ChannelCode,
        id: uuid::Uuid,
    ) -> Result<AuthorizationView, EngineError> {
        let unknown = || {
            let detail = "there is no authorization with this id; old ones are deleted";
            EngineError::not_found("unknown_authorization", detail)
        };
        let begun = self.store().begun(id.as_bytes()).await?;
        let begun = begun.filter(|begun| begun.channel == *code).ok_or_else(unknown)?;
        let link = begun.link.clone();
        let component = begun.component_appid.clone();
        let mut view = view(begun, self.now());
        if view.status == AuthorizationStatus::Waiting
            && let Some((state, preauth)) = link
        {
            let public_url = self.public_url(&component).await?;
            view.start_url = Some(format!("{public_url}{}/start/{code}/{id}", own_path(&component)));
            view.links = Some(self.links(code, &component, &public_url, &state, &preauth).await?);
        }
        Ok(view)
    }

    /// Waits until an authorization may stand elsewhere than it did: it ended on this node, or a second has passed.
    pub async fn authorization_moved(&self) {
        tokio::select! {
            () = self.platforms().ended.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }

    async fn public_url(&self, component: &str) -> Result<String, EngineError> {
        let platform = self.load_platform(component).await?;
        Ok(platform.configured().map(|it| it.public_url.clone()).unwrap_or_default())
    }

    async fn links(
        &self,
        code: &ChannelCode,
        component: &str,
        public_url: &str,
        state: &SecretString,
        preauth: &SecretString,
    ) -> Result<(String, String), EngineError> {
        let redirect =
            format!("{public_url}{}/authorized?state={}", own_path(component), state.expose_secret());
        let (channel, _) =
            self.store().load::<Channel>(&LogName::channel(code), &StreamName::channel()).await?;
        // Whoever administers several Mini Programs cannot take the wrong one then.
        let appid = channel.registered().map(|registered| registered.appid.as_str());
        let request = LinkRequest {
            component_appid: component,
            pre_auth_code: preauth,
            redirect_url: &redirect,
            appid,
            sets: &[],
        };
        let links = self.authorization_pages()?.links(request);
        let links = links.map_err(|fault| EngineError::internal(fault.to_string()))?;
        Ok((links.pc, links.h5))
    }

    /// The platform that is meant: the one that is named, or the only one.
    async fn platform_for(&self, named: Option<String>) -> Result<String, EngineError> {
        if let Some(component) = named {
            let platform = self.load_platform(&component).await?;
            platform.configured().ok_or_else(super::unknown_platform)?;
            return Ok(component);
        }
        let mut platforms = self.list_platforms().await?;
        let several = platforms.len() > 1;
        match platforms.pop() {
            Some(only) if !several => Ok(only.component_appid),
            Some(_) => {
                let detail = "there are several third-party platforms: name one";
                Err(EngineError::field("bad_platform", "/component_appid", "required", detail))
            }
            None => Err(super::unknown_platform()),
        }
    }
}

fn view(begun: Begun, now: Timestamp) -> AuthorizationView {
    let status = match begun.status {
        BegunStatus::Waiting if now < begun.expires_at => AuthorizationStatus::Waiting,
        BegunStatus::Waiting => AuthorizationStatus::Expired,
        BegunStatus::Authorized => AuthorizationStatus::Authorized,
        BegunStatus::Refused => AuthorizationStatus::Refused,
    };
    AuthorizationView {
        id: uuid::Uuid::from_bytes(begun.id),
        channel: begun.channel,
        component_appid: begun.component_appid,
        links: None,
        start_url: None,
        created_at: begun.created_at,
        expires_at: begun.expires_at,
        status,
        outcome: begun.outcome.and_then(|text| serde_json::from_str(&text).ok()),
        ended_at: begun.ended_at,
    }
}

fn state() -> SecretString {
    let mut dice = rand::rng();
    let text: String = std::iter::repeat_with(|| ALPHABET.choose(&mut dice).copied().unwrap_or(b'A'))
        .take(STATE_CHARS)
        .map(char::from)
        .collect();
    text.into()
}
