//! Reach: who holds a grant, and how fresh it is.

use serde::{Deserialize, Serialize};

/// The words for the age of the last tap: since the beginning of today, within the last 7, 30 and 90 days, today and
/// younger ones excluded from each, and older.
pub const AGES: [&str; 5] = ["today", "7_days", "30_days", "90_days", "older"];

/// Users who can be reached, by the age of their last tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReachBand {
    /// One of [`AGES`].
    pub age: &'static str,
    /// Bound users with an open grant (for a long-term template: a consent) who are not suspended.
    pub users: u64,
    /// Their openids; two users may share one.
    pub openids: u64,
    /// Their open grants.
    pub grants: u64,
}

/// Who can be reached with a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Whether anything was ever recorded about the template.
    pub recorded: bool,
    /// Bound users of the channel, whatever they hold.
    pub bound_users: u64,
    /// Users who can be reached: the sum of the bands.
    pub users: u64,
    /// Their openids.
    pub openids: u64,
    /// Their open grants.
    pub grants: u64,
    /// Bound users with an open grant who are suspended until a newer accept.
    pub suspended_users: u64,
    /// The open grants of suspended openids that are bound.
    pub suspended_grants: u64,
    /// Openids with an open grant that no user is bound to.
    pub unbound_openids: u64,
    /// Their open grants.
    pub unbound_grants: u64,
    /// By the age of the last tap, youngest first; every age has its band.
    pub bands: Vec<ReachBand>,
}

#[derive(Deserialize)]
pub(super) struct Found {
    bound_users: u64,
    #[serde(deserialize_with = "crate::rows::flag")]
    known: bool,
    bands: Vec<Band>,
}

#[derive(Deserialize)]
struct Band {
    age: usize,
    #[serde(deserialize_with = "crate::rows::flag")]
    suspended: bool,
    #[serde(deserialize_with = "crate::rows::flag")]
    bound: bool,
    users: u64,
    openids: u64,
    grants: u64,
}

impl Found {
    pub(super) fn reach(self) -> Reach {
        let mut reach = Reach {
            recorded: self.known,
            bound_users: self.bound_users,
            users: 0,
            openids: 0,
            grants: 0,
            suspended_users: 0,
            suspended_grants: 0,
            unbound_openids: 0,
            unbound_grants: 0,
            bands: AGES.map(|age| ReachBand { age, users: 0, openids: 0, grants: 0 }).to_vec(),
        };
        for found in self.bands {
            match reach.bands.get_mut(found.age) {
                _ if !found.bound => {
                    reach.unbound_openids += found.openids;
                    reach.unbound_grants += found.grants;
                }
                _ if found.suspended => {
                    reach.suspended_users += found.users;
                    reach.suspended_grants += found.grants;
                }
                Some(band) => {
                    band.users += found.users;
                    band.openids += found.openids;
                    band.grants += found.grants;
                    reach.users += found.users;
                    reach.openids += found.openids;
                    reach.grants += found.grants;
                }
                None => {}
            }
        }
        reach
    }
}
