//! The views for BI tools say what the queries say.

use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Column, Row, ValueRef};
use subledger_projection::{
    ActivityCounts, DoubtFilter, DriftFilter, Grain, PageRequest, ReportTable, rebuild,
};
use subledger_store::Database;

use crate::{
    history::{code, message, tell},
    reports::{days, half_a_year},
    support::{Node, Place, on_both_databases},
};

on_both_databases!(
    daily_views_are_the_activity_report,
    the_stock_view_is_the_stock_report,
    the_message_view_is_the_loss,
    drift_and_doubt_views_are_the_reports
);

/// The rows of a view, as objects.
async fn rows(node: &Node, view: &str) -> Vec<Value> {
    let rows: Vec<Value> = match node.store.database() {
        Database::Postgres(pool) => {
            let statement = format!("select row_to_json(t)::text from {view} t");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(pool).await.unwrap();
            rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect()
        }
        Database::Sqlite(db) => {
            let statement = AssertSqlSafe(format!("select * from {view}"));
            let rows = sqlx::query(statement).fetch_all(&db.views_readers).await.unwrap();
            let object = |row: &sqlx::sqlite::SqliteRow| {
                let mut object = Map::new();
                for column in row.columns() {
                    let name = column.name();
                    let value = if row.try_get_raw(name).unwrap().is_null() {
                        Value::Null
                    } else {
                        let number = row.try_get::<i64, _>(name).map(Value::from);
                        number.unwrap_or_else(|_| json!(row.get::<String, _>(name)))
                    };
                    object.insert(name.to_owned(), value);
                }
                Value::Object(object)
            };
            rows.iter().map(object).collect()
        }
    };
    let key = |row: &Value| format!("{} {} {}", row["template_id"], row["day"], row["class"]);
    let mut rows: Vec<Value> = rows;
    rows.sort_by_key(key);
    rows
}

async fn daily_views_are_the_activity_report(place: Place) {
    let node = half_a_year(&place).await;
    let days = days("Asia/Shanghai");
    let all = PageRequest::first(10);
    // A second generation stands beside the live one while a rebuild runs; after it, another one is live.
    for _ in 0..2 {
        let report = node.queries.report_activity(&code(), &days, Grain::Day, None, &all).await.unwrap();
        let lines = report.value.lines;
        let seen = rows(&node, "report_daily").await;
        assert_eq!(seen.len(), lines.len());
        for (row, line) in seen.iter().zip(&lines) {
            assert_eq!(row["channel"], code().as_str());
            assert_eq!(row["template_id"], line.template.as_str());
            assert_eq!(row["day"], days.days[line.day.unwrap()].date);
            let counts = ActivityCounts::from(line);
            for ((name, _), value) in ActivityCounts::COLUMNS.iter().zip(counts.values()) {
                assert_eq!(row[name], value, "{name} of {row}");
            }
            let columns = row.as_object().unwrap().len();
            assert_eq!(columns, ActivityCounts::COLUMNS.len() + 3, "a column nobody reports: {row}");
        }
        let by_class = rows(&node, "report_daily_classes").await;
        let told = lines.iter().flat_map(|line| {
            line.classes.iter().flat_map(move |(measure, classes)| {
                classes.iter().map(move |(class, amount)| (line, measure.as_str(), class, amount))
            })
        });
        let mut found = 0;
        for (line, measure, class, amount) in told {
            let day = &days.days[line.day.unwrap()].date;
            let same =
                |row: &&Value| row["day"] == **day && row["measure"] == measure && row["class"] == **class;
            let row = by_class.iter().find(same);
            assert_eq!(row.map(|row| row["amount"].clone()), Some(json!(amount)), "{day} {measure} {class}");
            found += 1;
        }
        assert_eq!(by_class.len(), found);
        rebuild(&node.store, None, |_| {}).await.unwrap();
    }
}

async fn the_stock_view_is_the_stock_report(place: Place) {
    let node = half_a_year(&place).await;
    let days = days("Asia/Shanghai");
    let all = PageRequest::first(10);
    let stock = node.queries.report_stock(&code(), &days, None, &all).await.unwrap().value;
    let seen = rows(&node, "report_stock").await;
    assert!(seen.len() > 30);
    for row in &seen {
        let line = stock.days.lines.iter().find(|line| row["day"] == *days.days[line.day].date).unwrap();
        for (name, value) in serde_json::to_value(line.closing).unwrap().as_object().unwrap() {
            assert_eq!(row[name], *value, "{name} of {row}");
        }
    }
    let moved = stock.days.lines.windows(2).filter(|pair| pair[0].closing != pair[1].closing).count() + 1;
    assert!(seen.len() >= moved, "every day on which it moved has a row");
}

async fn the_message_view_is_the_loss(place: Place) {
    let node = Node::on(&place).await;
    tell(&node).await;
    node.catch_up().await;
    let loss = node.queries.report_loss(&code(), message(1)).await.unwrap().value.unwrap();
    let row = node.queries.message(&code(), message(1)).await.unwrap().value.unwrap();
    let [seen] = rows(&node, "report_messages").await.try_into().unwrap();
    assert_eq!(seen["msgid"], loss.msgid.to_string());
    let told = serde_json::to_value(&loss).unwrap();
    for step in ["targeted", "bound", "with_grant", "handed_over", "accepted", "confirmed", "template_id"] {
        assert_eq!(seen[step], told[step], "{step}");
    }
    for (state, count) in serde_json::to_value(row.counts).unwrap().as_object().unwrap() {
        assert_eq!(seen[state], *count, "{state}");
    }
    assert!(seen["accepted_at"].as_str().unwrap().starts_with("2025-06-15T15:"), "{seen}");
}

/// Seconds and ages of doubts that are open have no place in a view.
async fn drift_and_doubt_views_are_the_reports(place: Place) {
    let node = half_a_year(&place).await;
    let days = days("Asia/Shanghai");
    let all = PageRequest::first(200);
    let drift = node.queries.report_drift(&code(), &days, &DriftFilter::default(), &all).await.unwrap();
    let any = DoubtFilter::default();
    let doubts = node.queries.report_doubts(&code(), &days, &any, node.now(), &all).await.unwrap();
    for (view, table, positions) in [
        (
            "report_drifts",
            ReportTable::of_drift(&drift, &code(), &days),
            drift.value.entries.iter().map(|row| row.position).collect::<Vec<_>>(),
        ),
        (
            "report_doubts",
            ReportTable::of_doubts(&doubts, &code(), &days, node.now()),
            doubts.value.entries.iter().map(|row| row.position).collect(),
        ),
    ] {
        let seen = rows(&node, view).await;
        assert!(seen.len() > 3 && seen.len() == table.rows.len(), "{view}: {seen:?}");
        for (told, position) in table.rows.iter().zip(positions) {
            let row = seen.iter().find(|row| row["position"] == position.0).unwrap();
            let mut compared = 0;
            for (column, value) in table.columns.iter().zip(told) {
                let open = row["ended"] == "open" && ["age", "age_seconds"].contains(column);
                let name = match *column {
                    "index" => "recipient_index",
                    "age_seconds" if view == "report_doubts" => "seconds",
                    "end" => "ended",
                    "position" | "recorded_at" | "zone" | "as_of" => continue,
                    name => name,
                };
                let seen = match &row[name] {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                // Views tell times to the millisecond, or in the zone of the session.
                let (seen, told) = if name.ends_with("_at") {
                    (seen.is_empty().to_string(), value.is_empty().to_string())
                } else {
                    (seen, if open { String::new() } else { value.clone() })
                };
                assert_eq!(seen, told, "{name} of {row}");
                compared += 1;
            }
            assert!(compared > 9 && row["day"].is_string());
        }
    }
}
