//! Every limit of the use cases, by name.

use std::time::Duration;

/// A message to more recipients than this is bulk: its deliveries wait while WeChat's daily quota runs short, and single
/// ones go on.
pub const BULK_OVER: usize = 10;
/// Recipients of one send request.
pub const MAX_RECIPIENTS: usize = subledger_domain::message::MAX_RECIPIENTS;
/// Templates in one client report. WeChat asks for at most 5 in one popup.
pub const MAX_TEMPLATES_PER_REPORT: usize = 20;
/// Characters of one value; WeChat's longest kind takes 32.
pub const MAX_VALUE_CHARS: usize = 1_000;
/// Values of one recipient.
pub const MAX_VALUES: usize = 50;
/// Characters of a page path.
pub const MAX_PAGE_CHARS: usize = 1_024;
/// Characters of a name given by people.
pub const MAX_NAME_CHARS: usize = 100;
/// Characters of a reason given by people.
pub const MAX_REASON_CHARS: usize = 500;
/// Characters of an idempotency key.
pub const MAX_IDEMPOTENCY_KEY_CHARS: usize = 128;
/// How long a user token lives when the request does not say.
pub const DEFAULT_USER_TOKEN_TTL: Duration = Duration::from_secs(2 * 3600);
/// The shortest life of a user token.
pub const MIN_USER_TOKEN_TTL: Duration = Duration::from_secs(60);
/// The longest life of a user token.
pub const MAX_USER_TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long a delivery waits at most when the request does not say.
pub const DEFAULT_EXPIRY: Duration = Duration::from_secs(24 * 3600);
/// How far ahead `expires_at` may lie.
pub const MAX_EXPIRY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Shortest time between two template refreshes of a channel: WeChat caps `gettemplate` per day and does not say where.
pub const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(2);
/// Shortest time between two requests of people to ask WeChat about a channel's quota, or to have it cleared.
pub const MIN_QUOTA_INTERVAL: Duration = Duration::from_secs(10);
/// The longest answer of a company's token server, in bytes. WeChat says that a token may have 512 characters and more.
pub const MAX_TOKEN_ANSWER_BYTES: usize = 16 * 1_024;
/// Rows of one request to import balances.
pub const MAX_OPENING_ROWS: usize = 1_000;
/// Characters of the id of an import, and of a row in it.
pub const MAX_IMPORT_ID_CHARS: usize = 128;
/// Doubts settled by one request.
pub const MAX_SETTLED_AT_ONCE: u32 = 1_000;
/// Fields named in one refusal at most.
pub const MAX_FIELDS: usize = 50;
