//! WeChat's error codes with the wording it uses, and the bodies they are sent in.
//!
//! Wording is copied from traffic where it is known (wechat-api §1.3, §2.3, §11); clients must key on the code alone, so
//! unknown wordings are merely plausible.

use serde_json::{Value, json};

/// One refusal: the code and the message before its rid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WxError {
    pub(crate) code: i64,
    pub(crate) message: String,
}

impl WxError {
    /// A refusal with the usual wording of its code.
    pub(crate) fn new(code: i64) -> Self {
        Self { code, message: usual_message(code).to_owned() }
    }

    pub(crate) fn with(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The JSON body, ending in the rid that every error carries.
    pub(crate) fn body(&self, rid: &str) -> Value {
        json!({ "errcode": self.code, "errmsg": format!("{} rid: {rid}", self.message) })
    }
}

/// The wording WeChat uses for a code.
fn usual_message(code: i64) -> &'static str {
    match code {
        -1 => "system error",
        404 => "api method not allowed",
        40001 => {
            "invalid credential, access_token is invalid or not latest, could get access_token by \
             getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
        }
        40002 => "invalid grant_type",
        40003 => "invalid openid",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40029 => "invalid code,",
        40037 => "invalid template_id",
        40066 => "invalid url",
        40097 => "invalid args",
        40125 => "invalid appsecret",
        40163 => "code been used",
        40165 => "invalid weapp pagepath",
        40170 => "args count exceed count limit",
        40226 => "code blocked",
        40243 => "AppSecret is frozen",
        41001 => "access_token missing",
        41002 => "appid missing",
        41004 => "appsecret missing",
        41008 => "missing code",
        41030 => "invalid page",
        42001 => "access_token expired",
        43001 => "require GET method",
        43002 => "require POST method",
        43101 => "user refuse to accept the msg",
        43107 => "subscribe message capability is banned",
        43108 => "Cannot make concurrent calls to the same OpenID, please try again",
        44002 => "empty post data",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slower, retry next minute",
        45168 => "keyword in blacklist",
        47001 => "data format error",
        47003 => "argument invalid!",
        48001 => "api unauthorized",
        48006 => "forbid to clear quota because of reaching the limit",
        50007 => "account is frozen",
        61003 => "component is not authorized by this account",
        61004 => "access clientip is not registered",
        61005 => "component ticket is expired",
        61006 => "component ticket is invalid",
        61007 => "api is unauthorized to component",
        61009 => "code is invalid",
        61010 => "code is expired",
        61011 => "invalid component",
        61014 => "must use component token for component api",
        61015 => "must not use component token for normal api",
        61023 => "refresh_token is invalid",
        61024 => "must use api(api_component_token) to get token for component account",
        61028 => "component is not published",
        76003 => "cgi_path must start with /",
        76021 => "cgi_path not found, please check",
        76022 => "could not use this cgi_path, no permission",
        _ => "error",
    }
}
