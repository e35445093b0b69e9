//! Access tokens of all apps and platforms: two independent families of an app's own with their quotas (wechat-api §1.1,
//! §1.2), a platform's, and those a platform holds for the apps that authorized it (§9.1).
//!
//! A replaced token is kept on record: WeChat tells "replaced" (40001) from "expired" (42001), and clients react
//! differently to the two.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

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

/// How another system of the company gets itself a token (wechat-api §1.4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OthersRefresh {
    /// `cgi-bin/token`: the app's token of that family has five minutes left.
    #[default]
    Normal,
    /// `stable_token` with `force_refresh`: the stable one ends at once.
    Forced,
}

/// A token handed out, with the seconds it still lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) token: String,
    pub(crate) expires_in: i64,
    /// It was made just now.
    pub(crate) fresh: bool,
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// An app's own, of either family.
    Own,
    /// A platform's (`component_access_token`); its appid is the platform's.
    Component,
    /// What a platform holds for an app (`authorizer_access_token`).
    Authorizer {
        /// The platform.
        component: String,
    },
}

/// Who a presented token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) appid: String,
    pub(crate) kind: TokenKind,
}

#[derive(Debug)]
struct Issued {
    appid: String,
    kind: TokenKind,
    expires: Millis,
    /// When it stops working because a newer one replaced it or it was revoked.
    dies: Option<Millis>,
}

#[derive(Debug, Default)]
struct AppTokens {
    normal: Option<String>,
    stable: Option<String>,
    /// Of a platform.
    component: Option<String>,
    /// By the platform that holds it.
    authorizer: BTreeMap<String, String>,
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
    /// When forgotten tokens are looked for next.
    next_look: Millis,
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
        let token = self.issue(appid, TokenKind::Own, ids, now);
        self.apps.entry(appid.to_owned()).or_default().normal = Some(token.clone());
        Ok(Granted { token, expires_in: LIFE / SECOND, fresh: true })
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
                return Ok(Granted { token: old, expires_in: left / SECOND, fresh: false });
            }
            // A rotation leaves the old token to its own end, which is the overlap; a forced one ends it now.
            if forced {
                self.retire(&old, now);
            }
        }
        let token = self.issue(appid, TokenKind::Own, ids, now);
        self.apps.entry(appid.to_owned()).or_default().stable = Some(token.clone());
        Ok(Granted { token, expires_in: LIFE / SECOND, fresh: true })
    }

    /// A new token of a platform; the one before works for `overlap` more.
    pub(crate) fn component(
        &mut self,
        component: &str,
        overlap: Millis,
        ids: &mut IdSource,
        now: Millis,
    ) -> Granted {
        let token = self.issue(component, TokenKind::Component, ids, now);
        let tokens = self.apps.entry(component.to_owned()).or_default();
        if let Some(old) = tokens.component.replace(token.clone()) {
            self.retire(&old, now + overlap);
        }
        Granted { token, expires_in: LIFE / SECOND, fresh: true }
    }

    /// A new token that `component` holds for an app; the one before works for `overlap` more.
    pub(crate) fn authorizer(
        &mut self,
        component: &str,
        appid: &str,
        overlap: Millis,
        ids: &mut IdSource,
        now: Millis,
    ) -> Granted {
        let kind = TokenKind::Authorizer { component: component.to_owned() };
        let token = self.issue(appid, kind, ids, now);
        let tokens = self.apps.entry(appid.to_owned()).or_default();
        if let Some(old) = tokens.authorizer.insert(component.to_owned(), token.clone()) {
            self.retire(&old, now + overlap);
        }
        Granted { token, expires_in: LIFE / SECOND, fresh: true }
    }

    /// Calls that asked for a token today: of the normal family, and of the stable one.
    pub(crate) fn used_today(&self, appid: &str, now: Millis) -> (u64, u64) {
        self.apps.get(appid).map_or((0, 0), |t| (t.normal_day.used_day(now), t.stable_day.used_day(now)))
    }

    /// Forgets what was used up of the token calls' quotas: of the normal family, of the stable one.
    pub(crate) fn clear_quota(&mut self, appid: &str, normal: bool, stable: bool) {
        let Some(tokens) = self.apps.get_mut(appid) else { return };
        if normal {
            tokens.normal_day.clear();
        }
        if stable {
            for window in [&mut tokens.stable_minute, &mut tokens.stable_day, &mut tokens.force_day] {
                window.clear();
            }
        }
    }

    /// The app (or platform) a token belongs to, whether or not it still works.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        self.issued.get(token).map(|i| i.appid.as_str())
    }

    /// The platform that holds a token for an app, whether or not it still works.
    pub(crate) fn holder(&self, token: &str) -> Option<&str> {
        match &self.issued.get(token)?.kind {
            TokenKind::Authorizer { component } => Some(component),
            _ => None,
        }
    }

    /// Who a token speaks for in calls that act on an app. A platform's own token is 61015 there.
    pub(crate) fn judge(&self, token: Option<&str>, now: Millis) -> Result<Bearer, WxError> {
        let bearer = self.bearer(token, now)?;
        if bearer.kind == TokenKind::Component { Err(WxError::new(61015)) } else { Ok(bearer) }
    }

    /// The platform that a token speaks for in a platform's own calls. Any other token is 61014 there.
    pub(crate) fn judge_component(&self, token: Option<&str>, now: Millis) -> Result<String, WxError> {
        let bearer = self.bearer(token, now)?;
        if bearer.kind == TokenKind::Component { Ok(bearer.appid) } else { Err(WxError::new(61014)) }
    }

    fn bearer(&self, token: Option<&str>, now: Millis) -> Result<Bearer, WxError> {
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
        Ok(Bearer { appid: issued.appid.clone(), kind: issued.kind.clone() })
    }

    /// Ends every token of an app or a platform at once, as when somebody resets its secret.
    pub(crate) fn revoke(&mut self, appid: &str, now: Millis) -> usize {
        self.revoke_where(now, |issued| issued.appid == appid)
    }

    /// Ends the tokens that a platform holds: for one app, or for all.
    pub(crate) fn revoke_held(&mut self, component: &str, appid: Option<&str>, now: Millis) -> usize {
        self.revoke_where(now, |issued| {
            let held = matches!(&issued.kind, TokenKind::Authorizer { component: c } if c == component);
            held && appid.is_none_or(|appid| issued.appid == appid)
        })
    }

    /// Ends every token for apps, or for these; those of platforms themselves stay.
    pub(crate) fn revoke_all(&mut self, appids: Option<&BTreeSet<String>>, now: Millis) -> usize {
        self.revoke_where(now, |issued| {
            issued.kind != TokenKind::Component && appids.is_none_or(|ids| ids.contains(&issued.appid))
        })
    }

    /// A new token of an app as somebody else gets it, past all quotas.
    pub(crate) fn refresh_elsewhere(
        &mut self,
        appid: &str,
        how: OthersRefresh,
        ids: &mut IdSource,
        now: Millis,
    ) {
        let token = self.issue(appid, TokenKind::Own, ids, now);
        let tokens = self.apps.entry(appid.to_owned()).or_default();
        let (current, dies) = match how {
            OthersRefresh::Normal => (&mut tokens.normal, now + OVERLAP),
            OthersRefresh::Forced => (&mut tokens.stable, now),
        };
        if let Some(old) = current.replace(token) {
            self.retire(&old, dies);
        }
    }

    /// Ends every token that still works and that `wanted` names; gives their number.
    fn revoke_where(&mut self, now: Millis, wanted: impl Fn(&Issued) -> bool) -> usize {
        let works = |i: &Issued| now < i.expires && i.dies.is_none_or(|at| now < at);
        let mut ended = 0;
        for issued in self.issued.values_mut().filter(|i| works(i) && wanted(i)) {
            issued.dies = Some(now);
            ended += 1;
        }
        let issued = &self.issued;
        let dead = |token: &String| issued.get(token).is_none_or(|i| i.dies.is_some_and(|at| now >= at));
        for tokens in self.apps.values_mut() {
            for current in [&mut tokens.normal, &mut tokens.stable, &mut tokens.component] {
                current.take_if(|token| dead(token));
            }
            tokens.authorizer.retain(|_, token| !dead(token));
        }
        ended
    }

    fn issue(&mut self, appid: &str, kind: TokenKind, ids: &mut IdSource, now: Millis) -> String {
        // Looking at every token for every new one would make a storm of refreshes slow.
        if now >= self.next_look {
            self.issued.retain(|_, i| now < i.expires + REMEMBERED);
            self.next_look = now + OVERLAP;
        }
        let token = ids.access_token();
        let issued = Issued { appid: appid.to_owned(), kind, expires: now + LIFE, dies: None };
        self.issued.insert(token.clone(), issued);
        token
    }

    fn retire(&mut self, token: &str, at: Millis) {
        if let Some(issued) = self.issued.get_mut(token) {
            issued.dies = Some(at);
        }
    }
}
