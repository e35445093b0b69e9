//! The journal of platforms: every call of theirs, every change of authorization, every ticket. It never holds a secret,
//! a token or a code.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ComponentCall;
use crate::fault::FaultKind;
use crate::journal::{Entry, Journal};
use crate::reality::ProfileName;
use crate::state::State;

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PlatformDeed {
    /// The platform called.
    Call {
        /// Which call.
        call: ComponentCall,
        /// WeChat's own verdict; none when a fault kept the call from being judged.
        errcode: Option<i64>,
        /// WeChat's verdict (or an injected `errcode`) was handed, whole, to a connection that was still open.
        answered: bool,
        /// The injected fault that shaped the answer.
        fault: Option<FaultKind>,
        /// `api_authorizer_token` gave another refresh token than before.
        rotated: bool,
    },
    /// An administrator scanned the platform's link.
    Authorized {
        /// What was ticked.
        permission_sets: BTreeSet<u32>,
        /// It was authorized already: the refresh token before stopped working.
        again: bool,
    },
    /// The merchant changed what is ticked; the refresh token stays.
    SetsChanged {
        /// What is ticked now.
        permission_sets: BTreeSet<u32>,
    },
    /// The merchant took the authorization back.
    Unauthorized,
    /// A ticket was pushed.
    Ticket {
        /// The one before, once more.
        repeated: bool,
    },
    /// So many tickets were given up that WeChat pushes no more of them.
    TicketsStopped,
}

/// One thing that happened to a platform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlatformEntry {
    /// Place in the journal, from 1, without holes; never reused, not even after a reset.
    pub seq: u64,
    /// Sandbox time.
    pub time: Timestamp,
    /// The platform, as it was named; none if it was not named at all.
    pub component: Option<String>,
    /// The app it is about.
    pub appid: Option<String>,
    /// What.
    #[serde(flatten)]
    pub deed: PlatformDeed,
    /// The push that tells of it, if WeChat tells.
    pub push: Option<u64>,
    /// The profile it was written under.
    pub profile: ProfileName,
}

impl Entry for PlatformEntry {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    fn appid(&self) -> Option<&str> {
        self.appid.as_deref()
    }
}

/// Which part of the journal of platforms to read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlatformQuery {
    /// Only this platform's.
    pub component: Option<String>,
    /// Only what is about this app.
    pub appid: Option<String>,
    /// Only calls of this kind.
    pub call: Option<ComponentCall>,
    /// Only entries with a greater `seq`.
    pub after: u64,
    /// Most entries to give, 1..=10,000. Default 1,000.
    pub limit: Option<usize>,
}

impl PlatformQuery {
    pub(super) fn takes(&self, entry: &PlatformEntry) -> bool {
        let call = match &entry.deed {
            PlatformDeed::Call { call, .. } => Some(*call),
            _ => None,
        };
        (self.component.is_none() || self.component == entry.component)
            && (self.call.is_none() || self.call == call)
    }
}

impl Journal<PlatformEntry> {
    /// Notes that the caller got its answer; nothing happens if the entry is gone.
    pub(crate) fn mark_called_back(&mut self, seq: u64) {
        if let Some(PlatformEntry { deed: PlatformDeed::Call { answered, .. }, .. }) = self.get_mut(seq) {
            *answered = true;
        }
    }
}

impl State {
    /// Writes the journal of platforms; gives the entry's `seq`.
    pub(super) fn note(
        &mut self,
        component: Option<&str>,
        appid: Option<&str>,
        deed: PlatformDeed,
        push: Option<u64>,
    ) -> u64 {
        let entry = PlatformEntry {
            seq: 0,
            time: self.timestamp(),
            component: component.map(str::to_owned),
            appid: appid.map(str::to_owned),
            deed,
            push,
            profile: self.platform_ruling(component.unwrap_or_default()).name.clone(),
        };
        self.platform_journal.append(entry)
    }
}
