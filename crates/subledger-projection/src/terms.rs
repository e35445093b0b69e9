//! Texts that many rows repeat, by number: ids of templates and of sender apps.
//!
//! The numbers stand in the table `term`, which only grows. They are not part of what a row says (rows are compared by
//! their texts), so it does not matter who gives them, or in which order.

use std::{collections::HashMap, sync::Arc};

/// Numbers that are known here; more may be in the database.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    numbers: HashMap<Arc<str>, i32>,
}

impl Terms {
    pub(crate) fn number(&self, text: &str) -> Option<i32> {
        self.numbers.get(text).copied()
    }

    pub(crate) fn learn(&mut self, text: &str, number: i32) {
        self.numbers.insert(Arc::from(text), number);
    }
}
