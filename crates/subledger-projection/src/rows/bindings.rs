//! Which openid a user has.

use serde::{Deserialize, Serialize};
use subledger_domain::{SubjectId, Timestamp, UserRef};

/// One user of the integrator in one channel. Kept when unbound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindingRow {
    /// The user.
    pub user_ref: UserRef,
    /// The openid, as the log knows it; none while unbound.
    pub subject: Option<SubjectId>,
    /// When the user was last bound after having had no openid.
    pub bound_at: Timestamp,
    /// When the user last got another openid in place of one, if ever.
    pub moved_at: Option<Timestamp>,
    /// Since when the user has no openid, if so.
    pub unbound_at: Option<Timestamp>,
}
