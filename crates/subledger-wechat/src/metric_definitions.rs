//! The names of this crate's metrics, in one place.
//!
//! Labels are closed sets: an API name, an outcome, a known code. Never an appid, openid, template or unknown code: those
//! grow without bound or are personal.

use metrics::{Unit, describe_counter, describe_histogram};

/// Calls to WeChat; labels `api`, `outcome`.
pub(crate) const CALLS: &str = "subledger_wechat_calls_total";
/// Duration of a call in seconds, connecting and reading included; label `api`.
pub(crate) const CALL_SECONDS: &str = "subledger_wechat_call_duration_seconds";
/// WeChat's answers by code; labels `api`, `errcode` ("other" for a code not in the table).
pub(crate) const ERRCODES: &str = "subledger_wechat_errcodes_total";
/// Token refreshes; labels `mode`, `outcome`.
pub(crate) const TOKEN_REFRESHES: &str = "subledger_wechat_token_refreshes_total";
/// Tokens that WeChat refused long before their end: another system replaces them; label `mode`.
pub(crate) const TOKEN_CONFLICTS: &str = "subledger_wechat_token_conflicts_total";
/// Refreshes not made because the budget was spent; label `mode`.
pub(crate) const TOKEN_BUDGET_SPENT: &str = "subledger_wechat_token_budget_spent_total";

/// Registers descriptions of all metrics of this crate with the installed recorder.
pub fn describe_metrics() {
    describe_counter!(CALLS, "calls to WeChat by api and outcome");
    describe_histogram!(CALL_SECONDS, Unit::Seconds, "duration of calls to WeChat");
    describe_counter!(ERRCODES, "answers of WeChat by api and code");
    describe_counter!(TOKEN_REFRESHES, "access token refreshes by mode and outcome");
    describe_counter!(
        TOKEN_CONFLICTS,
        "access tokens refused before their time: another system replaces them"
    );
    describe_counter!(TOKEN_BUDGET_SPENT, "access token refreshes held back by the hourly budget");
}
