//! User tokens: how a user's own device reports taps without an API key.
//!
//! An integrator's back end asks for a token for the user who is logged in; the Mini Program sends it with each report. A
//! token is a JWT (RFC 7519) signed with HMAC-SHA256. It names one channel and one person and allows nothing but to report
//! that person's taps there. Whoever holds it can read it, so a person stands in it by the same keyed hash as in the log.
//!
//! What could go wrong with tokens, and why it does not here:
//! * Another algorithm, or none: the header is never interpreted. One header is ours, and every other one is refused.
//! * A token of another kind or deployment: the key is derived for these tokens alone, from the deployment's secret.
//! * A token that outlives its issuer: it carries the public part of the API key that it was asked for with. Revoking that
//!   key ends it, on every node, as soon as the key itself.
//!
//! Tokens are not stored. There is no way to take back a single one; that is why they are short-lived.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subledger_domain::{
    AppId, ChannelCode, LogName, StreamName, SubjectId, Timestamp, UserRef, app::Right, binding::Binding,
    channel::Channel,
};
use subledger_store::{Effect, Known, Stage, Stop, StreamRef, Work};

use crate::{
    Caller, Engine, EngineError, ErrorKind,
    apps::KeyRights,
    grants::Tapper,
    limits,
    users::{require_channel, unknown_user},
};

/// The header of every user token. `kid` names how the key is derived.
const HEADER: &str = r#"{"alg":"HS256","kid":"1","typ":"subledger-user+jwt"}"#;
/// What user tokens are good for.
const AUDIENCE: &str = "client-reports";
/// The version of [`Claims`].
const VERSION: u8 = 1;
/// Longer texts are no tokens of ours: channel, app and hashes have greatest lengths.
const MAX_TOKEN_BYTES: usize = 1_024;

/// The person who holds a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Named by userid: whichever openid is bound when the tap is reported.
    User(UserRef),
    /// Named by openid.
    Subject(SubjectId),
}

impl Holder {
    pub(crate) fn user(self) -> Option<UserRef> {
        if let Self::User(user) = self { Some(user) } else { None }
    }

    pub(crate) fn subject(self) -> Option<SubjectId> {
        if let Self::Subject(subject) = self { Some(subject) } else { None }
    }

    /// What stands for the person in the books. Those of users and of openids never meet.
    pub(crate) fn hash(self) -> String {
        match self {
            Self::User(user) => user.to_string(),
            Self::Subject(subject) => subject.to_string(),
        }
    }

    /// Reads the claim `sub`.
    fn of_claim(claim: &str) -> Option<Self> {
        match claim.split_once(':')? {
            ("user", hash) => hash.parse().ok().map(Self::User),
            ("subject", hash) => hash.parse().ok().map(Self::Subject),
            _ => None,
        }
    }
}

/// As in the claim `sub`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::Subject(subject) => write!(f, "subject:{subject}"),
        }
    }
}

/// What a token says. Times are whole seconds since the epoch, as JWT has them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    v: u8,
    aud: String,
    channel: ChannelCode,
    sub: String,
    /// The sender app that asked for it, and the public part of the key it asked with.
    app: AppId,
    key: String,
    iat: i64,
    exp: i64,
}

/// A fresh token.
pub struct UserToken {
    /// The token.
    pub token: SecretString,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// What a good token allows: to report taps of `who` in `channel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHolder {
    /// The channel.
    pub channel: ChannelCode,
    /// The person.
    pub who: Holder,
    /// The sender app that asked for the token.
    pub app: AppId,
}

/// Looks whether the person can have a token, and keeps the openid of one named by it: the token does not carry it, and a
/// grant without an openid could not be used.
struct Admit {
    binding: Option<StreamName>,
    openid: Option<Effect>,
}

impl Work for Admit {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        let mut streams = vec![StreamRef::of::<Channel>(StreamName::channel())];
        streams.extend(self.binding.clone().map(StreamRef::of::<Binding>));
        streams
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        require_channel(stage)?;
        if let Some(binding) = &self.binding
            && stage.state::<Binding>(binding)?.subject().is_none()
        {
            return Err(Stop::Refuse(unknown_user()));
        }
        if let Some(effect) = &self.openid {
            stage.effect(effect.clone());
        }
        Ok(())
    }
}

/// Whether a bearer credential is a user token, good or not: it has their header.
pub fn looks_like_user_token(credential: &SecretString) -> bool {
    credential.expose_secret().split_once('.').is_some_and(|(header, _)| header == encoded_header())
}

fn encoded_header() -> String {
    BASE64.encode(HEADER)
}

fn bad_token(detail: &str) -> EngineError {
    EngineError::new(ErrorKind::Unauthenticated, "bad_token", detail)
}

impl Engine {
    /// Makes a token for a user of a channel. `rights` are those of the key that asks; `ttl` is
    /// [`limits::DEFAULT_USER_TOKEN_TTL`] if not given. A user named by userid must be bound.
    pub async fn issue_user_token(
        &self,
        caller: &Caller,
        rights: &KeyRights,
        channel: &ChannelCode,
        who: Tapper,
        ttl: Option<Duration>,
    ) -> Result<UserToken, EngineError> {
        let (least, most) = (limits::MIN_USER_TOKEN_TTL, limits::MAX_USER_TOKEN_TTL);
        let ttl = ttl.unwrap_or(limits::DEFAULT_USER_TOKEN_TTL);
        if !(least..=most).contains(&ttl) {
            let rule = format!("must be {} to {}; found {}", least.as_secs(), most.as_secs(), ttl.as_secs());
            return Err(EngineError::field("bad_ttl", "/ttl_s", "bad_ttl", rule));
        }
        let (holder, openid) = match who {
            Tapper::Userid(userid) => (Holder::User(self.store().user_ref_of(&userid)), None),
            Tapper::Openid(openid) => {
                let subject = self.store().subject_of(channel, &openid);
                (Holder::Subject(subject), Some(Effect::KeepOpenid { subject, openid }))
            }
            Tapper::Holder(holder) => (holder, None),
        };
        let work = Admit { binding: holder.user().map(StreamName::binding), openid };
        self.submit(LogName::channel(channel), caller, "issue_user_token", None, work).await?;
        let issued = self.now().micros().div_euclid(1_000_000);
        let expires = issued.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        let claims = Claims {
            v: VERSION,
            aud: AUDIENCE.to_owned(),
            channel: channel.clone(),
            sub: holder.to_string(),
            app: rights.app.clone(),
            key: rights.key.clone(),
            iat: issued,
            exp: expires,
        };
        Ok(UserToken {
            token: self.sign(&claims)?,
            expires_at: Timestamp::from_micros(expires.saturating_mul(1_000_000)),
        })
    }

    fn sign(&self, claims: &Claims) -> Result<SecretString, EngineError> {
        let claims = serde_json::to_vec(claims).map_err(|error| EngineError::internal(error.to_string()))?;
        let signed = format!("{}.{}", encoded_header(), BASE64.encode(claims));
        let signature = BASE64.encode(self.store().sign_user_token(signed.as_bytes()));
        Ok(SecretString::from(format!("{signed}.{signature}")))
    }

    /// Who holds this token, if it is good now.
    pub async fn check_user_token(&self, token: &SecretString) -> Result<TokenHolder, EngineError> {
        let forged = || bad_token("this is no user token of this service");
        let claims = self.claims(token.expose_secret()).ok_or_else(forged)?;
        let who = Holder::of_claim(&claims.sub).ok_or_else(forged)?;
        if self.now().micros() >= claims.exp.saturating_mul(1_000_000) {
            let detail = "the user token has expired; ask for a new one";
            return Err(EngineError::new(ErrorKind::Unauthenticated, "token_expired", detail));
        }
        // A new token may be good again, so everything that the key lacks is the token's fault and not the report's.
        let rights = self.key_named(&claims.key).await?;
        let holds = |rights: &KeyRights| {
            rights.app == claims.app && rights.require(Right::Grant, Some(&claims.channel)).is_ok()
        };
        if !rights.as_deref().is_some_and(holds) {
            return Err(bad_token(
                "the API key that this token was asked for with was revoked, or lost its right",
            ));
        }
        Ok(TokenHolder { channel: claims.channel, who, app: claims.app })
    }

    /// What a token says, if this deployment signed it.
    fn claims(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = BASE64.decode(signature).ok()?;
        if header != encoded_header() || !self.store().signed_user_token(signed.as_bytes(), &signature) {
            return None;
        }
        let claims: Claims = serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()?;
        (claims.v == VERSION && claims.aud == AUDIENCE).then_some(claims)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_read_back_from_its_claim() {
        let hash = "0123456789abcdef0123456789abcdef";
        for holder in [Holder::User(hash.parse().unwrap()), Holder::Subject(hash.parse().unwrap())] {
            assert_eq!(Holder::of_claim(&holder.to_string()), Some(holder));
        }
        for wrong in ["", hash, "openid:oDemo0000000000000001", "user:", "user:0123", "subject:user:"] {
            assert_eq!(Holder::of_claim(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_our_header_looks_like_a_user_token() {
        let looks = |text: String| looks_like_user_token(&SecretString::from(text));
        assert!(looks(format!("{}.e30.x", encoded_header())));
        let none = BASE64.encode(r#"{"alg":"none","kid":"1","typ":"subledger-user+jwt"}"#);
        for other in [format!("{none}.e30."), encoded_header(), "slk_0123_4567".to_owned(), String::new()] {
            assert!(!looks(other.clone()), "{other}");
        }
    }
}
