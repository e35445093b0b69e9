//! HTTP out to the URLs of integrators.
//!
//! Signs by the Standard Webhooks scheme, guards where connections may go, makes one attempt and says what became of it,
//! and knows when the next is due. It knows no other crate of this workspace, keeps nothing on disk, repeats nothing by
//! itself and decides no business question: what is delivered, in which order and how often is the caller's.
//!
//! Three rules above all others. An address the [`EgressPolicy`] forbids is never connected, whatever a name resolves to
//! at that moment. A redirect is not followed. Neither a secret nor anything of a URL but its host leaves through a log
//! line, an error or a debug print.
//!
//! Start with [`EgressPolicy::endpoint`] when a URL is configured, [`Deliverer`] (one per process, it owns the connection
//! pool) to deliver or to fetch a small document, and [`next_delay`] to plan the next attempt.

mod address;
mod deliver;
mod endpoint;
mod fetch;
mod lookup;
mod metric_definitions;
mod outcome;
mod policy;
mod request;
mod schedule;
mod secret;
mod signature;

pub use address::AddressClass;
pub use deliver::{
    ANSWER_CAP_BYTES, CONNECT_TIMEOUT, DRAIN_TIMEOUT, Deliverer, DelivererConfig, POOL_IDLE_TIMEOUT,
    POOL_MAX_IDLE_PER_HOST, SetupError, WHOLE_TIMEOUT,
};
pub use endpoint::{Endpoint, MAX_URL_BYTES, UrlRefused};
pub use fetch::Fetched;
pub use lookup::{Lookup, LookupFuture, SystemLookup};
pub use metric_definitions::describe_metrics;
pub use outcome::{Outcome, Refusal, Trouble};
pub use policy::{Allowed, AllowedError, EgressPolicy, Ports, PrivateAddresses};
pub use request::{Request, RequestFault};
pub use schedule::{DELAYS, GIVE_UP_AFTER, JITTER_PERCENT, MAX_RETRY_AFTER, next_delay};
pub use secret::{GENERATED_KEY_BYTES, KEY_BYTES, SECRET_PREFIX, SecretError, SigningSecret, SigningSecrets};
pub use signature::{
    HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, IdError, MAX_ID_BYTES, SIGNATURE_VERSION, WebhookId,
};
