//! Past states, and every number with the events behind it.
