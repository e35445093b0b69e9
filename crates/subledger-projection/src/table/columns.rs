//! The columns of each table: those of its key first, then in the order in which the row writes its fields.

use super::{Column, Kind, Table};

macro_rules! columns {
    ($($table:ident: $($kind:ident [$($name:literal),+])+;)+) => {
        /// The columns of a table, without the generation, which begins each row.
        pub(super) const fn of(table: Table) -> &'static [Column] {
            match table {
                $(Table::$table => &[$($(Column { name: $name, kind: Kind::$kind },)+)+],)+
            }
        }
    };
}

columns! {
    Channels: Text ["code", "appid", "name", "token_mode", "policy"] Big ["paused_at"] Text ["pause_reason"]
        Big ["secret_replaced_at", "registered_at", "templates_refreshed_at"]
        Int ["templates_listed", "templates_vanished"] Text ["callback", "relay", "token", "platform"];
    Templates: Text ["id", "title", "content", "example"] Small ["kind"] Text ["keys"] Small ["listed"]
        Big ["first_seen_at", "changed_at", "vanished_at"];
    Bindings: Bytes ["user_ref", "subject"] Big ["bound_at", "moved_at", "unbound_at"];
    Ledgers: Term ["template"] Bytes ["subject"]
        Int ["balance", "reserved", "in_doubt", "granted", "consumed", "voided", "rejected"]
        Big ["suspended_since"] Small ["consented"] Big ["last_grant_at"] Small ["last_choice"]
        Big ["last_event_at"] Bytes ["state"];
    Lots: Term ["template"] Bytes ["subject"] Int ["lot"] Small ["state"] Big ["granted_at"] Text ["word"]
        Small ["evidence_source"] Text ["evidence_ref"] Bytes ["delivery", "doubted_by"] Big ["changed_at"];
    Messages: Bytes ["id"] Term ["app", "template"] Small ["kind"] Int ["targeted"]
        Big ["expires_at", "accepted_at", "retracted_at", "updated_at", "position"]
        Int ["queued", "started", "in_doubt", "sent", "refused", "failed", "expired", "retracted", "not_sent",
            "skipped"];
    Deliveries: Bytes ["message"] Int ["idx"] Bytes ["user_ref", "subject"] Term ["template"] Small ["state"]
        Text ["reason"] Big ["code"] Text ["rid", "wechat_msgid"] Int ["lot"] Small ["basis"] Text ["settled_by"]
        Small ["attempts"]
        Big ["not_before", "accepted_at", "started_at", "updated_at", "planned_position", "position",
            "sent_event_at", "sent_event_code", "in_doubt_at"];
    Doubts: Bytes ["message"] Int ["idx"] Small ["attempt"] Term ["template"] Bytes ["subject"] Small ["cause"]
        Big ["began_at", "position", "ended_at"] Small ["ended", "outcome"] Big ["corrected_at"] Small ["corrected"];
    Drifts: Big ["found_at", "position"] Term ["template"] Bytes ["subject", "message"] Int ["idx", "grants", "explained"]
        Small ["cause"] Big ["last_grant_at", "last_settings_at"];
    Strangers: Term ["template"] Bytes ["subject"] Int ["lots"];
    ReportTemplates: Term ["template"]
        Big ["granted", "open", "reserved", "in_doubt", "consumed", "voided", "since", "changed_at"];
    ReportClosings: Term ["template"] Int ["bucket"]
        Big ["granted", "open", "reserved", "in_doubt", "consumed", "voided"];
    ReportCounts: Term ["template"] Int ["bucket"] Text ["measure", "class"] Big ["amount"];
    Apps: Text ["id", "name", "rights", "channels"] Big ["created_at"];
    AppKeys: Text ["app", "key", "hash"] Big ["added_at", "revoked_at"];
}
