//! The metrics of the use cases. Names end in their unit; labels never carry users.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Deliveries by how an attempt ended. Labels: `channel`, `outcome`.
pub(crate) const ATTEMPTS: &str = "subledger_delivery_attempts_total";
/// Seconds from "started" to WeChat's answer. Label: `channel`.
pub(crate) const CALL_SECONDS: &str = "subledger_wechat_send_seconds";
/// Calls to WeChat under way. Label: `channel`.
pub(crate) const IN_FLIGHT: &str = "subledger_sends_in_flight";
/// Grants recorded. Label: `channel`.
pub(crate) const GRANTS: &str = "subledger_grants_total";
/// Recipients of accepted messages. Labels: `channel`, `result` (accepted, or why skipped).
pub(crate) const RECIPIENTS: &str = "subledger_recipients_total";
/// Leases of dead nodes found. Labels: `channel`, `result` (requeued, in_doubt).
pub(crate) const SWEPT: &str = "subledger_leases_swept_total";
/// Doubts closed because nobody settled them in time. Labels: `channel`, `verdict` (sent, not_sent).
pub(crate) const DOUBTS_CLOSED: &str = "subledger_doubts_closed_total";
/// Rows of the queue. Labels: `channel`, `state`.
pub(crate) const QUEUE_ROWS: &str = "subledger_queue_rows";
/// Age in seconds of the oldest delivery that is due. Label: `channel`.
pub(crate) const OLDEST_UNDONE_SECONDS: &str = "subledger_oldest_undone_seconds";

/// Times WeChat was asked about a quota. Labels: `channel`, `result` (ok, failed).
pub(crate) const QUOTA_POLLS: &str = "subledger_quota_polls_total";
/// Sends a day that WeChat allows. Label: `channel`.
pub(crate) const QUOTA_LIMIT: &str = "subledger_quota_limit";
/// Sends of today when WeChat was last asked. Label: `channel`.
pub(crate) const QUOTA_USED: &str = "subledger_quota_used";
/// Sends left today when WeChat was last asked. Label: `channel`.
pub(crate) const QUOTA_REMAINING: &str = "subledger_quota_remaining";
/// When that was, seconds since 1970. Only the node that asked shows the four. Label: `channel`.
pub(crate) const QUOTA_READ: &str = "subledger_quota_read_timestamp_seconds";
/// Whether bulk deliveries are held: 1 or 0. Label: `channel`.
pub(crate) const BULK_HELD: &str = "subledger_bulk_held";

/// Pushes from WeChat that were taken in. Labels: `channel`, `kind`, `result` (what became of it, or `repeated`).
pub(crate) const PUSHES: &str = "subledger_pushes_total";
/// Requests to a push URL that were refused. Labels: `channel`, `class`.
pub(crate) const PUSH_REFUSALS: &str = "subledger_push_refusals_total";

/// Attempts to relay a push. Labels: `channel`, `outcome`.
pub(crate) const RELAY_ATTEMPTS: &str = "subledger_relay_attempts_total";
/// Age in seconds of the oldest push that the integrator's back end is still to get; 0 if none waits. Label: `channel`.
pub(crate) const RELAY_OLDEST_SECONDS: &str = "subledger_relay_oldest_waiting_seconds";
/// Pushes to third-party platforms. Labels: `platform`, `kind`, `result`.
pub(crate) const PLATFORM_PUSHES: &str = "subledger_platform_pushes_total";
/// Requests to a platform's push URLs that were refused. Labels: `platform`, `class`.
pub(crate) const PLATFORM_PUSH_REFUSALS: &str = "subledger_platform_push_refusals_total";
/// Age in seconds of a platform's newest ticket; that of a dead one while none has come. Label: `platform`.
pub(crate) const TICKET_AGE_SECONDS: &str = "subledger_platform_ticket_age_seconds";
/// Authorizations that ended. Labels: `platform`, `result` (authorized, or why not).
pub(crate) const AUTHORIZATIONS: &str = "subledger_platform_authorizations_total";
/// Persons erased. No label: nothing about whom.
pub(crate) const ERASURES: &str = "subledger_erasures_total";
/// Rows deleted because they were kept long enough. Label: `class`.
pub(crate) const RETENTION_ROWS: &str = "subledger_retention_deleted_rows_total";
/// Bytes of their values. Label: `class`.
pub(crate) const RETENTION_BYTES: &str = "subledger_retention_deleted_bytes_total";

/// Registers units and help texts with the installed recorder.
pub fn describe_metrics() {
    describe_counter!(ATTEMPTS, Unit::Count, "Attempts to hand a delivery to WeChat, by outcome");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "Time of one call of message/subscribe/send");
    describe_gauge!(IN_FLIGHT, Unit::Count, "Sends under way");
    describe_counter!(GRANTS, Unit::Count, "Grants recorded");
    describe_counter!(RECIPIENTS, Unit::Count, "Recipients of accepted messages, by result");
    describe_counter!(SWEPT, Unit::Count, "Leases of lost nodes found and resolved");
    describe_counter!(DOUBTS_CLOSED, Unit::Count, "Doubts closed by the channel's deadline, by verdict");
    describe_gauge!(QUEUE_ROWS, Unit::Count, "Deliveries not ended, by state");
    describe_counter!(QUOTA_POLLS, Unit::Count, "Times WeChat was asked about a quota, by result");
    describe_gauge!(QUOTA_LIMIT, Unit::Count, "Sends a day that WeChat allows");
    describe_gauge!(QUOTA_USED, Unit::Count, "Sends of today when WeChat was last asked");
    describe_gauge!(QUOTA_REMAINING, Unit::Count, "Sends left today when WeChat was last asked");
    describe_gauge!(QUOTA_READ, Unit::Seconds, "When WeChat was last asked about the quota");
    describe_gauge!(BULK_HELD, Unit::Count, "Whether bulk deliveries are held for want of quota");
    describe_counter!(PUSHES, Unit::Count, "Pushes taken in, by kind and what became of them");
    describe_counter!(PUSH_REFUSALS, Unit::Count, "Requests to push URLs that were refused, by class");
    describe_counter!(RELAY_ATTEMPTS, Unit::Count, "Attempts to relay a push, by outcome");
    describe_gauge!(
        RELAY_OLDEST_SECONDS,
        Unit::Seconds,
        "Age of the oldest push that a back end is still to get"
    );
    describe_counter!(PLATFORM_PUSHES, Unit::Count, "Pushes to third-party platforms, by kind and result");
    describe_counter!(
        PLATFORM_PUSH_REFUSALS,
        Unit::Count,
        "Requests to platforms' push URLs that were refused"
    );
    describe_gauge!(TICKET_AGE_SECONDS, Unit::Seconds, "Age of a platform's newest ticket");
    describe_counter!(AUTHORIZATIONS, Unit::Count, "Authorizations that ended, by result");
    describe_counter!(ERASURES, Unit::Count, "Persons erased");
    describe_counter!(
        RETENTION_ROWS,
        Unit::Count,
        "Rows deleted because they were kept long enough, by class"
    );
    describe_counter!(RETENTION_BYTES, Unit::Bytes, "Bytes of the rows deleted by retention, by class");
    describe_gauge!(OLDEST_UNDONE_SECONDS, Unit::Seconds, "Age of the oldest delivery that is due");
}
