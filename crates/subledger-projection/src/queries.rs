//! Typed questions to the read models.
//!
//! Each question is one statement whose answer carries the position it stands at, so rows and position are of one
//! snapshot and a rebuild that swaps in between is never seen half. Questions about a log nobody follows yet are answered
//! with nothing at position zero.

mod apps;
mod bindings;
mod channels;
mod ledgers;
mod messages;
mod question;
mod reports;

use serde::de::DeserializeOwned;
use subledger_domain::{ChannelCode, LogName};
use subledger_store::{Position, Store, StoreError};

use crate::{
    Answer, QueryError,
    database::{Param, ask_rows},
    table::{Kind, Row},
    tuples::{Cells, Tuples, Unreadable},
};

use question::Question;

pub use apps::AppKeyAnswer;
pub use messages::MessageFilter;
pub use reports::{
    AGES, ActivityCounts, ActivityLine, DEFAULT_REPORT_DAYS, DEFAULT_ZONE, DoubtCount, DoubtCounts,
    DoubtFilter, DoubtReport, DoubtState, DriftCount, DriftCounts, DriftFilter, DriftReport, Entries, Grain,
    Group, Lines, Loss, LossReason, MAX_REPORT_DAYS, MAX_REPORT_LINES, MAX_REPORT_TEMPLATES, Reach,
    ReachAges, ReachBand, Report, ReportDay, ReportDays, ReportError, ReportTable, Stock, StockLine,
    check_report_page,
};

/// Answers from the read models of a store. Cheap to clone.
#[derive(Clone)]
pub struct Queries {
    store: Store,
}

impl Queries {
    /// Queries on this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The rows of one log and the position they stand at; nothing at position zero where nobody follows the log yet.
    async fn of_log<R: Row>(
        &self,
        log: &str,
        question: &Question,
        params: Vec<Param>,
    ) -> Result<Answer<Vec<R>>, QueryError> {
        self.answer(log, question.statement(), &question.kinds(), params, R::take).await
    }

    /// The rows of one channel and the position they stand at.
    async fn of_channel<R: Row>(
        &self,
        code: &ChannelCode,
        question: &Question,
        params: Vec<Param>,
    ) -> Result<Answer<Vec<R>>, QueryError> {
        self.of_log(code.as_str(), question, params).await
    }

    /// The rows of the log `main` and the position they stand at.
    async fn of_main<R: Row>(
        &self,
        question: &Question,
        params: Vec<Param>,
    ) -> Result<Answer<Vec<R>>, QueryError> {
        self.of_log(LogName::MAIN, question, params).await
    }

    async fn answer<T>(
        &self,
        log: &str,
        statement: String,
        kinds: &[Kind],
        params: Vec<Param>,
        take: impl Fn(&mut Cells<'_>) -> Result<T, Unreadable>,
    ) -> Result<Answer<Vec<T>>, QueryError> {
        let params: Vec<_> = std::iter::once(Param::from(log)).chain(params).collect();
        let found = ask_rows(&self.store, "answering a query", statement, &params, kinds).await?;
        let mut answer = Answer { value: Vec::with_capacity(found.len()), position: Position(0) };
        for (position, row) in &found {
            match u64::try_from(*position) {
                Ok(position) => answer.position = Position(position),
                Err(_) => answer.value.extend(taken(row, kinds.len(), &take)?),
            }
        }
        Ok(answer)
    }
}

fn taken<T>(
    row: &Tuples,
    fields: usize,
    take: &impl Fn(&mut Cells<'_>) -> Result<T, Unreadable>,
) -> Result<Option<T>, QueryError> {
    row.iter(fields).next().map(|mut cells| take(&mut cells)).transpose().map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::fmt::Display) -> QueryError {
    QueryError::Store(StoreError::Corrupt(format!(
        "rows of a read model cannot be read; rebuild it: {error}"
    )))
}

/// The only row of an answer.
fn single<T>(answer: Answer<Vec<T>>) -> Answer<Option<T>> {
    Answer { value: answer.value.into_iter().next(), position: answer.position }
}

/// One more row than wanted tells that there is another page.
const fn surplus(limit: u32) -> Param {
    Param::Int(limit as i64 + 1)
}

fn at(position: i64) -> Position {
    Position(u64::try_from(position).unwrap_or_default())
}

fn parsed<T: DeserializeOwned>(json: &str) -> Result<T, QueryError> {
    serde_json::from_str(json).map_err(|error| unreadable(&error))
}
