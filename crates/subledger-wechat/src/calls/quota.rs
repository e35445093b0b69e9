//! What WeChat lets an account call, and what it knows of a call that was refused.
//!
//! Figures are WeChat's and may be about one per cent off (§10). Decoding is tolerant (numbers as text, absent parts) but an
//! answer without the three figures of the day is no answer: a limit of zero invented here would stop all sending.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::answer::whole_number;
use crate::client::{Api, WeChatClient};
use crate::outcome::CallError;

/// A bound on calls within a short time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls allowed.
    pub calls: u64,
    /// Within so many seconds.
    pub seconds: u64,
}

/// How much of a call's daily quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiQuota {
    /// Calls a day.
    pub daily_limit: u64,
    /// Calls made today, by everybody who calls for this account.
    pub used: u64,
    /// Calls left today.
    pub remain: u64,
    /// The short-term bound, if WeChat names one.
    pub rate: Option<RateLimit>,
}

impl WeChatClient {
    /// `POST /cgi-bin/openapi/quota/get`: the quota of one call, named by its path.
    ///
    /// # Errors
    /// [`CallError`]; 76021 for a path WeChat does not know, 76022 for one of another account kind.
    pub async fn api_quota(&self, token: &SecretString, cgi_path: &str) -> Result<ApiQuota, CallError> {
        let query = [("access_token", token.expose_secret())];
        let request = self.post(Api::QuotaGet, &query, &json!({ "cgi_path": cgi_path }));
        self.call(Api::QuotaGet, request, &[token], read_quota).await
    }

    /// `POST /cgi-bin/clear_quota`: sets the day's counts of all calls of an account back to nothing. Ten times a month
    /// (48006 after that), shared by everybody who calls for this account: for operators only.
    ///
    /// # Errors
    /// [`CallError`]
    pub async fn clear_quota(&self, token: &SecretString, appid: &str) -> Result<(), CallError> {
        let query = [("access_token", token.expose_secret())];
        let request = self.post(Api::ClearQuota, &query, &json!({ "appid": appid }));
        self.call(Api::ClearQuota, request, &[token], |_| Some(())).await
    }

    /// `POST /cgi-bin/openapi/rid/get`: the address a call came from, as WeChat saw it. Of all that WeChat tells of a call
    /// (its body, which may name a user, is part of it) only the address is read.
    ///
    /// # Errors
    /// [`CallError`]; `Unknown` if the answer names no address.
    pub async fn address_of(&self, token: &SecretString, rid: &str) -> Result<String, CallError> {
        let query = [("access_token", token.expose_secret())];
        let request = self.post(Api::RidGet, &query, &json!({ "rid": rid }));
        self.call(Api::RidGet, request, &[token], read_address).await
    }
}

fn read_quota(body: &Value) -> Option<ApiQuota> {
    let quota = body.get("quota")?;
    let count = |of: &Value, name: &str| u64::try_from(whole_number(of.get(name)?)?).ok();
    let rate = |limit: &Value| {
        let (calls, seconds) = (count(limit, "call_count")?, count(limit, "refresh_second")?);
        (seconds > 0).then_some(RateLimit { calls, seconds })
    };
    Some(ApiQuota {
        daily_limit: count(quota, "daily_limit")?,
        used: count(quota, "used")?,
        remain: count(quota, "remain")?,
        rate: body.get("rate_limit").and_then(rate),
    })
}

/// Plain addresses only: what is shown to people and copied into an allow-list must not be whatever a server likes to say.
fn read_address(body: &Value) -> Option<String> {
    let text = body.get("request")?.get("client_ip")?.as_str()?.trim();
    let address: std::net::IpAddr = text.parse().ok()?;
    Some(address.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_sample_of_the_reference_is_read() {
        let body = json!({"errcode":0,"errmsg":"ok","quota":{"daily_limit":10_000_000,"used":1234,"remain":9_998_766},
            "rate_limit":{"call_count":1000,"refresh_second":60},"component_rate_limit":{"call_count":1000,"refresh_second":60}});
        let quota = read_quota(&body).unwrap();
        assert_eq!((quota.daily_limit, quota.used, quota.remain), (10_000_000, 1234, 9_998_766));
        assert_eq!(quota.rate, Some(RateLimit { calls: 1000, seconds: 60 }));
    }

    #[test]
    fn numbers_may_be_text_and_the_short_term_bound_may_be_absent() {
        let body = json!({"quota":{"daily_limit":"100","used":"1","remain":99,"more":{}},"rate_limit":{}});
        let quota = read_quota(&body).unwrap();
        assert_eq!((quota.daily_limit, quota.used, quota.remain, quota.rate), (100, 1, 99, None));
    }

    #[test]
    fn an_answer_without_the_figures_is_no_answer() {
        for bad in [
            json!({}),
            json!({"quota": null}),
            json!({"quota": {"daily_limit": 1, "used": 1}}),
            json!({"quota": {"daily_limit": -1, "used": 0, "remain": 0}}),
            json!({"quota": {"daily_limit": 1.5, "used": 0, "remain": 0}}),
            json!({"quota": {"daily_limit": "many", "used": 0, "remain": 0}}),
        ] {
            assert_eq!(read_quota(&bad), None, "{bad}");
        }
    }

    #[test]
    fn only_an_address_is_taken_for_one() {
        let of = |ip: Value| read_address(&json!({"request": {"client_ip": ip, "request_body": "{}"}}));
        assert_eq!(of(json!("203.0.113.9")).as_deref(), Some("203.0.113.9"));
        assert_eq!(of(json!(" 2001:db8::1 ")).as_deref(), Some("2001:db8::1"));
        for bad in [json!("a user's text"), json!(""), json!(7), json!(null)] {
            assert_eq!(of(bad.clone()), None, "{bad}");
        }
    }
}
