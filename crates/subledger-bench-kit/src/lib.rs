//! What every measured program shares, ours and the peers alike, so that all are measured by the same yardstick.
//!
//! [`Record`] is the line a measured program prints for each figure; [`spread`] is how rounds become a median. With the
//! feature `drive`: the closed loop of callers, the HTTP load client, what a process costs, and the floor of the machine.
//! Nothing here knows what is measured.

mod record;
mod stats;

#[cfg(feature = "drive")]
pub mod closed_loop;
#[cfg(feature = "drive")]
pub mod floor;
#[cfg(feature = "drive")]
pub mod load;
#[cfg(feature = "drive")]
pub mod process;

pub use record::{Labels, Latency, Record};
pub use stats::{Order, Spread, percentile, shuffled, spread};
