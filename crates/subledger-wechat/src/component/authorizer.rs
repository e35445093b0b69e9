//! Calls about the Mini Programs that authorized the platform: their tokens and the list of them.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::sets::PermissionSets;
use super::{ComponentClient, Field, present};
use crate::answer::{exact_text, whole_number};
use crate::calls::login::{LoginIdentity, read_identity};
use crate::calls::token::{TokenGrant, read_named_grant};
use crate::client::Api;
use crate::outcome::CallError;

/// Most accounts that one page of the list can have.
pub const MOST_LISTED: u32 = 500;

/// What an authorization code bought.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// The AppID of the account that authorized. Not necessarily the one that was meant: whoever scans decides.
    pub appid: String,
    /// A token to act for the account. WeChat gives none to accounts without any right to call.
    pub token: Option<TokenGrant>,
    /// The refresh token: good until the account ends the authorization or authorizes anew; the one before it is dead now.
    pub refresh_token: Option<SecretString>,
    /// What was ticked.
    pub permission_sets: PermissionSets,
}

/// A new token to act for an account.
#[derive(Debug, Clone)]
pub struct AuthorizerGrant {
    /// The token.
    pub token: TokenGrant,
    /// The refresh token to use from now on; to be kept every time (§9.3). `None`: go on with the one that was presented.
    pub refresh_token: Option<SecretString>,
}

/// One account of the list.
#[derive(Debug, Clone)]
pub struct ListedAuthorizer {
    /// Its AppID.
    pub appid: String,
    /// Its refresh token; absent until the code of its authorization has been used (§9.6).
    pub refresh_token: Option<SecretString>,
    /// When it authorized, in seconds since the Unix epoch.
    pub authorized_at: Option<i64>,
}

/// One page of the accounts that authorized the platform.
#[derive(Debug, Clone)]
pub struct AuthorizerPage {
    /// How many accounts there are altogether.
    pub total: u64,
    /// Those of this page that could be read.
    pub accounts: Vec<ListedAuthorizer>,
    /// How many entries of this page could not be read. Unless 0, absence does not prove that an account has left.
    pub undecodable: usize,
}

impl ComponentClient {
    /// `POST /cgi-bin/component/api_query_auth`: turns an authorization code into tokens. A code works once: after an unknown
    /// outcome it may be spent, and [`Self::authorizer_list`] finds the refresh token then.
    ///
    /// # Errors
    /// [`CallError`]; a wrong, used or old code is a refusal of class `AuthorizationCode`.
    pub async fn query_auth(
        &self,
        token: &SecretString,
        authorization_code: &SecretString,
    ) -> Result<Authorization, CallError> {
        let fields = [("authorization_code", Field::Secret(authorization_code))];
        self.post(Api::QueryAuth, Some(token), &fields, read_authorization).await
    }

    /// `POST /cgi-bin/component/api_authorizer_token`: a new token to act for an account, for two hours. An empty refresh token
    /// is not sent.
    ///
    /// # Errors
    /// [`CallError`]; a refresh token that is superseded, or of an account that ended the authorization, is a refusal of class
    /// `NotAuthorized`.
    pub async fn authorizer_token(
        &self,
        token: &SecretString,
        appid: &str,
        refresh_token: &SecretString,
    ) -> Result<AuthorizerGrant, CallError> {
        let fields = [
            ("authorizer_appid", Field::Text(appid)),
            ("authorizer_refresh_token", Field::Secret(refresh_token)),
        ];
        self.post(Api::AuthorizerToken, Some(token), &fields, read_grant).await
    }

    /// `POST /cgi-bin/component/api_get_authorizer_list`: the accounts that authorized the platform, with their refresh tokens.
    /// The way back when refresh tokens were lost. `count` is cut to [`MOST_LISTED`].
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn authorizer_list(
        &self,
        token: &SecretString,
        offset: u64,
        count: u32,
    ) -> Result<AuthorizerPage, CallError> {
        let count = u64::from(count.min(MOST_LISTED));
        let fields = [("offset", Field::Number(offset)), ("count", Field::Number(count))];
        self.post(Api::AuthorizerList, Some(token), &fields, read_page).await
    }

    /// `GET /sns/component/jscode2session`: the login of a Mini Program whose secret nobody here has.
    ///
    /// # Errors
    /// [`CallError`]; a wrong, used or old code is a refusal of class `LoginCode`, an account that has not authorized the
    /// platform one of class `NotAuthorized`.
    pub async fn jscode2session(
        &self,
        token: &SecretString,
        appid: &str,
        code: &SecretString,
    ) -> Result<LoginIdentity, CallError> {
        present(&[token, code])?;
        let query = [
            ("appid", appid),
            ("js_code", code.expose_secret()),
            ("grant_type", "authorization_code"),
            ("component_appid", &self.component_appid),
            ("component_access_token", token.expose_secret()),
        ];
        let request = self.client.get(Api::ComponentLogin, &query);
        self.client.call(Api::ComponentLogin, request, &[token, code], read_identity).await
    }
}

/// A secret that may be absent; empty is absent.
pub(super) fn read_secret(body: &Value, name: &str) -> Option<SecretString> {
    body.get(name)?.as_str().filter(|text| !text.is_empty()).map(SecretString::from)
}

fn read_authorization(body: &Value) -> Option<Authorization> {
    let info = body.get("authorization_info")?;
    Some(Authorization {
        appid: info.get("authorizer_appid").and_then(exact_text)?,
        token: read_named_grant(info, "authorizer_access_token"),
        refresh_token: read_secret(info, "authorizer_refresh_token"),
        permission_sets: PermissionSets::read(info.get("func_info"))?,
    })
}

fn read_grant(body: &Value) -> Option<AuthorizerGrant> {
    let token = read_named_grant(body, "authorizer_access_token")?;
    Some(AuthorizerGrant { token, refresh_token: read_secret(body, "authorizer_refresh_token") })
}

fn read_page(body: &Value) -> Option<AuthorizerPage> {
    let entries = body.get("list")?.as_array()?;
    let total = body.get("total_count").and_then(whole_number).and_then(|total| u64::try_from(total).ok())?;
    let accounts: Vec<ListedAuthorizer> = entries.iter().filter_map(read_listed).collect();
    let undecodable = entries.len() - accounts.len();
    Some(AuthorizerPage { total, accounts, undecodable })
}

fn read_listed(entry: &Value) -> Option<ListedAuthorizer> {
    Some(ListedAuthorizer {
        appid: entry.get("authorizer_appid").and_then(exact_text)?,
        refresh_token: read_secret(entry, "refresh_token"),
        authorized_at: entry.get("auth_time").and_then(whole_number).filter(|time| *time > 0),
    })
}
