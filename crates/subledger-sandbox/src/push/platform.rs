//! Pushes to third-party platforms (wechat-api §9.1, §9.5): always encrypted XML whose tail is the platform's appid, whoever
//! the push is about.

use std::sync::Arc;

use rand::RngExt;
use rand::rngs::StdRng;

use super::body::{Draft, draft_info};
use super::{AesKey, Parcel, PushEntry, PushFormat, PushMode, PushSpec, PushState, PushView, Target};
use crate::error::ControlError;
use crate::platform::PlatformSettings;
use crate::reality::Ruling;
use crate::state::State;

/// What the message URL has where the app's id goes.
const APPID_MARK: &str = "$APPID$";

/// What is told to a platform about itself.
#[derive(Debug, Clone)]
pub(crate) enum Info {
    /// `component_verify_ticket`.
    Ticket { ticket: String },
    /// `authorized` or `updateauthorized`; `expires` is an instant in seconds.
    Authorized { info_type: &'static str, appid: String, code: String, expires: i64, pre_auth_code: String },
    /// `unauthorized`.
    Unauthorized { appid: String },
}

impl Info {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ticket { .. } => "component_verify_ticket",
            Self::Authorized { info_type, .. } => info_type,
            Self::Unauthorized { .. } => "unauthorized",
        }
    }

    fn appid(&self) -> &str {
        match self {
            Self::Ticket { .. } => "",
            Self::Authorized { appid, .. } | Self::Unauthorized { appid } => appid,
        }
    }
}

/// Where a platform's pushes go, ready for use.
#[derive(Debug)]
pub(crate) struct PlatformTarget {
    component: String,
    spec: PushSpec,
    key: AesKey,
    previous: Option<(AesKey, String)>,
    authorization: Option<Arc<Target>>,
    message_url: Option<String>,
}

impl PlatformTarget {
    /// Token and key must be there. The key in force until now becomes the previous one. Errors: a URL, token or key that
    /// WeChat's console would not take either.
    pub(crate) fn new(
        component: &str,
        settings: &PlatformSettings,
        before: Option<&Self>,
    ) -> Result<Self, ControlError> {
        let no_key = || ControlError::invalid("encoding_aes_key", "must be 43 letters and digits");
        let key = AesKey::parse(&settings.encoding_aes_key).ok_or_else(no_key)?;
        let spec = PushSpec {
            token: Some(settings.token.clone()),
            encoding_aes_key: Some(settings.encoding_aes_key.clone()),
            mode: PushMode::Secure,
            format: PushFormat::Xml,
            timeout_ms: settings.timeout_ms,
            retry_ms: settings.retry_ms,
            ..PushSpec::to("http://nowhere.invalid/")
        };
        spec.validate()?;
        let previous = match before {
            Some(old) if old.key != key => {
                Some((old.key.clone(), old.spec.encoding_aes_key.clone().unwrap_or_default()))
            }
            Some(old) => old.previous.clone(),
            None => None,
        };
        let given = |url: &String| Some(url.clone()).filter(|url| !url.is_empty());
        let mut target = Self {
            component: component.to_owned(),
            spec,
            key,
            previous,
            authorization: None,
            message_url: given(&settings.message_url),
        };
        if let Some(url) = given(&settings.authorization_url) {
            let made = target.target(&url, String::new());
            target.authorization = Some(made.map_err(|e| named("authorization_url", e))?);
        }
        if let Some(url) = &target.message_url {
            target
                .target(&url.replace(APPID_MARK, "wx"), String::new())
                .map_err(|e| named("message_url", e))?;
        }
        Ok(target)
    }

    fn target(&self, url: &str, gh_id: String) -> Result<Arc<Target>, ControlError> {
        let spec = PushSpec { url: url.to_owned(), ..self.spec.clone() };
        let url = spec.validate()?;
        let view = PushView {
            url: url.to_string(),
            token: spec.token.unwrap_or_default(),
            encoding_aes_key: spec.encoding_aes_key.unwrap_or_default(),
            previous_key: self.previous_key().map(str::to_owned),
            mode: spec.mode,
            format: spec.format,
            gh_id,
            timeout_ms: spec.timeout_ms,
            retry_ms: spec.retry_ms,
        };
        let previous = self.previous.as_ref().map(|(key, _)| key.clone());
        Ok(Arc::new(Target { tail: self.component.clone(), url, key: self.key.clone(), previous, view }))
    }

    pub(crate) fn previous_key(&self) -> Option<&str> {
        self.previous.as_ref().map(|(_, text)| text.as_str())
    }

    /// Where events of an app's users go; none without a message URL.
    pub(crate) fn message(&self, appid: &str, gh_id: String) -> Option<Arc<Target>> {
        let url = self.message_url.as_ref()?.replace(APPID_MARK, appid);
        // It was checked with another appid; one that breaks the URL has no pushes.
        self.target(&url, gh_id).ok()
    }
}

fn named(field: &'static str, error: ControlError) -> ControlError {
    ControlError::invalid(field, error.to_string())
}

impl State {
    /// Tells a platform about itself; none without an authorization URL.
    pub(crate) fn push_info(
        &mut self,
        component: &str,
        info: Info,
        ruling: &Ruling,
        dice: &mut StdRng,
    ) -> Option<u64> {
        let target = Arc::clone(self.platforms.get(component)?.target().authorization.as_ref()?);
        let now = self.now();
        let Draft { event, clear, body, encrypt } = draft_info(&info, &target, now, &ruling.reality, dice);
        let entry = PushEntry {
            seq: 0,
            time: self.timestamp(),
            appid: component.to_owned(),
            openid: info.appid().to_owned(),
            platform: Some(component.to_owned()),
            event,
            template_ids: Vec::new(),
            msgid: None,
            act: None,
            mode: target.view.mode,
            format: target.view.format,
            faults: Vec::new(),
            state: PushState::Waiting,
            deliveries: Vec::new(),
            profile: ruling.name.clone(),
            body: Some(clear),
        };
        let parcel = Arc::new(Parcel {
            target,
            openid: None,
            body,
            encrypt,
            salt: dice.random(),
            deliveries: ruling.reality.deliveries,
            renew: ruling.reality.retries_renew.draw(dice),
        });
        Some(self.pushes.add(entry, parcel, now, dice))
    }
}
