//! The journals: every send WeChat saw, whatever the caller was told, everything users did, every push. They are what all
//! end-to-end tests are judged by, and each entry names the profile it was written under.
//!
//! Entries of sends are never changed but for `answered`, which can only be known after the answer left; those of pushes
//! tell how far the push has come.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::FaultKind;
use crate::reality::ProfileName;

/// One send as WeChat saw it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalEntry {
    /// Place in the journal, from 1, without holes; never reused, not even after a reset.
    pub seq: u64,
    /// Sandbox time at which it was judged.
    pub time: Timestamp,
    /// App that the token belongs to, if it is known at all.
    pub appid: Option<String>,
    /// The platform that sent on the app's behalf.
    pub platform: Option<String>,
    /// `touser`.
    pub openid: Option<String>,
    /// `template_id`.
    pub template_id: Option<String>,
    /// `page`.
    pub page: Option<String>,
    /// `miniprogram_state`; `formal` when left out.
    pub state: Option<String>,
    /// `lang`; `zh_CN` when left out.
    pub lang: Option<String>,
    /// `data`, as received.
    pub data: Value,
    /// WeChat's own verdict; none when a fault kept the call from being judged. It may be -1 although the message was
    /// committed ([`crate::Reality::system_errors_send`]).
    pub errcode: Option<i64>,
    /// Id of the accepted message.
    pub msgid: Option<u64>,
    /// The message was accepted and its count taken.
    pub committed: bool,
    /// WeChat's verdict (or an injected `errcode`) was handed, whole, to a connection that was still open.
    pub answered: bool,
    /// The injected fault that shaped the answer.
    pub fault: Option<FaultKind>,
    /// `ErrorCode` of the sent event: 0, or another when the accepted message failed later.
    pub sent_code: Option<i64>,
    /// The push that carries the sent event, if the app has pushes.
    pub push: Option<u64>,
    /// The profile it was written under.
    pub profile: ProfileName,
}

/// What can stand in a journal.
pub(crate) trait Entry: Clone {
    fn seq(&self) -> u64;
    fn set_seq(&mut self, seq: u64);
    fn appid(&self) -> Option<&str>;
}

impl Entry for JournalEntry {
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

/// Which part of the journal to read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalQuery {
    /// Only this app's.
    pub appid: Option<String>,
    /// Only entries with a greater `seq`.
    pub after: u64,
    /// Most entries to give, 1..=10,000. Default 1,000.
    pub limit: Option<usize>,
}

/// Part of a journal.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// Entries in order of `seq`.
    pub entries: Vec<T>,
    /// Value of `after` that continues; none at the end.
    pub next_after: Option<u64>,
    /// Greatest `seq` given out so far.
    pub last_seq: u64,
    /// Old entries dropped because the journal was full.
    pub dropped: u64,
}

/// Part of the journal of sends.
pub type JournalPage = Page<JournalEntry>;

#[derive(Debug)]
pub(crate) struct Journal<T> {
    entries: VecDeque<T>,
    limit: usize,
    last_seq: u64,
    dropped: u64,
}

impl<T: Entry> Journal<T> {
    pub(crate) fn new(limit: usize, last_seq: u64) -> Self {
        Self { entries: VecDeque::new(), limit: limit.max(1), last_seq, dropped: 0 }
    }

    pub(crate) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends, giving the entry its `seq`.
    pub(crate) fn append(&mut self, mut entry: T) -> u64 {
        if self.entries.len() >= self.limit {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.last_seq += 1;
        entry.set_seq(self.last_seq);
        self.entries.push_back(entry);
        self.last_seq
    }

    /// The entry of this number; none if it is gone.
    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut T> {
        let first = self.entries.front().map_or(u64::MAX, Entry::seq);
        let index = seq.checked_sub(first).and_then(|i| usize::try_from(i).ok());
        index.and_then(|i| self.entries.get_mut(i))
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.entries.iter().cloned().collect()
    }

    pub(crate) fn page(
        &self,
        appid: Option<&str>,
        after: u64,
        limit: usize,
        also: impl Fn(&T) -> bool,
    ) -> Page<T> {
        let start = self.entries.partition_point(|e| e.seq() <= after);
        let wanted = |e: &&T| (appid.is_none() || e.appid() == appid) && also(e);
        let mut found = self.entries.iter().skip(start).filter(wanted);
        let entries: Vec<T> = found.by_ref().take(limit).cloned().collect();
        let next_after = found.next().and(entries.last()).map(Entry::seq);
        Page { entries, next_after, last_seq: self.last_seq, dropped: self.dropped }
    }
}

impl Journal<JournalEntry> {
    /// Notes that the caller got its answer; nothing happens if the entry is gone.
    pub(crate) fn mark_answered(&mut self, seq: u64) {
        if let Some(entry) = self.get_mut(seq) {
            entry.answered = true;
        }
    }
}
