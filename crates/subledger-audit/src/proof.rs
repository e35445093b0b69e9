//! Proof that a log is whole.
