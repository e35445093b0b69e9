//! The statements that read and write whole rows, made from the columns. Parameters are numbered `?1` on SQLite and `$1` on
//! PostgreSQL.

use std::fmt::Write as _;

use super::{Kind, Table};
use crate::database::Statement;

impl Table {
    /// Its columns as read from rows named `row`, in order.
    pub(crate) fn list(self, row: &str) -> String {
        let mut list = String::new();
        for column in self.columns() {
            let separator = if list.is_empty() { "" } else { ", " };
            let name = column.name;
            let _ = match column.kind {
                Kind::Term => {
                    write!(list, "{separator}(select n.text from term n where n.number = {row}.{name})")
                }
                _ => write!(list, "{separator}{row}.{name}"),
            };
        }
        list
    }

    /// The names of its columns.
    pub(crate) fn names(self) -> Vec<&'static str> {
        self.columns().iter().map(|column| column.name).collect()
    }

    /// Rows of a generation ($1) in the order of a digest: by key, and texts by themselves rather than by their numbers.
    pub(crate) fn scan(self) -> String {
        let name = self.name();
        let keys = &self.columns()[..self.key_columns()];
        let order: Vec<String> = keys
            .iter()
            .map(|key| match key.kind {
                Kind::Term => "named.text".to_owned(),
                _ => format!("t.{}", key.name),
            })
            .collect();
        let from = match keys.iter().find(|key| key.kind == Kind::Term) {
            Some(key) => format!("term named cross join {name} t on t.{} = named.number", key.name),
            None => format!("{name} t"),
        };
        format!("select {} from {from} where t.generation = $1 order by {}", self.list("t"), order.join(", "))
    }

    /// `on conflict` with the key: takes the columns of the new row over.
    pub(crate) fn or_replace(self) -> String {
        let names = self.names();
        let (keys, rest) = names.split_at(self.key_columns());
        let sets: Vec<String> = rest.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        format!(" on conflict (generation, {}) do update set {}", keys.join(", "), sets.join(", "))
    }
}

macro_rules! dropping {
    ($($table:ident $name:literal ($key:literal);)+) => {
        impl Table {
            /// Deletes some rows of a generation; parameters: generation, limit.
            pub(crate) const fn drop_rows(self) -> Statement {
                match self {
                    $(Self::$table => Statement {
                        sqlite: concat!(
                            "delete from ", $name, " where (generation, ", $key, ") in (select generation, ", $key,
                            " from ", $name, " where generation = ?1 limit ?2)"
                        ),
                        postgres: concat!(
                            "delete from ", $name, " where ctid = any (array(select ctid from ", $name,
                            " where generation = $1 limit $2))"
                        ),
                    },)+
                }
            }
        }
    };
}

dropping! {
    Channels "channels" ("code");
    Templates "templates" ("id");
    Bindings "bindings" ("user_ref");
    Ledgers "ledgers" ("template, subject");
    Lots "ledger_lots" ("template, subject, lot");
    Messages "messages" ("id");
    Deliveries "deliveries" ("message, idx");
    Doubts "doubts" ("message, idx, attempt");
    Drifts "drifts" ("found_at, position");
    Strangers "strangers" ("template, subject");
    ReportTemplates "report_templates" ("template");
    ReportClosings "report_closings" ("template, bucket");
    ReportCounts "report_counts" ("template, bucket, measure, class");
    Apps "apps" ("id");
    AppKeys "app_keys" ("app, key");
}
