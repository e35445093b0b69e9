//! Where the keeper gets an app's secret from.
//!
//! The secret lives encrypted in someone else's store. The keeper asks for it only when a token has to be fetched and drops
//! it right after, so that it is in memory for one call and the common path never touches it.

use std::pin::Pin;

use secrecy::SecretString;

/// Why a secret could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SecretUnavailable {
    /// None is stored for this app: an operator must enter it.
    #[error("no secret is stored for this app")]
    NotSet,
    /// The store cannot be read now.
    #[error("the secret store cannot be read now")]
    Temporary,
}

/// A future that yields a secret.
pub type SecretFuture<'a> =
    Pin<Box<dyn Future<Output = Result<SecretString, SecretUnavailable>> + Send + 'a>>;

/// Gives the AppSecret of an appid.
pub trait SecretSource: Send + Sync {
    /// The current secret. Asked afresh for each refresh, so a replaced secret is picked up.
    fn secret<'a>(&'a self, appid: &'a str) -> SecretFuture<'a>;
}

/// A fixed secret, whatever the appid.
impl SecretSource for SecretString {
    fn secret<'a>(&'a self, _appid: &'a str) -> SecretFuture<'a> {
        let secret = self.clone();
        Box::pin(async move { Ok(secret) })
    }
}
