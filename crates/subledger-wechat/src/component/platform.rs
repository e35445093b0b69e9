//! Calls about the platform itself: its ticket, its token, and codes to begin an authorization with.

use secrecy::SecretString;
use serde_json::Value;

use super::{ComponentClient, Field};
use crate::answer::{Answer, whole_number};
use crate::calls::token::{TokenGrant, read_named_grant};
use crate::client::Api;
use crate::outcome::CallError;

/// What WeChat says about pushing tickets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPushTicket {
    /// WeChat's words: `ok` if pushes had stopped and go on now, `in a normal state` if they had not. For people to read.
    pub message: String,
}

/// A code to begin one authorization with.
#[derive(Debug, Clone)]
pub struct PreAuthCode {
    /// The code. It ends up in a link; whoever has it can make somebody authorize the platform, and no more.
    pub code: SecretString,
    /// Its life in seconds. Pages say 1800 and samples 600 (§14.12): this is what the answer said.
    pub expires_in: i64,
}

impl ComponentClient {
    /// `POST /cgi-bin/component/api_start_push_ticket`: asks WeChat to push tickets again. It stops when the push URL fails for
    /// long. Needs no token.
    ///
    /// # Errors
    /// [`CallError`]; a wrong secret is a refusal of class `PlatformConfig`.
    pub async fn start_push_ticket(&self, secret: &SecretString) -> Result<StartPushTicket, CallError> {
        // The only call that names the field `component_secret`.
        let fields = [("component_secret", Field::Secret(secret))];
        self.post(Api::StartPushTicket, None, &fields, |body| {
            Answer::read(body, &[secret]).map(|answer| StartPushTicket { message: answer.message })
        })
        .await
    }

    /// `POST /cgi-bin/component/api_component_token`: the platform's own token, for two hours. `ticket` is the newest that
    /// was pushed; it lives twelve hours.
    ///
    /// # Errors
    /// [`CallError`]; a wrong secret, an old or wrong ticket and an unregistered address are refusals of class
    /// `PlatformConfig`.
    pub async fn component_token(
        &self,
        secret: &SecretString,
        ticket: &SecretString,
    ) -> Result<TokenGrant, CallError> {
        let fields = [
            ("component_appsecret", Field::Secret(secret)),
            ("component_verify_ticket", Field::Secret(ticket)),
        ];
        self.post(Api::ComponentToken, None, &fields, |body| read_named_grant(body, "component_access_token"))
            .await
    }

    /// `POST /cgi-bin/component/api_create_preauthcode`: a code for one authorization.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn create_preauthcode(&self, token: &SecretString) -> Result<PreAuthCode, CallError> {
        self.post(Api::CreatePreAuthCode, Some(token), &[], read_code).await
    }
}

fn read_code(body: &Value) -> Option<PreAuthCode> {
    let code = body.get("pre_auth_code")?.as_str().filter(|code| !code.is_empty())?;
    let expires_in = whole_number(body.get("expires_in")?).filter(|seconds| *seconds > 0)?;
    Some(PreAuthCode { code: code.into(), expires_in })
}
