//! A third-party platform: WeChat calls it a component.
//!
//! An administrator lets the platform act for a Mini Program by scanning a QR code. What comes of it is a chain of secrets,
//! each bought with the one before it: the ticket WeChat pushes every ten minutes, the platform's own token, a pre-auth code,
//! the authorization code that comes back, and at its end a token and a refresh token per Mini Program (§9). Each call of
//! the chain is one method of [`ComponentClient`]; the pages to send the administrator to are in [`AuthorizationPages`]; what
//! WeChat pushes by itself is read by [`crate::push::component`].
//!
//! Nothing is kept here: ticket, tokens and refresh tokens are handed in and handed out, because losing them is an outage
//! and keeping them is the store's trade. A token WeChat no longer accepts is [`CallError::StaleToken`], and the caller decides
//! whether to buy another. Calls *for* a Mini Program are those of [`crate::WeChatClient`], with the authorizer's token.

mod account;
mod authorizer;
mod links;
mod platform;
mod sets;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::client::{Api, WeChatClient};
use crate::outcome::{CallError, ConnectFailure};

pub use account::{AuthorizerInfo, Category};
pub use authorizer::{Authorization, AuthorizerGrant, AuthorizerPage, ListedAuthorizer, MOST_LISTED};
pub use links::{AuthorizationLinks, AuthorizationPages, H5_BASE_URL, LinkFault, LinkRequest, PC_BASE_URL};
pub use platform::{PreAuthCode, StartPushTicket};
pub use sets::{DEVELOPMENT_SET, PermissionSet, PermissionSets};

/// Calls WeChat as one platform. Cheap to clone.
#[derive(Clone)]
pub struct ComponentClient {
    client: WeChatClient,
    component_appid: String,
}

impl fmt::Debug for ComponentClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentClient")
            .field("component_appid", &self.component_appid)
            .finish_non_exhaustive()
    }
}

impl ComponentClient {
    /// A client of the platform with this AppID.
    #[must_use]
    pub fn new(client: WeChatClient, component_appid: impl Into<String>) -> Self {
        Self { client, component_appid: component_appid.into() }
    }

    /// Whose calls these are.
    #[must_use]
    pub fn component_appid(&self) -> &str {
        &self.component_appid
    }

    /// A POST of a JSON object that begins with the platform's AppID. Editions of the pages disagree on the name of the query
    /// parameter (§14.13); `component_access_token` is the one that has always worked.
    async fn post<T>(
        &self,
        api: Api,
        token: Option<&SecretString>,
        fields: &[(&str, Field<'_>)],
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, CallError> {
        let mut secrets: Vec<&SecretString> = token.into_iter().collect();
        let mut body = Map::new();
        body.insert("component_appid".to_owned(), self.component_appid.as_str().into());
        for (name, field) in fields {
            let value = match field {
                Field::Text(text) => Value::from(*text),
                Field::Number(number) => Value::from(*number),
                Field::Secret(secret) => {
                    secrets.push(secret);
                    Value::from(secret.expose_secret())
                }
            };
            body.insert((*name).to_owned(), value);
        }
        present(&secrets)?;
        let query: Vec<(&str, &str)> =
            token.map(|token| ("component_access_token", token.expose_secret())).into_iter().collect();
        let request = self.client.post(api, &query, &body);
        self.client.call(api, request, &secrets, read).await
    }
}

/// One field of a body.
#[derive(Clone, Copy)]
enum Field<'a> {
    Text(&'a str),
    Number(u64),
    Secret(&'a SecretString),
}

/// Refuses to present an empty secret. The usual way to get 61023 and 61006 is to send nothing after a store was lost, and
/// WeChat's answer would then be taken for its word about a value that was never shown to it.
fn present(secrets: &[&SecretString]) -> Result<(), CallError> {
    if secrets.iter().any(|secret| secret.expose_secret().is_empty()) {
        return Err(CallError::NotReached(ConnectFailure::NotBuilt));
    }
    Ok(())
}
