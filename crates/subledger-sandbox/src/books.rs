//! The true state of an app at one instant, to compare a ledger with: every count, the sums they add up to, and how far
//! each journal had come. Taken under the lock, so nothing in it is newer than the rest.

use jiff::Timestamp;
use serde::Serialize;

use crate::error::ControlError;
use crate::reality::RealityView;
use crate::sandbox::Sandbox;
use crate::template::LONG_TERM;
use crate::user::UserCounts;

/// Sums over all users and one-time templates of an app, what stands apart included; the fields are those of
/// [`crate::TemplateCount`].
///
/// `remaining = accept_taps − capped − accepted_sends − forfeited − cleared + returned` always. So accepted sends never
/// exceed accepted taps, but for the counts that failures gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BookSums {
    /// Messages that may still be sent.
    pub remaining: u64,
    /// Accepting taps.
    pub accept_taps: u64,
    /// Of these, taps that added nothing.
    pub capped: u64,
    /// Sends that WeChat accepted.
    pub accepted_sends: u64,
    /// Counts taken by refused sends.
    pub forfeited: u64,
    /// Counts erased.
    pub cleared: u64,
    /// Accepted sends that failed later.
    pub failed_sends: u64,
    /// Counts that such failures gave back.
    pub returned: u64,
}

/// Everything that is true of an app at one instant.
#[derive(Debug, Clone, Serialize)]
pub struct Books {
    /// The app.
    pub appid: String,
    /// Sandbox time.
    pub now: Timestamp,
    /// What it lives under. Journals name the profile of each entry; this is the one in force now.
    #[serde(flatten)]
    pub reality: RealityView,
    /// Sums of the counts below.
    pub sums: BookSums,
    /// Every user with every template.
    pub users: Vec<UserCounts>,
    /// Greatest `seq` of the journal of sends.
    pub last_send: u64,
    /// Greatest `seq` of the journal of acts.
    pub last_act: u64,
    /// Greatest `seq` of the pushes.
    pub last_push: u64,
    /// Deliveries of pushes that are still to come, those that faults hold back included.
    pub waiting_deliveries: usize,
}

impl Sandbox {
    /// The books of an app.
    pub fn books(&self, appid: &str) -> Result<Books, ControlError> {
        self.with(|state| {
            let app = state.app(appid)?;
            let users: Vec<UserCounts> =
                app.users.keys().map(|openid| app.counts(openid)).collect::<Result<_, _>>()?;
            let long_term = |id: &str| app.template(id).is_some_and(|t| t.kind == LONG_TERM);
            let mut sums = BookSums::default();
            let counts = users.iter().flat_map(|u| u.templates.iter().chain(&u.apart));
            for (_, count) in counts.filter(|(id, _)| !long_term(id)) {
                sums.remaining += count.remaining;
                sums.accept_taps += count.accept_taps;
                sums.capped += count.capped;
                sums.accepted_sends += count.accepted_sends;
                sums.forfeited += count.forfeited;
                sums.cleared += count.cleared;
                sums.failed_sends += count.failed_sends;
                sums.returned += count.returned;
            }
            let (waiting, held_back) = state.pushes.unsettled(Some(appid));
            Ok(Books {
                appid: appid.to_owned(),
                now: state.timestamp(),
                reality: state.ruling(appid)?.view(),
                sums,
                users,
                last_send: state.journal.last_seq(),
                last_act: state.acts.last_seq(),
                last_push: state.pushes.journal.last_seq(),
                waiting_deliveries: waiting + held_back,
            })
        })
    }
}
