//! What administrators and merchants do: scan a platform's link and tick permission sets, change them, take everything
//! back (wechat-api §9.4–§9.7).

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{
    Authorization, AuthorizationCode, DEVELOPMENT_SET, Platform, PlatformDeed, PreAuthCode, REMEMBERED,
};
use crate::clock::{MINUTE, Millis, SECOND};
use crate::error::ControlError;
use crate::push::Info;
use crate::state::State;

/// Life of the code in the redirect: what `expires_in` says there (wechat-api §9.4).
const REDIRECT_LIFE: Millis = 10 * MINUTE;
/// Life of the code in the push (wechat-api §14.12).
const PUSH_LIFE: Millis = 60 * MINUTE;

/// A scan of a platform's link by the administrator of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizeSpec {
    /// The app whose administrator scans; not empty.
    pub appid: String,
    /// The link, as the service under test gives it: the code, the redirect and what it limits are read from it.
    pub link: Option<String>,
    /// The code of the link, when the link itself is not given. Without both, the sandbox makes a code up.
    pub pre_auth_code: Option<String>,
    /// Where the link leads back to, when the link itself is not given.
    pub redirect_uri: Option<String>,
    /// What is ticked. Without, all that the link offers.
    pub permission_sets: Option<BTreeSet<u32>>,
}

/// An authorization as given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authorized {
    /// `authorized`, or `updateauthorized` when it was authorized already; none when nothing is pushed.
    pub info_type: Option<&'static str>,
    /// What was ticked.
    pub permission_sets: BTreeSet<u32>,
    /// The code of the redirect.
    pub auth_code: String,
    /// Life of that code, in seconds.
    pub expires_in: i64,
    /// Where the administrator's browser goes; none without a redirect.
    pub redirect: Option<String>,
    /// The push that tells of it.
    pub push: Option<u64>,
}

/// A platform's link, taken apart. Nothing in it is checked but its spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) component: String,
    pub(crate) pre_auth_code: Option<String>,
    pub(crate) redirect_uri: Option<String>,
    /// 1 official accounts, 2 Mini Programs, 3 both, and more.
    pub(crate) auth_type: Option<u32>,
    /// The only account that may authorize; it overrides `auth_type`.
    pub(crate) biz_appid: Option<String>,
    /// The only sets offered.
    pub(crate) offered: Option<BTreeSet<u32>>,
}

impl Scan {
    /// Reads the parameters of a link.
    pub(crate) fn read(given: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| given.get(name).filter(|v| !v.is_empty()).cloned();
        let sets = |list: String| list.split('|').filter_map(|id| id.trim().parse().ok()).collect();
        Self {
            component: text("component_appid").unwrap_or_default(),
            pre_auth_code: text("pre_auth_code"),
            redirect_uri: text("redirect_uri"),
            auth_type: text("auth_type").and_then(|kind| kind.parse().ok()),
            biz_appid: text("biz_appid"),
            offered: text("category_id_list").map(sets),
        }
    }

    fn of_link(link: &str) -> Result<Self, ControlError> {
        let url = Url::parse(link).map_err(|e| ControlError::invalid("link", e.to_string()))?;
        Ok(Self::read(&url.query_pairs().into_owned().collect()))
    }

    /// The sets that the page shows.
    pub(crate) fn offered_by(&self, platform: &Platform) -> BTreeSet<u32> {
        let asked = &platform.settings.permission_sets;
        self.offered.as_ref().map_or_else(|| asked.clone(), |only| asked & only)
    }

    /// Where the browser goes. Errors: not a link to the platform's domain.
    fn redirect(&self, platform: &Platform, code: &str) -> Result<Option<String>, ControlError> {
        let Some(uri) = &self.redirect_uri else { return Ok(None) };
        let mut url = Url::parse(uri).map_err(|e| ControlError::invalid("redirect_uri", e.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(ControlError::invalid("redirect_uri", "must be http or https"));
        }
        if platform.settings.login_domain.as_deref().is_some_and(|d| url.host_str() != Some(d)) {
            return Err(ControlError::refused(None, "redirect_uri is not on the platform's login domain"));
        }
        url.query_pairs_mut()
            .append_pair("auth_code", code)
            .append_pair("expires_in", &(REDIRECT_LIFE / SECOND).to_string());
        Ok(Some(url.into()))
    }
}

/// The apps whose administrator could use this link, as far as kind and `biz_appid` go.
pub(crate) fn candidates(state: &State, scan: &Scan) -> Vec<String> {
    state.apps.keys().filter(|appid| is_candidate(state, scan, appid)).cloned().collect()
}

fn is_candidate(state: &State, scan: &Scan, appid: &str) -> bool {
    let mini_program = state.apps.get(appid).is_some_and(|app| app.settings.account.mini_program);
    match (&scan.biz_appid, scan.auth_type) {
        (Some(only), _) => only == appid,
        (None, Some(1)) => !mini_program,
        (None, Some(2)) => mini_program,
        _ => true,
    }
}

impl Platform {
    /// A code for one authorization.
    pub(super) fn add_pre_auth_code(&mut self, code: String, life: Millis, now: Millis) {
        self.pre_auth_codes.retain(|_, c| now < c.expires + REMEMBERED);
        self.pre_auth_codes.insert(code, PreAuthCode { expires: now + life, used: false });
    }

    pub(crate) fn check_pre_auth_code(&self, code: &str, now: Millis) -> Result<(), ControlError> {
        match self.pre_auth_codes.get(code) {
            None => Err(ControlError::refused(None, "pre_auth_code is unknown")),
            Some(c) if c.used => Err(ControlError::refused(None, "pre_auth_code was used")),
            Some(c) if c.expires <= now => Err(ControlError::refused(None, "pre_auth_code is too old")),
            Some(_) => Ok(()),
        }
    }

    fn add_code(&mut self, code: String, appid: &str, life: Millis, now: Millis) -> i64 {
        self.codes.retain(|_, c| now < c.expires + REMEMBERED);
        let expires = now + life;
        self.codes.insert(code, AuthorizationCode { appid: appid.to_owned(), expires, used: false });
        expires / SECOND
    }
}

impl State {
    /// What the administrator of an app does with a platform's link.
    pub(super) fn authorize(
        &mut self,
        component: &str,
        spec: &AuthorizeSpec,
    ) -> Result<Authorized, ControlError> {
        let scan = match &spec.link {
            Some(_) if spec.pre_auth_code.is_some() || spec.redirect_uri.is_some() => {
                let reason = "holds pre_auth_code and redirect_uri: they cannot be given besides";
                return Err(ControlError::invalid("link", reason));
            }
            Some(link) => Scan::of_link(link)?,
            None => Scan {
                component: component.to_owned(),
                pre_auth_code: spec.pre_auth_code.clone(),
                redirect_uri: spec.redirect_uri.clone(),
                ..Scan::default()
            },
        };
        self.platform(component)?;
        if scan.component != component {
            return Err(ControlError::invalid("link", "is another platform's"));
        }
        if scan.pre_auth_code.is_none() && spec.link.is_some() {
            return Err(ControlError::invalid("link", "holds no pre_auth_code"));
        }
        self.scanned(&scan, &spec.appid, spec.permission_sets.as_ref())
    }

    /// Books an authorization after all that WeChat checks. Nothing changes when it is refused.
    pub(crate) fn scanned(
        &mut self,
        scan: &Scan,
        appid: &str,
        ticked: Option<&BTreeSet<u32>>,
    ) -> Result<Authorized, ControlError> {
        let (now, component) = (self.now(), scan.component.as_str());
        let ruling = self.platform_ruling(component);
        let platform = self.platform(component)?;
        if platform.settings.banned {
            return Err(ControlError::refused(61011, "the platform is shut down"));
        }
        if let Some(code) = &scan.pre_auth_code {
            platform.check_pre_auth_code(code, now)?;
        }
        self.app(appid)?;
        if !is_candidate(self, scan, appid) {
            return Err(ControlError::refused(
                None,
                "the link is for another account or another kind of account",
            ));
        }
        if !platform.settings.published && !platform.settings.test_list.iter().any(|a| a == appid) {
            let reason = "the platform is not published, and the account not on its test list";
            return Err(ControlError::refused(61028, reason));
        }
        let offered = scan.offered_by(platform);
        let sets = ticked.cloned().unwrap_or_else(|| offered.clone());
        self.check_sets(component, appid, &sets, &offered)?;
        let auth_code = self.ids.authorization_code();
        let redirect = scan.redirect(self.platform(component)?, &auth_code)?;

        // From here on nothing is refused.
        let mut dice = self.ids.nature();
        let (own_code, unchanged_pushes) = (
            ruling.reality.push_has_its_own_code.draw(&mut dice),
            ruling.reality.unchanged_sets_push.draw(&mut dice),
        );
        let pre_auth_code = scan.pre_auth_code.clone().unwrap_or_else(|| self.ids.pre_auth_code());
        let push_code = if own_code { self.ids.authorization_code() } else { auth_code.clone() };
        let refresh = self.ids.refresh_token();
        let platform = self.platform_mut(component)?;
        platform.add_pre_auth_code(pre_auth_code.clone(), MINUTE, now);
        if let Some(code) = platform.pre_auth_codes.get_mut(&pre_auth_code) {
            code.used = true;
        }
        let before = platform.authorization(appid).map(|a| a.sets.clone());
        let authorization = Authorization {
            in_force: true,
            sets: sets.clone(),
            since: now,
            refresh,
            older: BTreeSet::new(),
            queried: false,
        };
        platform.authorizers.insert(appid.to_owned(), authorization);
        let info_type = match &before {
            None => Some("authorized"),
            Some(before) if *before != sets || unchanged_pushes => Some("updateauthorized"),
            Some(_) => None,
        };
        platform.add_code(auth_code.clone(), appid, REDIRECT_LIFE, now);
        let mut expires = 0;
        if info_type.is_some() {
            let life = if own_code { PUSH_LIFE } else { REDIRECT_LIFE };
            expires = platform.add_code(push_code.clone(), appid, life, now);
        }
        if before.is_none() {
            // Tokens of an authorization that was taken back do not come back with the next one.
            self.tokens.revoke_held(component, Some(appid), now);
        }
        let push = info_type.and_then(|info_type| {
            let info = Info::Authorized {
                info_type,
                appid: appid.to_owned(),
                code: push_code,
                expires,
                pre_auth_code,
            };
            self.push_info(component, info, &ruling, &mut dice)
        });
        let deed = PlatformDeed::Authorized { permission_sets: sets.clone(), again: before.is_some() };
        self.note(Some(component), Some(appid), deed, push);
        let expires_in = REDIRECT_LIFE / SECOND;
        Ok(Authorized { info_type, permission_sets: sets, auth_code, expires_in, redirect, push })
    }

    /// The merchant takes an authorization back.
    pub(super) fn deauthorize(&mut self, component: &str, appid: &str) -> Result<Option<u64>, ControlError> {
        let ruling = self.platform_ruling(component);
        let mut dice = self.ids.nature();
        self.authorization_mut(component, appid)?.in_force = false;
        let info = Info::Unauthorized { appid: appid.to_owned() };
        let push = self.push_info(component, info, &ruling, &mut dice);
        self.note(Some(component), Some(appid), PlatformDeed::Unauthorized, push);
        Ok(push)
    }

    /// The merchant changes what is ticked. The refresh token stays (wechat-api §9.6); without a change nothing is pushed.
    pub(super) fn change_sets(
        &mut self,
        component: &str,
        appid: &str,
        sets: &BTreeSet<u32>,
    ) -> Result<Option<u64>, ControlError> {
        let (now, ruling) = (self.now(), self.platform_ruling(component));
        let offered = self.platform(component)?.settings.permission_sets.clone();
        let before = self.authorization_mut(component, appid)?.sets.clone();
        self.check_sets(component, appid, sets, &offered)?;
        if before == *sets {
            return Ok(None);
        }
        let mut dice: StdRng = self.ids.nature();
        let (code, pre_auth_code) = (self.ids.authorization_code(), self.ids.pre_auth_code());
        self.authorization_mut(component, appid)?.sets.clone_from(sets);
        let expires = self.platform_mut(component)?.add_code(code.clone(), appid, PUSH_LIFE, now);
        let info_type = "updateauthorized";
        let info = Info::Authorized { info_type, appid: appid.to_owned(), code, expires, pre_auth_code };
        let push = self.push_info(component, info, &ruling, &mut dice);
        let deed = PlatformDeed::SetsChanged { permission_sets: sets.clone() };
        self.note(Some(component), Some(appid), deed, push);
        Ok(push)
    }

    fn authorization_mut(
        &mut self,
        component: &str,
        appid: &str,
    ) -> Result<&mut Authorization, ControlError> {
        let found = self.platform_mut(component)?.authorizers.get_mut(appid).filter(|a| a.in_force);
        found.ok_or(ControlError::NotFound { what: "authorization" })
    }

    fn check_sets(
        &self,
        component: &str,
        appid: &str,
        sets: &BTreeSet<u32>,
        offered: &BTreeSet<u32>,
    ) -> Result<(), ControlError> {
        if let Some(other) = sets.difference(offered).next() {
            let reason = format!("{other} is not among those offered: {offered:?}");
            return Err(ControlError::invalid("permission_sets", reason));
        }
        let held = |(id, p): (&String, &Platform)| {
            let holds = p.authorization(appid).is_some_and(|a| a.sets.contains(&DEVELOPMENT_SET));
            (id != component && holds).then(|| id.clone())
        };
        match self.platforms.iter().find_map(held) {
            Some(other) if sets.contains(&DEVELOPMENT_SET) => {
                let reason =
                    format!("permission set {DEVELOPMENT_SET} is held by {other}, and only one can hold it");
                Err(ControlError::refused(None, reason))
            }
            _ => Ok(()),
        }
    }
}
