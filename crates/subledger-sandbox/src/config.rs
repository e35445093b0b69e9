//! What one sandbox is made with: seed, clock, the order of checks, and the points on which WeChat's documents are silent.

use std::sync::Arc;

use crate::check::{DEFAULT_CHECK_ORDER, SendCheck};
use crate::clock::{Clock, SystemClock};
use crate::reality::Reality;

/// Most journal entries kept; older ones are dropped and counted.
pub const JOURNAL_LIMIT: usize = 1_000_000;

/// Settings of a [`crate::Sandbox`], fixed for its life.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Seed of everything generated (ids, tokens, codes, rids, fault dice). The same control calls give the same ids.
    pub seed: u64,
    /// Time source. Default: [`SystemClock`].
    pub clock: Arc<dyn Clock>,
    /// Order in which a send is checked; must name every [`SendCheck`] exactly once.
    pub check_order: Vec<SendCheck>,
    /// Entries the journal keeps, 1 or more. Default: [`JOURNAL_LIMIT`].
    pub journal_limit: usize,
    /// Choices for what is undocumented, for apps that have none of their own.
    pub reality: Reality,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            clock: Arc::new(SystemClock),
            check_order: DEFAULT_CHECK_ORDER.to_vec(),
            journal_limit: JOURNAL_LIMIT,
            reality: Reality::default(),
        }
    }
}

impl std::fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("seed", &self.seed)
            .field("check_order", &self.check_order)
            .field("journal_limit", &self.journal_limit)
            .field("reality", &self.reality)
            .finish_non_exhaustive()
    }
}
