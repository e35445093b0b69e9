//! Sums that tests ask about without reading the whole journal.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::platform::ComponentCall;
use crate::push::PushSums;

/// Token calls for one app that gave a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TokenCalls {
    /// `GET /cgi-bin/token`.
    pub token: u64,
    /// `POST /cgi-bin/stable_token` in normal mode.
    pub stable: u64,
    /// `POST /cgi-bin/stable_token` with `force_refresh`.
    pub stable_forced: u64,
    /// `api_query_auth` of a platform, for the app.
    pub query_auth: u64,
    /// `api_authorizer_token` of a platform, for the app.
    pub authorizer: u64,
    /// Tokens made by these calls; a call in stable normal mode mostly gives one that was made before.
    pub issued: u64,
    /// Calls with the app's own secret that were refused. Those of platforms are in [`Stats::component_calls`].
    pub refused: u64,
}

/// Sums since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Token calls by app; calls with an appid nobody made count under the empty name.
    pub token_calls: BTreeMap<String, TokenCalls>,
    /// Calls of platforms by platform, call and errcode; those of a platform nobody made count under the empty name.
    pub component_calls: BTreeMap<String, BTreeMap<ComponentCall, BTreeMap<i64, u64>>>,
    /// Judged sends by WeChat's own errcode.
    pub sends: BTreeMap<i64, u64>,
    /// Sends that a fault kept from being judged.
    pub sends_not_judged: u64,
    /// Calls of `gettemplate` by errcode.
    pub gettemplate: BTreeMap<i64, u64>,
    /// Calls of `openapi/quota/get` by errcode.
    pub quota_get: BTreeMap<i64, u64>,
    /// Calls that clear quotas by errcode.
    pub clear_quota: BTreeMap<i64, u64>,
    /// Calls of `jscode2session` by errcode.
    pub jscode2session: BTreeMap<i64, u64>,
    /// Pushes by event.
    pub pushes: BTreeMap<String, PushSums>,
    /// Greatest journal `seq` so far.
    pub journal_last_seq: u64,
    /// Journal entries dropped because the journal was full.
    pub journal_dropped: u64,
}
