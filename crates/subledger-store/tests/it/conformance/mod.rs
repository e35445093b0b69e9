//! What a store promises, whichever database it stands on.

pub mod decisions;
pub mod forgetting;
pub mod framework;
pub mod keys;
pub mod leases;
pub mod log;
pub mod platforms;
pub mod pushes;
pub mod queue;
pub mod quotas;
pub mod readers;
pub mod receipts;
pub mod recovery;
pub mod relays;
pub mod scans;
pub mod tokens;
pub mod vaults;
