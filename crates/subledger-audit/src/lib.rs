//! What an auditor asks of the log: is it whole, what did it say then, why is a number what it is.
//!
//! Everything here reads and nothing appends. [`proof`] checks a database or an exported file and names the first bad
//! event; [`history`] rebuilds past states and explains numbers by the events behind them.

pub mod history;
pub mod proof;
