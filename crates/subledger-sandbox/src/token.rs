//! Access tokens of all apps: two independent families and their quotas (wechat-api §1.1, §1.2).
//!
//! A replaced token is kept on record: WeChat tells "replaced" (40001) from "expired" (42001), and clients react
//! differently to the two.

use std::collections::{BTreeMap, HashMap};

use crate::app::AppSettings;
use crate::clock::{MINUTE, Millis, SECOND, Window};
use crate::errcode::WxError;
use crate::ids::IdSource;

/// Life of a token.
const LIFE: Millis = 7_200 * SECOND;
/// How long a replaced token of the normal family still works, and how early the stable family rotates.
const OVERLAP: Millis = 5 * MINUTE;
/// Within this time after a forced refresh another one changes nothing.
const FORCE_GAP: Millis = 30 * SECOND;
/// Expired tokens are forgotten this long after their end; they then count as unknown.
const REMEMBERED: Millis = 24 * 60 * MINUTE;
/// Anything shorter cannot be an access token: 40014 rather than 40001.
const SHORTEST: usize = 16;

/// A token handed out, with the seconds it still lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) token: String,
    pub(crate) expires_in: i64,
}

#[derive(Debug)]
struct Issued {
    appid: String,
    expires: Millis,
    /// When it stops working because a newer one replaced it or it was revoked.
    dies: Option<Millis>,
}

#[derive(Debug, Default)]
struct AppTokens {
    normal: Option<String>,
    stable: Option<String>,
    last_force: Option<Millis>,
    normal_day: Window,
    stable_minute: Window,
    stable_day: Window,
    force_day: Window,
}

/// Every token ever issued and still remembered.
#[derive(Debug, Default)]
pub(crate) struct TokenBook {
    issued: HashMap<String, Issued>,
    apps: BTreeMap<String, AppTokens>,
}

impl TokenBook {
    /// `GET /cgi-bin/token`: always a new token; the one before works five more minutes.
    pub(crate) fn fresh(
        &mut self,
        appid: &str,
        limits: &AppSettings,
        ids: &mut IdSource,
        now: Millis,
    ) -> Result<Granted, WxError> {
        let tokens = self.apps.entry(appid.to_owned()).or_default();
        if !tokens.normal_day.admit_day(now, limits.token_daily_limit) {
            return Err(WxError::new(45009));
        }
        if let Some(old) = tokens.normal.take() {
            self.retire(&old, now + OVERLAP);
        }
        let token = self.issue(appid, ids, now);
        self.apps.entry(appid.to_owned()).or_default().normal = Some(token.clone());
        Ok(Granted { token, expires_in: LIFE / SECOND })
    }

    /// `POST /cgi-bin/stable_token`: the same token until five minutes before its end.
    pub(crate) fn stable(
        &mut self,
        appid: &str,
        force: bool,
        limits: &AppSettings,
        ids: &mut IdSource,
        now: Millis,
    ) -> Result<Granted, WxError> {
        let tokens = self.apps.entry(appid.to_owned()).or_default();
        if !tokens.stable_minute.admit_minute(now, limits.stable_per_minute_limit) {
            return Err(WxError::new(45011));
        }
        if !tokens.stable_day.admit_day(now, limits.stable_daily_limit) {
            return Err(WxError::new(45009));
        }
        let current = tokens.stable.clone();
        let throttled = tokens.last_force.is_some_and(|at| now < at + FORCE_GAP);
        let forced = force && !(throttled && current.is_some());
        if forced {
            if !tokens.force_day.admit_day(now, limits.force_daily_limit) {
                return Err(WxError::new(45009));
            }
            tokens.last_force = Some(now);
        }
        if let Some(old) = current {
            let left = self.issued.get(&old).map_or(0, |i| i.expires - now);
            if !forced && left > OVERLAP {
                return Ok(Granted { token: old, expires_in: left / SECOND });
            }
            // A rotation leaves the old token to its own end, which is the overlap; a forced one ends it now.
            if forced {
                self.retire(&old, now);
            }
        }
        let token = self.issue(appid, ids, now);
        self.apps.entry(appid.to_owned()).or_default().stable = Some(token.clone());
        Ok(Granted { token, expires_in: LIFE / SECOND })
    }

    /// The app a token belongs to, whether or not it still works.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        self.issued.get(token).map(|i| i.appid.as_str())
    }

    /// The app that a presented token speaks for now.
    pub(crate) fn judge(&self, token: Option<&str>, now: Millis) -> Result<String, WxError> {
        let token = token.filter(|t| !t.is_empty()).ok_or_else(|| WxError::new(41001))?;
        let shaped = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if token.len() < SHORTEST || !token.chars().all(shaped) {
            return Err(WxError::new(40014));
        }
        let issued = self.issued.get(token).ok_or_else(|| WxError::new(40001))?;
        if now >= issued.expires {
            return Err(WxError::new(42001));
        }
        if issued.dies.is_some_and(|at| now >= at) {
            return Err(WxError::new(40001));
        }
        Ok(issued.appid.clone())
    }

    /// Ends every token of an app at once, as when somebody resets its secret.
    pub(crate) fn revoke(&mut self, appid: &str, now: Millis) {
        if let Some(tokens) = self.apps.get_mut(appid) {
            tokens.normal = None;
            tokens.stable = None;
        }
        for issued in self.issued.values_mut().filter(|i| i.appid == appid) {
            issued.dies = Some(issued.dies.map_or(now, |at| at.min(now)));
        }
    }

    fn issue(&mut self, appid: &str, ids: &mut IdSource, now: Millis) -> String {
        self.issued.retain(|_, i| now < i.expires + REMEMBERED);
        let token = ids.access_token();
        let issued = Issued { appid: appid.to_owned(), expires: now + LIFE, dies: None };
        self.issued.insert(token.clone(), issued);
        token
    }

    fn retire(&mut self, token: &str, at: Millis) {
        if let Some(issued) = self.issued.get_mut(token) {
            issued.dies = Some(at);
        }
    }
}
