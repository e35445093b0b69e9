//! The people behind the references of read models: openids and userids, looked up for a whole page at once.
//!
//! They live sealed in the store's vaults. What is not found was erased, and shows as null.

use std::collections::{HashMap, HashSet};

use subledger_domain::{LogName, Openid, SubjectId, UserId, UserRef};
use subledger_engine::Engine;

use crate::problem::ApiError;

/// The people of one page.
pub(crate) struct People {
    openids: HashMap<SubjectId, Openid>,
    userids: HashMap<UserRef, UserId>,
}

impl People {
    /// Looks all of them up, in at most two statements.
    pub(crate) async fn behind(
        engine: &Engine,
        log: &LogName,
        subjects: impl IntoIterator<Item = SubjectId>,
        users: impl IntoIterator<Item = UserRef>,
    ) -> Result<Self, ApiError> {
        let subjects: Vec<SubjectId> = subjects.into_iter().collect::<HashSet<_>>().into_iter().collect();
        let users: Vec<UserRef> = users.into_iter().collect::<HashSet<_>>().into_iter().collect();
        let openids = match subjects.as_slice() {
            [] => HashMap::new(),
            subjects => engine.store().openids(log, subjects).await?,
        };
        let userids = match users.as_slice() {
            [] => HashMap::new(),
            users => engine.store().userids(users).await?,
        };
        Ok(Self { openids, userids })
    }

    /// The openid behind a subject, if it is known.
    pub(crate) fn openid(&self, subject: SubjectId) -> Option<String> {
        self.openids.get(&subject).map(|openid| openid.as_str().to_owned())
    }

    /// The userid behind a reference, if it is known.
    pub(crate) fn userid(&self, user: UserRef) -> Option<String> {
        self.userids.get(&user).map(|userid| userid.as_str().to_owned())
    }
}
