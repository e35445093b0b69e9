//! Faults of pushes: lost, duplicated, late, reordered. They are decided when a push is made, so a run with the same seed
//! loses the same pushes.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::PushEntry;
use crate::error::ControlError;

/// Most further copies of one push.
const MOST_COPIES: u32 = 100;
/// Longest delay in milliseconds of real time.
const LONGEST_MS: u64 = 600_000;
/// Longest delay in seconds of the sandbox's time: a year.
const LONGEST_SECONDS: u64 = 366 * 24 * 3_600;

/// What goes wrong with a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushFaultKind {
    /// It is never handed over.
    Lost,
    /// It is handed over `copies` times more, each with its own nonce, even after it was taken.
    Duplicated,
    /// It is held back for `ms` of real time, or for `seconds` of the sandbox's.
    Late,
    /// It goes after the next push of the same user, or after `ms` when none comes.
    Reordered,
}

/// A fault to inject. It hits pushes that match every filter given; of each kind at most one, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushFaultSpec {
    /// What goes wrong.
    pub kind: PushFaultKind,
    /// Only pushes of this app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// Only pushes from this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openid: Option<String>,
    /// Only pushes of this event, as [`PushEntry::event`] names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only pushes that speak of this template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// For `late` (at most 600,000) and `reordered` (default 500), in milliseconds of real time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// For `late`, in seconds of the sandbox's time; instead of `ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// For `duplicated`: further copies, 1..=100. Default 1.
    #[serde(default = "one_copy")]
    pub copies: u32,
    /// How many pushes it hits; 0 = until removed. Default 1.
    #[serde(default = "once")]
    pub times: u64,
    /// Chance of hitting a matching push, 0..=1. Default 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Seed of its dice: with one, pushes are hit by their number. Without, the sandbox's seed decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

const fn one_copy() -> u32 {
    1
}

const fn once() -> u64 {
    1
}

const fn always() -> f64 {
    1.0
}

/// How long a reordered push waits for one to overtake it.
const REORDER_MS: u64 = 500;

impl PushFaultSpec {
    /// A fault of `kind` that hits the next push, whatever it is.
    pub const fn new(kind: PushFaultKind) -> Self {
        Self {
            kind,
            appid: None,
            openid: None,
            event: None,
            template_id: None,
            ms: None,
            seconds: None,
            copies: one_copy(),
            times: once(),
            probability: always(),
            seed: None,
        }
    }

    fn validate(&self) -> Result<(), ControlError> {
        if self.kind == PushFaultKind::Late && self.ms.is_some() == self.seconds.is_some() {
            return Err(ControlError::invalid("ms", "or seconds: exactly one is required"));
        }
        if self.ms.is_some_and(|ms| ms > LONGEST_MS) {
            return Err(ControlError::invalid("ms", format!("must be at most {LONGEST_MS}")));
        }
        if self.seconds.is_some_and(|s| s > LONGEST_SECONDS) {
            return Err(ControlError::invalid("seconds", format!("must be at most {LONGEST_SECONDS}")));
        }
        if !(1..=MOST_COPIES).contains(&self.copies) {
            return Err(ControlError::invalid("copies", format!("must be 1..={MOST_COPIES}")));
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(ControlError::invalid("probability", "must be 0..=1"));
        }
        Ok(())
    }

    fn matches(&self, push: &PushEntry) -> bool {
        let same = |want: &Option<String>, have: &str| want.as_deref().is_none_or(|w| w == have);
        same(&self.appid, &push.appid)
            && same(&self.openid, &push.openid)
            && same(&self.event, &push.event)
            && self.template_id.as_ref().is_none_or(|id| push.template_ids.contains(id))
    }
}

/// A fault of pushes in force.
#[derive(Debug, Clone, Serialize)]
pub struct PushFaultView {
    /// Its id, for removal.
    pub id: u64,
    /// Pushes hit so far.
    pub hits: u64,
    /// What it is.
    #[serde(flatten)]
    pub spec: PushFaultSpec,
}

/// The faults that hit one push, put together.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fate {
    pub(super) kinds: Vec<PushFaultKind>,
    pub(super) lost: bool,
    pub(super) more_copies: u32,
    pub(super) late_ms: Option<u64>,
    pub(super) late_seconds: Option<u64>,
    pub(super) reorder_ms: Option<u64>,
}

/// The faults in force, oldest first.
#[derive(Debug, Default)]
pub(super) struct PushFaults {
    faults: BTreeMap<u64, PushFaultView>,
    last_id: u64,
}

impl PushFaults {
    pub(super) fn add(&mut self, spec: PushFaultSpec) -> Result<u64, ControlError> {
        spec.validate()?;
        self.last_id += 1;
        let id = self.last_id;
        self.faults.insert(id, PushFaultView { id, hits: 0, spec });
        Ok(id)
    }

    pub(super) fn list(&self) -> Vec<PushFaultView> {
        self.faults.values().cloned().collect()
    }

    pub(super) fn remove(&mut self, id: u64) -> Result<(), ControlError> {
        self.faults.remove(&id).map(drop).ok_or(ControlError::NotFound { what: "fault" })
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    /// Takes the faults that hit push number `seq`. A used-up fault is removed.
    pub(super) fn fate(&mut self, push: &PushEntry, seq: u64, dice: &mut StdRng) -> Fate {
        let mut fate = Fate::default();
        for fault in self.faults.values_mut() {
            let spec = &fault.spec;
            if fate.kinds.contains(&spec.kind) || !spec.matches(push) {
                continue;
            }
            let roll = match spec.seed {
                Some(seed) => StdRng::seed_from_u64(seed ^ seq.rotate_left(32)).random::<f64>(),
                None => dice.random::<f64>(),
            };
            if spec.probability < 1.0 && roll >= spec.probability {
                continue;
            }
            fault.hits += 1;
            fate.kinds.push(spec.kind);
            match spec.kind {
                PushFaultKind::Lost => fate.lost = true,
                PushFaultKind::Duplicated => fate.more_copies = spec.copies,
                PushFaultKind::Late => (fate.late_ms, fate.late_seconds) = (spec.ms, spec.seconds),
                PushFaultKind::Reordered => fate.reorder_ms = Some(spec.ms.unwrap_or(REORDER_MS)),
            }
        }
        self.faults.retain(|_, f| f.spec.times == 0 || f.hits < f.spec.times);
        fate
    }
}
