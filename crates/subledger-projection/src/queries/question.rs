//! A question for whole rows, as one statement for both databases.
//!
//! It answers with the position that the live generation stands at and with its rows, both of one snapshot, in one
//! statement: a row with the position alone, then the rows. So there is an answer where no row fits, too.

use crate::table::{Kind, Table};

/// Which rows of a live generation, in which order. Parameter $1 is the log.
pub(super) struct Question {
    /// The projection.
    pub(super) of: &'static str,
    pub(super) table: Table,
    /// Where the rows, named `t`, are taken from, if not from their table alone.
    pub(super) from: Option<&'static str>,
    /// What must hold beside the generation; `{live}` is its number.
    pub(super) given: &'static str,
    pub(super) order: &'static str,
    /// The parameter that bounds their number, if one does.
    pub(super) limit: Option<&'static str>,
}

impl Question {
    /// The statement.
    pub(super) fn statement(&self) -> String {
        let from = self.from.map_or_else(|| format!("{} t", self.table.name()), str::to_owned);
        answered(self.of, self.table.columns().len(), |live| {
            format!(
                "select -1 as position, {} from {from} where t.generation = {live} and {} order by {}{}",
                self.table.list("t"),
                self.given.replace("{live}", live),
                self.order,
                self.limit.map(|limit| format!(" limit {limit}")).unwrap_or_default(),
            )
        })
    }

    /// What its columns hold.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        kinds(self.table)
    }
}

pub(super) fn kinds(table: Table) -> Vec<Kind> {
    table.columns().iter().map(|column| column.kind).collect()
}

/// A row with the position alone, then what is asked for: as many columns, after one that holds -1.
pub(super) fn answered(projection: &str, columns: usize, rows: impl FnOnce(&str) -> String) -> String {
    let live = |what| {
        format!(
            "select g.{what} from projection g where g.log = $1 and g.name = '{projection}' and g.purpose = 'live'"
        )
    };
    let nothing = ", null".repeat(columns);
    let rows = rows(&format!("({})", live("generation")));
    let position = live("position").replacen("g.position", &format!("g.position{nothing}"), 1);
    format!("{position} union all select * from ({rows}) s")
}
