//! Users: which openid a userid has in a channel.

use serde::Serialize;
use subledger_projection::BindingRow;
use utoipa::ToSchema;

use super::LedgerView;
pub(crate) use super::words::BindResultWord;
use crate::{moment::Moment, people::People};

/// A user in one channel.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserView {
    /// The user's id in your system; null if the person was erased.
    #[schema(example = "zhangsan")]
    userid: Option<String>,
    /// The openid; null while unbound, or if the person was erased.
    openid: Option<String>,
    /// What stands for the openid in the log, in events and in ledger paths.
    subject: Option<String>,
    /// Whether the user has an openid now.
    bound: bool,
    /// When the user was last bound after having had no openid.
    bound_at: Moment,
    /// When the user last got another openid in place of one.
    moved_at: Option<Moment>,
    /// Since when the user has no openid.
    unbound_at: Option<Moment>,
}

impl UserView {
    pub(crate) fn new(row: &BindingRow, people: &People) -> Self {
        Self {
            userid: people.userid(row.user_ref),
            openid: row.subject.and_then(|subject| people.openid(subject)),
            subject: row.subject.map(String::from),
            bound: row.subject.is_some(),
            bound_at: Moment(row.bound_at),
            moved_at: row.moved_at.map(Moment),
            unbound_at: row.unbound_at.map(Moment),
        }
    }
}

/// A user with the balances of its ledgers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserDetailView {
    #[serde(flatten)]
    pub(crate) user: UserView,
    /// The ledgers of the user's openid, by template.
    pub(crate) ledgers: Vec<LedgerView>,
}
