//! What an app's calls have used up of WeChat's daily quotas, and forgetting it (wechat-api §10).
//!
//! Quotas start anew at midnight China time. Calls of a platform on an app's behalf use up the app's.

use rand::RngExt;
use serde_json::{Value, json};

use crate::app::{App, AppSettings};
use crate::clock::Millis;
use crate::errcode::WxError;
use crate::state::State;
use crate::token::TokenKind;

/// What `openapi/quota/get` shows of a call that the app's switches do not limit.
const NO_LIMIT: u64 = 1_000_000_000;
/// The seconds that the limits of this sandbox go by.
const MINUTE_SECONDS: u64 = 60;

/// A call with a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quota {
    Send,
    Templates,
    Token,
    StableToken,
}

impl Quota {
    const ALL: [Self; 4] = [Self::Send, Self::Templates, Self::Token, Self::StableToken];

    const fn path(self) -> &'static str {
        match self {
            Self::Send => "/cgi-bin/message/subscribe/send",
            Self::Templates => "/wxaapi/newtmpl/gettemplate",
            Self::Token => "/cgi-bin/token",
            Self::StableToken => "/cgi-bin/stable_token",
        }
    }

    /// Reads a `cgi_path`.
    fn of_path(path: &str) -> Result<Self, WxError> {
        if !path.starts_with('/') {
            return Err(WxError::new(76003));
        }
        if path.starts_with("/sns/") {
            return Err(WxError::new(76022));
        }
        Self::ALL.into_iter().find(|quota| quota.path() == path).ok_or_else(|| WxError::new(76021))
    }

    const fn daily_limit(self, settings: &AppSettings) -> u64 {
        match self {
            Self::Send => settings.daily_limit,
            Self::Templates => settings.template_daily_limit,
            Self::Token => settings.token_daily_limit,
            Self::StableToken => settings.stable_daily_limit,
        }
    }

    const fn minute_limit(self, settings: &AppSettings) -> u64 {
        match self {
            Self::Send => settings.per_minute_limit,
            Self::StableToken => settings.stable_per_minute_limit,
            Self::Templates | Self::Token => 0,
        }
    }
}

impl State {
    fn used(&self, app: &App, appid: &str, quota: Quota, now: Millis) -> u64 {
        let (token, stable) = self.tokens.used_today(appid, now);
        match quota {
            Quota::Send => app.send_day.used_day(now),
            Quota::Templates => app.template_day.used_day(now),
            Quota::Token => token,
            Quota::StableToken => stable,
        }
    }

    /// `openapi/quota/get`.
    pub(crate) fn quota(&mut self, token: Option<&str>, ip: &str, path: &str) -> Result<Value, WxError> {
        let now = self.now();
        let bearer = self.tokens.judge(token, now)?;
        let standing = self.standing(&bearer, ip);
        standing.ip.and(standing.authorization)?;
        let quota = Quota::of_path(path)?;
        let wrong_by = self.ruling(&bearer.appid).map_or(0.0, |ruling| ruling.reality.quota_wrong_by);
        let mut dice = self.ids.nature();
        let app = self.apps.get(&bearer.appid).ok_or_else(|| WxError::new(40013))?;
        let (used, limit) = (self.used(app, &bearer.appid, quota, now), quota.daily_limit(&app.settings));
        let limit = if limit == 0 { NO_LIMIT } else { limit };
        let used = blurred(used, wrong_by * dice.random_range(-1.0..=1.0)).min(limit);
        let mut body = json!({
            "errcode": 0,
            "errmsg": "ok",
            "quota": { "daily_limit": limit, "used": used, "remain": limit - used },
        });
        let minute = quota.minute_limit(&app.settings);
        if minute > 0 {
            let rate = json!({ "call_count": minute, "refresh_second": MINUTE_SECONDS });
            if matches!(bearer.kind, TokenKind::Authorizer { .. }) {
                body["component_rate_limit"] = rate.clone();
            }
            body["rate_limit"] = rate;
        }
        Ok(body)
    }

    /// `clear_quota`, and `openapi/quota/clear` with a path; `named` is the app that the body names, if it has to.
    pub(crate) fn clear_quota(
        &mut self,
        token: Option<&str>,
        ip: &str,
        named: Option<&str>,
        path: Option<&str>,
    ) -> Result<Value, WxError> {
        let bearer = self.tokens.judge(token, self.now())?;
        let standing = self.standing(&bearer, ip);
        standing.ip.and(standing.authorization)?;
        if named.is_some_and(|appid| appid != bearer.appid) {
            return Err(WxError::new(40013));
        }
        let quota = path.map(Quota::of_path).transpose()?;
        self.cleared(&bearer.appid, quota)
    }

    /// `clear_quota/v2`, which needs no token.
    pub(crate) fn clear_quota_by_secret(&mut self, appid: &str, secret: &str) -> Result<Value, WxError> {
        self.credentials(appid, secret)?;
        self.cleared(appid, None)
    }

    /// All ways to clear share the ten uses of a month.
    fn cleared(&mut self, appid: &str, quota: Option<Quota>) -> Result<Value, WxError> {
        let now = self.now();
        let app = self.apps.get_mut(appid).ok_or_else(|| WxError::new(40013))?;
        if !app.clear_month.admit_month(now, app.settings.clear_monthly_limit) {
            return Err(WxError::new(48006));
        }
        let all = |wanted: Quota| quota.is_none_or(|quota| quota == wanted);
        if all(Quota::Send) {
            app.send_day.clear();
            app.send_minute.clear();
        }
        if all(Quota::Templates) {
            app.template_day.clear();
        }
        self.tokens.clear_quota(appid, all(Quota::Token), all(Quota::StableToken));
        Ok(json!({ "errcode": 0, "errmsg": "ok" }))
    }
}

/// `used`, wrong by this share of it.
fn blurred(used: u64, share: f64) -> u64 {
    let off = (used as f64 * share.abs()) as u64;
    if share < 0.0 { used - off.min(used) } else { used + off }
}
