//! Sender apps and their API keys.
//!
//! A key reads `slk_<public part>_<secret part>`. The public part finds it, SHA-256 over the whole proves it; the secret part
//! is 256 random bits, so a slow hash would protect nothing more. A key is shown once and kept nowhere.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{
    AppId, ChannelCode, LogName, StreamName,
    app::{App, AppCommand, AppError, Created, KeyAdded, KeyRevoked, Right},
};
use subledger_projection::{AppKeyAnswer, AppRow, ProjectionName};
use subledger_store::{Known, Position, Stage, Stop, StreamRef, Work};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::{Caller, Engine, EngineError, ErrorKind, limits, text::check_text};

const KEY_PREFIX: &str = "slk";
/// Failed and successful keys remembered at most; the cache is dropped whenever an app changes.
const MAX_CACHED_KEYS: usize = 10_000;

struct Change {
    app: AppId,
    commands: Vec<AppCommand>,
}

impl Work for Change {
    type Answer = ();
    type Refusal = EngineError;

    fn streams(&self, _known: &Known<'_>) -> Vec<StreamRef> {
        vec![StreamRef::of::<App>(StreamName::app(&self.app))]
    }

    fn decide(&self, stage: &mut Stage<'_>) -> Result<(), Stop<EngineError>> {
        for command in &self.commands {
            let decided = stage.ask::<App>(&StreamName::app(&self.app), command.clone())?;
            decided.map_err(|error| Stop::Refuse(refusal(&error)))?;
        }
        Ok(())
    }
}

fn refusal(error: &AppError) -> EngineError {
    let text = error.to_string();
    match error {
        AppError::AlreadyCreated => EngineError::conflict("app_exists", text),
        AppError::NotCreated => EngineError::not_found("unknown_app", text),
        AppError::DuplicateKey => EngineError::conflict("key_exists", text),
        AppError::NoSuchKey => EngineError::not_found("unknown_key", text),
        AppError::TooManyKeys { .. } => EngineError::conflict("too_many_keys", text),
    }
}

/// Whether a bearer credential is an API key, good or not: it begins like one.
pub fn looks_like_key(credential: &SecretString) -> bool {
    credential.expose_secret().split_once('_').is_some_and(|(prefix, _)| prefix == KEY_PREFIX)
}

/// What a key allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRights {
    /// The public part of the key.
    pub key: String,
    /// Whose key it is.
    pub app: AppId,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// The channels it may use; none means every channel.
    pub channels: Option<BTreeSet<ChannelCode>>,
}

impl KeyRights {
    /// Refuses unless the key has the right for the channel.
    pub fn require(&self, right: Right, channel: Option<&ChannelCode>) -> Result<(), EngineError> {
        let refuse = |detail: String| Err(EngineError::new(ErrorKind::Forbidden, "missing_right", detail));
        if !self.rights.contains(&right) {
            return refuse(format!("this key lacks the right \"{}\"", right.as_str()));
        }
        match (&self.channels, channel) {
            (Some(allowed), Some(channel)) if !allowed.contains(channel) => {
                refuse("this key may not use this channel".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A key as it was found.
#[derive(Clone)]
struct KnownKey {
    /// SHA-256 of the whole key.
    hash: [u8; 32],
    rights: Arc<KeyRights>,
}

impl KnownKey {
    fn of(found: AppKeyAnswer) -> Result<Self, EngineError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(&found.key.hash, &mut hash)
            .map_err(|error| EngineError::internal(format!("the hash of key {}: {error}", found.key.key)))?;
        let AppRow { id, rights, channels, .. } = found.app;
        Ok(Self { hash, rights: Arc::new(KeyRights { key: found.key.key, app: id, rights, channels }) })
    }
}

/// Keys looked up since an app last changed.
#[derive(Default)]
pub(crate) struct KeyCache {
    /// The end of the log `main`, from the first look-up on.
    main: OnceLock<watch::Receiver<Position>>,
    /// The position of the log `main` that the entries were read at, and the entries. Std lock: held for a look-up, never
    /// across an await.
    entries: RwLock<(Position, HashMap<String, Option<KnownKey>>)>,
}

impl KeyCache {
    fn get(&self, at: Position, key: &str) -> Option<Option<KnownKey>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if entries.0 == at { entries.1.get(key).cloned() } else { None }
    }

    fn put(&self, at: Position, key: &str, known: Option<KnownKey>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        // The tail only grows; what was read before its last move is worth nothing.
        if entries.0 < at {
            *entries = (at, HashMap::new());
        }
        if entries.0 == at && entries.1.len() < MAX_CACHED_KEYS {
            entries.1.insert(key.to_owned(), known);
        }
    }
}

/// A fresh key: the public part, the whole key, and the hash that is stored.
fn new_key() -> (String, SecretString, String) {
    let mut rng = rand::rng();
    let (public, secret): ([u8; 8], [u8; 32]) = (rng.random(), rng.random());
    let public = hex::encode(public);
    let whole = format!("{KEY_PREFIX}_{public}_{}", hex::encode(secret));
    let hash = hex::encode(hash(&whole));
    (public, SecretString::from(whole), hash)
}

fn hash(key: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(key.as_bytes()).into()
}

fn public_part(key: &str) -> Option<&str> {
    let mut parts = key.split('_');
    let (prefix, public, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = prefix == KEY_PREFIX && public.len() == 16 && secret.len() == 64 && parts.next().is_none();
    fits.then_some(public)
}

impl Engine {
    /// Creates a sender app with its first key, which is returned and kept nowhere.
    pub async fn create_app(
        &self,
        caller: &Caller,
        app: AppId,
        created: Created,
    ) -> Result<SecretString, EngineError> {
        check_text("bad_name", "/name", &created.name, limits::MAX_NAME_CHARS)?;
        let (key, whole, hash) = new_key();
        let commands = vec![AppCommand::Create(created), AppCommand::AddKey(KeyAdded { key, hash })];
        self.submit(LogName::main(), caller, "create_app", None, Change { app, commands }).await?;
        Ok(whole)
    }

    /// Gives an app one more key, to rotate with overlap.
    pub async fn add_key(&self, caller: &Caller, app: AppId) -> Result<SecretString, EngineError> {
        let (key, whole, hash) = new_key();
        let commands = vec![AppCommand::AddKey(KeyAdded { key, hash })];
        self.submit(LogName::main(), caller, "add_key", None, Change { app, commands }).await?;
        Ok(whole)
    }

    /// Takes a key away, by its public part or the whole key.
    pub async fn revoke_key(&self, caller: &Caller, app: AppId, key: &str) -> Result<(), EngineError> {
        let key = public_part(key).unwrap_or(key).to_owned();
        let commands = vec![AppCommand::RevokeKey(KeyRevoked { key })];
        self.submit(LogName::main(), caller, "revoke_key", None, Change { app, commands }).await?;
        Ok(())
    }

    /// Who presents this key, and what it may do.
    pub async fn authenticate(&self, key: &SecretString) -> Result<Arc<KeyRights>, EngineError> {
        let refused = || {
            EngineError::new(ErrorKind::Unauthenticated, "bad_key", "the API key is not known or was revoked")
        };
        let whole = key.expose_secret();
        let public = public_part(whole).ok_or_else(refused)?;
        let known = self.known_key(public).await?.ok_or_else(refused)?;
        let same: bool = hash(whole).ct_eq(&known.hash).into();
        if same { Ok(known.rights) } else { Err(refused()) }
    }

    /// What a key allows that is named by its public part and not proved; none if it is not known or was revoked.
    pub(crate) async fn key_named(&self, public: &str) -> Result<Option<Arc<KeyRights>>, EngineError> {
        Ok(self.known_key(public).await?.map(|known| known.rights))
    }

    async fn known_key(&self, public: &str) -> Result<Option<KnownKey>, EngineError> {
        // One receiver for all requests: to subscribe anew takes a lock that every commit takes, too.
        let head = *self.keys().main.get_or_init(|| self.store().tail(&LogName::main())).borrow();
        if let Some(known) = self.keys().get(head, public) {
            return Ok(known);
        }
        let main = LogName::main();
        let wait = self.settings().read_wait;
        let fresh = self.projections().wait_for_one(&main, ProjectionName::Apps, head, wait).await.is_ok();
        let known = self.queries().app_key(public).await?.value.map(KnownKey::of).transpose()?;
        // An answer from before the newest change is good for this request, but not to be remembered.
        if fresh {
            self.keys().put(head, public, known.clone());
        }
        Ok(known)
    }
}
