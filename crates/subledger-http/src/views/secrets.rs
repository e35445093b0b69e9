//! Secrets that are kept and never shown.

use serde::Serialize;
use subledger_engine::secrets::KnownSecret;
use utoipa::ToSchema;

use crate::moment::Moment;

/// A secret that is kept. Its value is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretView {
    /// What it is for: `app_secret`, `token_credential`, `push_token`, `push_key`, `previous_push_key`, `relay_secret` or `previous_relay_secret`.
    #[schema(example = "app_secret")]
    kind: &'static str,
    /// Eight digits by which two secrets are told apart: the same secret has the same digits in the same deployment.
    #[schema(example = "e967bd22")]
    fingerprint: String,
    /// When it was handed in or made up.
    set_at: Moment,
}

/// The secrets that a channel uses.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretsView {
    /// One for each secret that is set.
    secrets: Vec<SecretView>,
}

impl From<Vec<KnownSecret>> for SecretsView {
    fn from(secrets: Vec<KnownSecret>) -> Self {
        let view = |secret: KnownSecret| SecretView {
            kind: secret.kind.as_str(),
            fingerprint: secret.mark.fingerprint,
            set_at: Moment(secret.mark.set_at),
        };
        Self { secrets: secrets.into_iter().map(view).collect() }
    }
}
