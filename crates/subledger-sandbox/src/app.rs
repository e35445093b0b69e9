//! One simulated Mini Program: its switches, templates, users and login codes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{MINUTE, Millis, Window};
use crate::errcode::WxError;
use crate::error::ControlError;
use crate::push::{PushView, Target};
use crate::reality::{ProfileName, Ruling};
use crate::template::Template;
use crate::user::{User, UserCounts};

/// Life of a login code (wechat-api §5.1).
const CODE_LIFE: Millis = 5 * MINUTE;
/// Codes are forgotten this long after they were made; they then count as invalid.
const CODE_REMEMBERED: Millis = 60 * MINUTE;
/// Logins a minute and user (wechat-api §5.1).
const LOGINS_PER_MINUTE: u64 = 100;

/// A new app: its credentials and any of the switches of [`AppSettings`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AppSpec {
    /// The app's id; not empty.
    pub appid: String,
    /// The app's secret; not empty.
    pub secret: String,
    /// Switches; those left out have their defaults.
    #[serde(flatten)]
    pub settings: AppSettings,
}

impl AppSpec {
    /// An app with every switch at its default.
    pub fn new(appid: &str, secret: &str) -> Self {
        Self { appid: appid.to_owned(), secret: secret.to_owned(), settings: AppSettings::default() }
    }
}

/// Which families of calls an app may make; one switched off answers 48001.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    /// Sending.
    pub send: bool,
    /// Template management.
    pub templates: bool,
    /// Login.
    pub login: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { send: true, templates: true, login: true }
    }
}

/// What an account shows of itself to a platform it authorized (wechat-api §9.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// A Mini Program; otherwise an official account, whose info has no `MiniProgramInfo`. Default true.
    pub mini_program: bool,
    /// Name. Default 示例小程序.
    pub nick_name: String,
    /// Picture.
    pub head_img: String,
    /// Company. Default 示例公司.
    pub principal_name: String,
    /// Picture of its QR code.
    pub qrcode_url: String,
    /// Verified by WeChat. Default true.
    pub verified: bool,
    /// 1 normal; others are closed, banned and so on. Default 1.
    pub account_status: u32,
    /// Hosts that its pages may call.
    pub request_domains: Vec<String>,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            mini_program: true,
            nick_name: "示例小程序".to_owned(),
            head_img: "https://example.invalid/h.png".to_owned(),
            principal_name: "示例公司".to_owned(),
            qrcode_url: "https://example.invalid/q.png".to_owned(),
            verified: true,
            account_status: 1,
            request_domains: vec!["https://example.invalid".to_owned()],
        }
    }
}

/// The switches of an app. Limits: 0 means none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// Token calls from an address outside `ip_allowlist` answer 40164.
    pub ip_allowlist_on: bool,
    /// Addresses allowed when the switch is on.
    pub ip_allowlist: Vec<String>,
    /// The secret is frozen: token and login calls answer 40243.
    pub frozen: bool,
    /// The subscription capability is banned: sends answer 43107, taps 20005.
    pub banned: bool,
    /// Families of calls allowed.
    pub permissions: Permissions,
    /// Pages of the released version; when not empty, other pages answer 41030.
    pub pages: Vec<String>,
    /// A value holding one of these words answers 45168.
    pub sensitive_words: Vec<String>,
    /// Sends a minute that reach the rate check (45011). Default none.
    pub per_minute_limit: u64,
    /// Sends a China-time day (45009). Default 10,000,000 (wechat-api §2.4).
    pub daily_limit: u64,
    /// Calls of `gettemplate` a China-time day (45009). WeChat publishes none; default 100,000.
    pub template_daily_limit: u64,
    /// Uses of `clear_quota` a China-time month (48006). Default 10 (wechat-api §10).
    pub clear_monthly_limit: u64,
    /// Calls of `token` a day (45009). Default 2,000.
    pub token_daily_limit: u64,
    /// Calls of `stable_token` a minute (45011). Default 10,000.
    pub stable_per_minute_limit: u64,
    /// Calls of `stable_token` a day (45009). Default 500,000.
    pub stable_daily_limit: u64,
    /// Forced refreshes a day (45009). Default 20.
    pub force_daily_limit: u64,
    /// Most template ids in one tap (20003): 5 in current documents, 3 in older ones. Default 5.
    pub tap_limit: usize,
    /// The app is bound to an Open Platform account: logins answer a `unionid`.
    pub unionid_on: bool,
    /// What it shows of itself to a platform.
    pub account: Account,
}

impl Default for AppSettings {
    fn default() -> Self {
        Self {
            ip_allowlist_on: false,
            ip_allowlist: Vec::new(),
            frozen: false,
            banned: false,
            permissions: Permissions::default(),
            pages: Vec::new(),
            sensitive_words: Vec::new(),
            per_minute_limit: 0,
            daily_limit: 10_000_000,
            template_daily_limit: 100_000,
            clear_monthly_limit: 10,
            token_daily_limit: 2_000,
            stable_per_minute_limit: 10_000,
            stable_daily_limit: 500_000,
            force_daily_limit: 20,
            tap_limit: 5,
            unionid_on: false,
            account: Account::default(),
        }
    }
}

/// What `GET /sandbox/apps/{appid}` shows. The secret is not shown again.
#[derive(Debug, Clone, Serialize)]
pub struct AppView {
    /// The app's id.
    pub appid: String,
    /// Its switches.
    pub settings: AppSettings,
    /// Its templates, in the order of creation.
    pub templates: Vec<Template>,
    /// Its openids.
    pub users: Vec<String>,
    /// The profile it lives under.
    pub profile: ProfileName,
    /// Where its pushes go, unless a platform gets them.
    pub push: Option<PushView>,
    /// Where a platform that it authorized gets them.
    pub platform_push: Option<PushView>,
}

/// The openid and session that a login code gave.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) openid: String,
    pub(crate) unionid: Option<String>,
}

#[derive(Debug)]
struct LoginCode {
    openid: String,
    made: Millis,
    used: bool,
}

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) secret: String,
    pub(crate) settings: AppSettings,
    pub(crate) templates: Vec<Template>,
    pub(crate) users: BTreeMap<String, User>,
    /// Its own reality, if it has one.
    pub(crate) ruling: Option<Arc<Ruling>>,
    pub(crate) push: Option<Arc<Target>>,
    codes: BTreeMap<String, LoginCode>,
    pub(crate) send_minute: Window,
    pub(crate) send_day: Window,
    pub(crate) template_day: Window,
    /// Uses of `clear_quota`.
    pub(crate) clear_month: Window,
}

impl App {
    pub(crate) fn new(secret: String, settings: AppSettings) -> Self {
        Self {
            secret,
            settings,
            templates: Vec::new(),
            users: BTreeMap::new(),
            ruling: None,
            push: None,
            codes: BTreeMap::new(),
            send_minute: Window::default(),
            send_day: Window::default(),
            template_day: Window::default(),
            clear_month: Window::default(),
        }
    }

    pub(crate) fn view(&self, appid: &str, ruling: &Ruling) -> AppView {
        AppView {
            appid: appid.to_owned(),
            settings: self.settings.clone(),
            templates: self.templates.clone(),
            users: self.users.keys().cloned().collect(),
            profile: ruling.name.clone(),
            push: self.push.as_ref().map(|target| target.view()),
            platform_push: None,
        }
    }

    pub(crate) fn template(&self, id: &str) -> Option<&Template> {
        self.templates.iter().find(|t| t.pri_tmpl_id == id)
    }

    pub(crate) fn user_mut(&mut self, openid: &str) -> Result<&mut User, ControlError> {
        self.users.get_mut(openid).ok_or(ControlError::NotFound { what: "user" })
    }

    /// The true counts of a user, every template of the app included.
    pub(crate) fn counts(&self, openid: &str) -> Result<UserCounts, ControlError> {
        let user = self.users.get(openid).ok_or(ControlError::NotFound { what: "user" })?;
        let mut templates = user.counts.clone();
        for template in &self.templates {
            templates.entry(template.pri_tmpl_id.clone()).or_default();
        }
        let apart = user.apart.clone();
        Ok(UserCounts { openid: openid.to_owned(), main_switch: user.main_switch, templates, apart })
    }

    /// Counts a send against the app's quotas.
    pub(crate) fn admit_send(&mut self, now: Millis) -> Result<(), WxError> {
        if !self.send_minute.admit_minute(now, self.settings.per_minute_limit) {
            return Err(WxError::new(45011));
        }
        if !self.send_day.admit_day(now, self.settings.daily_limit) {
            return Err(WxError::new(45009));
        }
        Ok(())
    }

    pub(crate) fn add_code(&mut self, code: String, openid: &str, now: Millis) {
        self.codes.retain(|_, c| now < c.made + CODE_REMEMBERED);
        self.codes.insert(code, LoginCode { openid: openid.to_owned(), made: now, used: false });
    }

    pub(crate) fn code_owner(&self, code: &str) -> Option<&str> {
        self.codes.get(code).map(|c| c.openid.as_str())
    }

    /// Uses up a login code.
    pub(crate) fn redeem(&mut self, code: &str, now: Millis) -> Result<Login, WxError> {
        let entry = self.codes.get_mut(code).ok_or_else(|| WxError::new(40029))?;
        if entry.used {
            return Err(WxError::new(40163));
        }
        if now >= entry.made + CODE_LIFE {
            return Err(WxError::new(40029));
        }
        let user = self.users.get_mut(&entry.openid).ok_or_else(|| WxError::new(40029))?;
        if !user.logins.admit_minute(now, LOGINS_PER_MINUTE) {
            return Err(WxError::new(45011));
        }
        entry.used = true;
        let unionid = self.settings.unionid_on.then(|| user.unionid.clone());
        Ok(Login { openid: entry.openid.clone(), unionid })
    }
}
