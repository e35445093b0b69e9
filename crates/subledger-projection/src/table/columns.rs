//! The columns of each table, for writing rows in bulk: those of its key first, then in the order of the row's fields.

use super::{Column, Table, flag, int, json, text};

/// The columns of a table, without the log and the generation, which begin each row.
pub(super) const fn of(table: Table) -> &'static [Column] {
    match table {
        Table::Channels => CHANNELS,
        Table::Templates => TEMPLATES,
        Table::Bindings => BINDINGS,
        Table::Ledgers => LEDGERS,
        Table::Lots => LEDGER_LOTS,
        Table::Messages => MESSAGES,
        Table::Deliveries => DELIVERIES,
        Table::ReportBooks => REPORT_BOOKS,
        Table::ReportSends => REPORT_SENDS,
        Table::ReportTemplates => REPORT_TEMPLATES,
        Table::ReportClosings => REPORT_CLOSINGS,
        Table::ReportCounts => REPORT_COUNTS,
        Table::Apps => APPS,
        Table::AppKeys => APP_KEYS,
    }
}

const CHANNELS: &[Column] = &[
    text("code"),
    text("appid"),
    text("name"),
    text("token_mode"),
    json("policy"),
    int("paused_at"),
    text("pause_reason"),
    int("secret_replaced_at"),
    int("registered_at"),
    int("templates_refreshed_at"),
    int("templates_listed"),
    int("templates_vanished"),
];

const TEMPLATES: &[Column] = &[
    text("id"),
    text("title"),
    text("content"),
    text("example"),
    text("kind"),
    json("keys"),
    flag("listed"),
    int("first_seen_at"),
    int("changed_at"),
    int("vanished_at"),
];

const BINDINGS: &[Column] =
    &[text("user_ref"), text("subject"), int("bound_at"), int("moved_at"), int("unbound_at")];

const LEDGERS: &[Column] = &[
    text("subject"),
    text("template"),
    int("balance"),
    int("reserved"),
    int("in_doubt"),
    int("granted"),
    int("consumed"),
    int("voided"),
    int("rejected"),
    int("suspended_since"),
    flag("consented"),
    int("last_grant_at"),
    text("last_choice"),
    int("last_event_at"),
    json("state"),
];

const LEDGER_LOTS: &[Column] = &[
    text("subject"),
    text("template"),
    int("lot"),
    text("state"),
    int("granted_at"),
    text("word"),
    text("evidence_source"),
    text("evidence_ref"),
    text("delivery"),
    text("doubted_by"),
    int("changed_at"),
];

const MESSAGES: &[Column] = &[
    text("id"),
    text("app"),
    text("template"),
    text("kind"),
    int("targeted"),
    int("expires_at"),
    int("accepted_at"),
    int("retracted_at"),
    int("updated_at"),
    int("position"),
    int("queued"),
    int("started"),
    int("in_doubt"),
    int("sent"),
    int("refused"),
    int("failed"),
    int("expired"),
    int("retracted"),
    int("not_sent"),
    int("skipped"),
];

const DELIVERIES: &[Column] = &[
    text("message"),
    int("idx"),
    text("user_ref"),
    text("subject"),
    text("template"),
    text("state"),
    text("reason"),
    int("code"),
    text("rid"),
    text("wechat_msgid"),
    int("lot"),
    text("basis"),
    text("settled_by"),
    int("attempts"),
    int("not_before"),
    int("accepted_at"),
    int("started_at"),
    int("updated_at"),
    int("planned_position"),
    int("position"),
];

const REPORT_BOOKS: &[Column] = &[text("subject"), text("template"), json("state")];

const REPORT_SENDS: &[Column] = &[text("id"), text("template")];

const REPORT_TEMPLATES: &[Column] = &[
    text("template"),
    int("granted"),
    int("open"),
    int("reserved"),
    int("in_doubt"),
    int("consumed"),
    int("voided"),
    int("since"),
    int("changed_at"),
];

const REPORT_CLOSINGS: &[Column] = &[
    text("template"),
    int("bucket"),
    int("granted"),
    int("open"),
    int("reserved"),
    int("in_doubt"),
    int("consumed"),
    int("voided"),
];

const REPORT_COUNTS: &[Column] =
    &[text("template"), int("bucket"), text("measure"), text("class"), int("amount")];

const APPS: &[Column] = &[text("id"), text("name"), json("rights"), json("channels"), int("created_at")];

const APP_KEYS: &[Column] = &[text("app"), text("key"), text("hash"), int("added_at"), int("revoked_at")];
