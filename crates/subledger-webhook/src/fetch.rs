//! One fetch of a small document, by the same rules as a delivery: a checked address, no redirect, no proxy, bounds on every
//! wait and on what is read.

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::deliver::{Deliverer, failure};
use crate::outcome::{Outcome, Refusal};
use crate::request::RequestFault;

/// What became of a fetch.
#[derive(Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The body of an answer 2xx, whole.
    Body(Vec<u8>),
    /// The answer 2xx is longer than was allowed.
    TooLong,
    /// There was no such answer. Never [`Outcome::Delivered`].
    Failed(Outcome),
}

/// Prints no body: it may hold a secret.
impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Body(body) => write!(f, "Body({} bytes)", body.len()),
            Self::TooLong => f.write_str("TooLong"),
            Self::Failed(outcome) => f.debug_tuple("Failed").field(outcome).finish(),
        }
    }
}

impl Deliverer {
    /// Fetches `url` once with a bearer credential, and reads at most `cap_bytes` of the answer. Leaves one debug event, which
    /// names the host and nothing else of the URL.
    pub async fn fetch(&self, url: &str, bearer: &SecretString, cap_bytes: usize) -> Fetched {
        let endpoint = match self.policy().endpoint(url) {
            Ok(endpoint) => endpoint,
            Err(refused) => return Fetched::Failed(Outcome::Refused(Refusal::Url(refused))),
        };
        let Ok(mut credential) = HeaderValue::try_from(format!("Bearer {}", bearer.expose_secret())) else {
            return Fetched::Failed(Outcome::Refused(Refusal::Request(RequestFault::Header)));
        };
        credential.set_sensitive(true);
        let get = self
            .http()
            .get(endpoint.url().clone())
            .header(AUTHORIZATION, credential)
            .header(ACCEPT, HeaderValue::from_static("application/json"));
        let fetched = match get.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                match Outcome::from_status(status, || None) {
                    Outcome::Delivered { .. } => read(response, cap_bytes).await,
                    other => Fetched::Failed(other),
                }
            }
            Err(error) => Fetched::Failed(failure(&error)),
        };
        let outcome = match &fetched {
            Fetched::Body(_) => "fetched",
            Fetched::TooLong => "too_long",
            Fetched::Failed(outcome) => outcome.word(),
        };
        tracing::debug!(fetch.host = endpoint.host(), fetch.outcome = outcome, "fetch ended");
        fetched
    }
}

async fn read(mut response: reqwest::Response, cap_bytes: usize) -> Fetched {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if cap_bytes < body.len() + chunk.len() => return Fetched::TooLong,
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Fetched::Body(body),
            Err(error) => return Fetched::Failed(failure(&error)),
        }
    }
}
