//! Who asks, with which right, about which channel.
//!
//! Every handler takes a [`Scope`] (or a [`Deployment`]) as its first argument, and its type names the right. A route
//! without one does not get a channel code, so it cannot be forgotten. Refusals come in this order: no key, no right, no
//! such channel; so a key learns nothing about channels that it may not use.

use std::{marker::PhantomData, str::FromStr, sync::Arc};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, StatusCode, request::Parts},
};
use subledger_domain::{ChannelCode, IdError, LogName, app::Right};
use subledger_engine::{Caller, Engine, EngineError, apps::KeyRights, user_tokens::TokenHolder};
use subledger_store::Position;

use crate::{
    context::Context,
    middleware::auth::{Admitted, Held},
    problem::ApiError,
};

/// A right, as a type.
pub(crate) trait Needs {
    /// The right.
    const RIGHT: Right;
}

macro_rules! rights {
    ($($name:ident),*) => { $(
        /// The right of the same name.
        pub(crate) struct $name;

        impl Needs for $name {
            const RIGHT: Right = Right::$name;
        }
    )* };
}
rights!(Manage, Bind, Grant, Send, Read, Settle, Token);

/// A caller with the right `R` in the deployment, for what is not (yet) about one channel.
pub(crate) struct Deployment<R> {
    /// What the key allows.
    pub(crate) rights: Arc<KeyRights>,
    /// Who asks.
    pub(crate) caller: Caller,
    right: PhantomData<R>,
}

impl<R: Needs> FromRequestParts<Context> for Deployment<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, ApiError> {
        let (rights, caller) = caller(parts)?;
        rights.require(R::RIGHT, None)?;
        Ok(Self { rights, caller, right: PhantomData })
    }
}

impl<R: Needs> Deployment<R> {
    /// The same caller in one channel, where a parameter rather than the path names it. Refuses like [`Scope`] does.
    pub(crate) fn in_channel(self, code: &str) -> Result<Scope<R>, ApiError> {
        let code: ChannelCode = code.parse().map_err(|_| EngineError::unknown_channel())?;
        self.rights.require(R::RIGHT, Some(&code))?;
        let (log, path) = (LogName::channel(&code), Vec::new());
        Ok(Scope { log, code, caller: self.caller, path, right: PhantomData })
    }
}

/// A caller with the right `R` in the channel of the path.
pub(crate) struct Scope<R> {
    /// The channel.
    pub(crate) code: ChannelCode,
    /// Its log.
    pub(crate) log: LogName,
    /// Who asks.
    pub(crate) caller: Caller,
    path: Vec<(String, String)>,
    right: PhantomData<R>,
}

impl<R: Needs> FromRequestParts<Context> for Scope<R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, ApiError> {
        let (rights, caller) = caller(parts)?;
        rights.require(R::RIGHT, None)?;
        let raw = RawPathParams::from_request_parts(parts, context).await.map_err(|_| {
            ApiError::new(StatusCode::BAD_REQUEST, "bad_path", "the path is not percent-encoded UTF-8")
        })?;
        let path: Vec<(String, String)> =
            raw.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let code =
            path.iter().find(|(name, _)| name == "code").map(|(_, value)| value.as_str()).unwrap_or_default();
        let code: ChannelCode = code.parse().map_err(|_| EngineError::unknown_channel())?;
        rights.require(R::RIGHT, Some(&code))?;
        Ok(Self { log: LogName::channel(&code), code, caller, path, right: PhantomData })
    }
}

fn caller(parts: &Parts) -> Result<(Arc<KeyRights>, Caller), ApiError> {
    let admitted = parts.extensions.get::<Admitted>().ok_or_else(ApiError::missing_key)?;
    let caller = Caller::app(admitted.rights.app.clone(), Some(admitted.request.as_str().to_owned()));
    Ok((Arc::clone(&admitted.rights), caller))
}

/// A user who reports taps of their own, and nothing else.
pub(crate) struct Own {
    /// The person and the channel.
    pub(crate) holder: TokenHolder,
    /// Who asks: the user, with a token of this app.
    pub(crate) caller: Caller,
}

impl FromRequestParts<Context> for Own {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, ApiError> {
        let Held { holder, request } =
            parts.extensions.get::<Held>().cloned().ok_or_else(ApiError::missing_token)?;
        let caller = Caller::user_token(holder.app.clone(), Some(request.as_str().to_owned()));
        Ok(Self { holder, caller })
    }
}

/// An identifier, or the refusal that names it.
pub(crate) fn parse_id<T: FromStr<Err = IdError>>(
    code: &'static str,
    pointer: &str,
    text: &str,
) -> Result<T, ApiError> {
    text.parse().map_err(|error| EngineError::bad_id(code, pointer, &error).into())
}

impl<R> Scope<R> {
    /// A path parameter as text.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.path.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// A path parameter as an identifier.
    pub(crate) fn id<T: FromStr<Err = IdError>>(
        &self,
        name: &str,
        code: &'static str,
    ) -> Result<T, ApiError> {
        parse_id(code, &format!("/{name}"), self.text(name))
    }

    /// The recipient's index of the path.
    pub(crate) fn index(&self) -> Result<u32, ApiError> {
        self.text("index").parse().map_err(|_| {
            let rule = "must be the recipient's place in the request, from 0";
            EngineError::field("bad_index", "/index", "bad_index", rule).into()
        })
    }
}

impl Scope<Read> {
    /// Makes sure that the channel exists and that its read models show what this node has written, and `min_position`
    /// if the caller asked for one.
    pub(crate) async fn ready(
        &self,
        engine: &Engine,
        min_position: Option<Position>,
    ) -> Result<(), ApiError> {
        // The read model first, because it is one row; the log only where the channel may be too new for it. The existence
        // comes before the wait: waiting on a log that does not exist would make this node follow it.
        if engine.queries().channel(&self.code).await?.value.is_none() {
            engine.registered(&self.code).await?;
        }
        let reached = engine.caught_up(&self.log, min_position).await;
        match min_position {
            Some(position) if !reached => {
                let detail = format!("position {position} is not shown yet; try again");
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_caught_up", detail))
            }
            _ => Ok(()),
        }
    }
}

/// The header `Idempotency-Key`, if there is one.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl IdempotencyKey {
    const HEADER: &'static str = "idempotency-key";

    /// The key as the engine takes it.
    pub(crate) fn as_deref(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn from_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut values = headers.get_all(Self::HEADER).iter();
        let wrong = |rule: &str| {
            ApiError::from(EngineError::field(
                "bad_idempotency_key",
                "/Idempotency-Key",
                "idempotency_key",
                rule,
            ))
        };
        let Some(value) = values.next() else { return Ok(Self(None)) };
        if values.next().is_some() {
            return Err(wrong("must be sent once"));
        }
        let key = value.to_str().map_err(|_| wrong("must be printable ASCII characters without space"))?;
        Ok(Self(Some(key.to_owned())))
    }
}

impl FromRequestParts<Context> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, ApiError> {
        Self::from_headers(&parts.headers)
    }
}
