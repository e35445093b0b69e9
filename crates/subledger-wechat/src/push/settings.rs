//! How one push URL is set up at WeChat.

use std::time::Duration;

use super::key::{PushKeys, PushToken};

/// How far WeChat's timestamp may lie from our time, either way. Wide, because nobody knows whether a repeated push carries
/// a new timestamp, and because clocks differ; narrow enough that a captured query string is soon worth nothing.
pub const CLOCK_WINDOW: Duration = Duration::from_secs(10 * 60);

/// What WeChat's console calls the way of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushMode {
    /// Bodies in the clear, and nothing that vouches for them. Only to be used while something is being tried out.
    Plaintext,
    /// Bodies carry the same content twice, clear and sealed. Only the sealed one is read.
    Compatible,
    /// Bodies are sealed.
    Secure,
}

/// Why settings were not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SettingsFault {
    /// The token is not 3 to 32 ASCII letters and digits.
    #[error("a push token has 3 to 32 letters and digits")]
    Token,
    /// The EncodingAESKey is not 43 ASCII letters and digits.
    #[error("an EncodingAESKey has 43 letters and digits")]
    Key,
    /// The mode seals bodies and there is no key.
    #[error("compatible and secure mode need an EncodingAESKey")]
    KeyMissing,
}

/// The settings of one push URL. Prints no secret.
#[derive(Debug, Clone)]
pub struct PushSettings {
    appid: String,
    tail: Option<String>,
    token: PushToken,
    mode: PushMode,
    keys: Option<PushKeys>,
    clock_window: Duration,
}

impl PushSettings {
    /// Settings of a Mini Program that is connected by its own secret. `keys` may be absent in plaintext mode only.
    ///
    /// # Errors
    /// [`SettingsFault::KeyMissing`]
    pub fn new(
        appid: impl Into<String>,
        token: PushToken,
        mode: PushMode,
        keys: Option<PushKeys>,
    ) -> Result<Self, SettingsFault> {
        if mode != PushMode::Plaintext && keys.is_none() {
            return Err(SettingsFault::KeyMissing);
        }
        let appid = appid.into();
        Ok(Self { appid, tail: None, token, mode, keys, clock_window: CLOCK_WINDOW })
    }

    /// Settings of a URL to which nothing comes but sealed: those of third-party platforms.
    pub(super) fn sealed(appid: &str, token: PushToken, keys: PushKeys) -> Self {
        Self {
            appid: appid.to_owned(),
            tail: None,
            token,
            mode: PushMode::Secure,
            keys: Some(keys),
            clock_window: CLOCK_WINDOW,
        }
    }

    /// Expects another appid than the Mini Program's at the end of sealed contents: a third-party platform's pushes end with
    /// the platform's own (component) appid, whichever Mini Program they are about.
    #[must_use]
    pub fn with_tail(mut self, appid: impl Into<String>) -> Self {
        self.tail = Some(appid.into());
        self
    }

    /// Another clock window than [`CLOCK_WINDOW`].
    #[must_use]
    pub fn with_clock_window(mut self, window: Duration) -> Self {
        self.clock_window = window;
        self
    }

    /// Whose pushes these are.
    #[must_use]
    pub fn appid(&self) -> &str {
        &self.appid
    }

    /// The appid that must stand at the end of every sealed content.
    #[must_use]
    pub fn tail(&self) -> &str {
        self.tail.as_deref().unwrap_or(&self.appid)
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> PushMode {
        self.mode
    }

    /// How far WeChat's timestamp may lie from our time.
    #[must_use]
    pub fn clock_window(&self) -> Duration {
        self.clock_window
    }

    pub(super) fn token(&self) -> &PushToken {
        &self.token
    }

    /// Whatever keys there are, in any mode: what was kept may have been sealed under another.
    pub(super) fn known_keys(&self) -> Option<&PushKeys> {
        self.keys.as_ref()
    }

    /// The keys to open bodies with; `None` in plaintext mode, whatever keys there are.
    pub(super) fn sealing_keys(&self) -> Option<&PushKeys> {
        match self.mode {
            PushMode::Plaintext => None,
            PushMode::Compatible | PushMode::Secure => self.keys.as_ref(),
        }
    }
}
