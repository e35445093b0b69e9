//! Login: from the code of `wx.login` to an openid.
//!
//! WeChat also returns the user's `session_key`. Only the openid is wanted here, so the key is not even read out of the
//! answer: what was never taken cannot leak.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::answer::exact_text;
use crate::client::{Api, WeChatClient};
use crate::outcome::CallError;

/// Who logged in. `Debug` prints neither value: both are personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginIdentity {
    /// The user's id in this Mini Program. No shape is promised by WeChat, not even the leading `o`.
    pub openid: String,
    /// The user's id across the Mini Programs of one Open Platform account, if bound to one.
    pub unionid: Option<String>,
}

impl fmt::Debug for LoginIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginIdentity").finish_non_exhaustive()
    }
}

impl WeChatClient {
    /// `GET /sns/jscode2session`. A code lives about five minutes and works once.
    ///
    /// # Errors
    /// [`CallError`]; a wrong, used or old code is a refusal of class `LoginCode`.
    pub async fn jscode2session(
        &self,
        appid: &str,
        secret: &SecretString,
        code: &SecretString,
    ) -> Result<LoginIdentity, CallError> {
        let query = [
            ("appid", appid),
            ("secret", secret.expose_secret()),
            ("js_code", code.expose_secret()),
            ("grant_type", "authorization_code"),
        ];
        let request = self.get(Api::Login, &query);
        self.call(Api::Login, request, &[secret, code], read_identity).await
    }
}

pub(crate) fn read_identity(body: &Value) -> Option<LoginIdentity> {
    let openid = body.get("openid").and_then(exact_text)?;
    let unionid = body.get("unionid").and_then(exact_text);
    Some(LoginIdentity { openid, unionid })
}
