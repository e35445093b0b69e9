//! How each channel's pushes are read: kept in memory, because strangers can ask as often as they like.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use subledger_domain::{
    ChannelCode, LogName, StreamName,
    channel::{CallbackMode, Channel},
};
use subledger_store::PushMode;
use subledger_wechat::push::{self, EncodingAesKey, PushKeys, PushSettings, PushToken, SettingsFault};

use crate::{Engine, EngineError};

/// How long a configuration is believed: another node may change it.
const BELIEVED: Duration = Duration::from_secs(2);

/// How a channel's pushes are read.
pub(crate) struct Setup {
    pub(crate) settings: PushSettings,
}

impl Setup {
    /// The mode, as it is kept with each push.
    pub(crate) fn mode(&self) -> PushMode {
        match self.settings.mode() {
            push::PushMode::Plaintext => PushMode::Plaintext,
            push::PushMode::Compatible => PushMode::Compatible,
            push::PushMode::Secure => PushMode::Secure,
        }
    }
}

struct Door {
    read_at: Instant,
    /// None if pushes are not configured.
    setup: Option<Arc<Setup>>,
}

/// The configurations that were read. Only channels that exist have one, so that nobody can fill the table.
#[derive(Default)]
pub(crate) struct Doors {
    /// Std lock: held for a look-up, never across an await.
    doors: RwLock<HashMap<ChannelCode, Door>>,
}

impl Doors {
    /// Has the next request read it anew.
    pub(crate) fn forget(&self, code: &ChannelCode) {
        self.doors.write().unwrap_or_else(PoisonError::into_inner).remove(code);
    }

    fn known(&self, code: &ChannelCode, believed: Duration) -> Option<Option<Arc<Setup>>> {
        let doors = self.doors.read().unwrap_or_else(PoisonError::into_inner);
        doors.get(code).filter(|door| door.read_at.elapsed() < believed).map(|door| door.setup.clone())
    }
}

impl Engine {
    /// How the channel's pushes are read, if they are configured; read anew if it is known for longer than `at_most`.
    pub(crate) async fn push_setup(
        &self,
        code: &ChannelCode,
        at_most: Option<Duration>,
    ) -> Result<Option<Arc<Setup>>, EngineError> {
        if let Some(setup) = self.push_doors().known(code, at_most.unwrap_or(BELIEVED)) {
            return Ok(setup);
        }
        // A name that nobody set up must not cost a look at the database.
        let log = LogName::channel(code);
        if log.as_str() == LogName::MAIN || !self.store().logs().borrow().contains(&log) {
            return Ok(None);
        }
        let read_at = Instant::now();
        let setup = self.read_push_setup(code).await?.map(Arc::new);
        let door = Door { read_at, setup: setup.clone() };
        self.push_doors().doors.write().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), door);
        Ok(setup)
    }

    async fn read_push_setup(&self, code: &ChannelCode) -> Result<Option<Setup>, EngineError> {
        let (channel, _) =
            self.store().load::<Channel>(&LogName::channel(code), &StreamName::channel()).await?;
        let Some(registered) = channel.registered() else { return Ok(None) };
        let Some(callback) = channel.callback() else {
            // What came through a platform is read anew with the platform's keys.
            let Some(state) = channel.authorization() else { return Ok(None) };
            let door = self.platform_door(&state.granted.platform, None).await?;
            return Ok(door.map(|door| Setup { settings: door.of_users(&registered.appid) }));
        };
        let broken = |fault: SettingsFault| EngineError::internal(fault.to_string());
        let token = self.kept_secret(&callback.token).await?;
        let token = PushToken::parse(token.expose_secret()).map_err(broken)?;
        let keys = match &callback.key {
            None => None,
            Some(current) => {
                let current = self.kept_secret(current).await?;
                let current = EncodingAesKey::parse(current.expose_secret()).map_err(broken)?;
                let previous = match &callback.previous_key {
                    None => None,
                    Some(previous) => {
                        let previous = self.kept_secret(previous).await?;
                        Some(EncodingAesKey::parse(previous.expose_secret()).map_err(broken)?)
                    }
                };
                Some(PushKeys { current, previous })
            }
        };
        let mode = match callback.mode {
            CallbackMode::Plaintext => push::PushMode::Plaintext,
            CallbackMode::Compatible => push::PushMode::Compatible,
            CallbackMode::Secure => push::PushMode::Secure,
        };
        let settings = PushSettings::new(&registered.appid, token, mode, keys).map_err(broken)?;
        Ok(Some(Setup { settings }))
    }
}
