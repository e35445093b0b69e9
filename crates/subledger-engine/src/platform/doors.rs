//! How each platform's pushes are read: kept in memory, because strangers can ask as often as they like.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use secrecy::ExposeSecret;
use subledger_domain::channel::SecretRef;
use subledger_wechat::push::{EncodingAesKey, PushKeys, PushSettings, PushToken, SettingsFault, component};

use crate::{Engine, EngineError};

/// How long settings are believed: another node may change them.
const BELIEVED: Duration = Duration::from_secs(2);
/// The token and the keys of a platform's pushes.
pub(crate) struct PlatformDoor {
    component_appid: String,
    token: PushToken,
    keys: PushKeys,
}

impl PlatformDoor {
    /// How pushes about the platform itself are read.
    pub(crate) fn own(&self) -> PushSettings {
        component::settings(&self.component_appid, self.token.clone(), self.keys.clone())
    }

    /// How pushes about a user of a Mini Program are read.
    pub(crate) fn of_users(&self, appid: &str) -> PushSettings {
        component::user_settings(&self.component_appid, appid, self.token.clone(), self.keys.clone())
    }
}

type Doors = HashMap<String, Arc<PlatformDoor>>;

/// What was read: all platforms at once, for there are few, and a name that nobody set up must not cost a look at the
/// database.
#[derive(Default)]
pub(crate) struct PlatformDoors {
    /// Std lock: held for a look-up, never across an await.
    read: RwLock<Option<(Instant, Arc<Doors>)>>,
}

impl PlatformDoors {
    /// Has the next request read them anew.
    pub(crate) fn forget(&self) {
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self, believed: Duration) -> Option<Arc<Doors>> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        read.as_ref().filter(|(at, _)| at.elapsed() < believed).map(|(_, doors)| Arc::clone(doors))
    }
}

impl Engine {
    /// How a platform's pushes are read, if there is one; read anew if it is known for longer than `at_most`.
    pub(crate) async fn platform_door(
        &self,
        component_appid: &str,
        at_most: Option<Duration>,
    ) -> Result<Option<Arc<PlatformDoor>>, EngineError> {
        let known = self.platforms().doors.known(at_most.unwrap_or(BELIEVED));
        let doors = match known {
            Some(doors) => doors,
            None => {
                let read_at = Instant::now();
                let mut doors = Doors::new();
                for watched in self.store().watched_platforms().await? {
                    if let Some(door) = self.read_platform_door(&watched.component_appid).await? {
                        doors.insert(watched.component_appid, Arc::new(door));
                    }
                }
                let doors = Arc::new(doors);
                let mut read = self.platforms().doors.read.write().unwrap_or_else(PoisonError::into_inner);
                *read = Some((read_at, Arc::clone(&doors)));
                drop(read);
                doors
            }
        };
        Ok(doors.get(component_appid).cloned())
    }

    async fn read_platform_door(&self, component_appid: &str) -> Result<Option<PlatformDoor>, EngineError> {
        let platform = self.load_platform(component_appid).await?;
        let (Some(token), Some(key)) = (platform.token(), platform.key()) else { return Ok(None) };
        let token = self.kept_secret(token).await?;
        let token = PushToken::parse(token.expose_secret()).map_err(broken)?;
        let current = self.platform_key(key).await?;
        let previous = match platform.previous_key() {
            Some(previous) => Some(self.platform_key(previous).await?),
            None => None,
        };
        let keys = PushKeys { current, previous };
        Ok(Some(PlatformDoor { component_appid: component_appid.to_owned(), token, keys }))
    }

    async fn platform_key(&self, reference: &SecretRef) -> Result<EncodingAesKey, EngineError> {
        EncodingAesKey::parse(self.kept_secret(reference).await?.expose_secret()).map_err(broken)
    }
}

fn broken(fault: SettingsFault) -> EngineError {
    EngineError::internal(fault.to_string())
}
