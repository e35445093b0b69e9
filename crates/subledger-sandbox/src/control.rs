//! The control API under `/sandbox`: everything the handle can do, over HTTP, in JSON.
//!
//! No authentication: it belongs on a test machine only. Bad input answers 400, an unknown thing 404, one that exists
//! already or that WeChat refuses 409, always as `{"error": {"code", "message"}}`, with WeChat's `errcode` where it has one.
//! Routes hold no rules of their own.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use serde_json::{Value, json};

use crate::error::ControlError;
use crate::sandbox::Sandbox;

mod apps;
mod day;
mod input;
mod platforms;
mod pushes;
mod tokens;
mod users;
mod world;

/// Every control route with one line on it; served at `/sandbox`.
const ROUTES: [(&str, &str); 63] = [
    ("GET /sandbox", "this list"),
    ("GET /healthz", "liveness"),
    ("GET /sandbox/apps", "all appids"),
    (
        "POST /sandbox/apps",
        "new app {appid, secret, any switch of PATCH, push{}?, reality{}?}; push and reality as in their PUT",
    ),
    ("GET /sandbox/apps/{appid}", "switches, templates, users, profile, push set-up"),
    (
        "GET /sandbox/apps/{appid}/books",
        "everything true of the app at one instant: counts of every user, sums, how far each journal is",
    ),
    (
        "PATCH /sandbox/apps/{appid}",
        "{secret, ip_allowlist_on, ip_allowlist[], frozen, banned, permissions{send,templates,login}, pages[], \
         sensitive_words[], per_minute_limit, daily_limit, template_daily_limit, clear_monthly_limit, \
         token_daily_limit, stable_per_minute_limit, stable_daily_limit, force_daily_limit, tap_limit, \
         unionid_on, account{mini_program, nick_name, …}}; limits: 0 = none",
    ),
    (
        "POST /sandbox/apps/{appid}/templates",
        "{priTmplId?, title, content, example?, type?, keywordEnumValueList?}",
    ),
    ("DELETE /sandbox/apps/{appid}/templates/{priTmplId}", "delete a template"),
    ("POST /sandbox/apps/{appid}/users", "{openid?} -> openid"),
    ("POST /sandbox/apps/{appid}/login-codes", "{openid} -> code: one use, five minutes"),
    (
        "POST /sandbox/apps/{appid}/taps",
        "{openid, template_ids[], choice?, choices{}?, keep?, omit[]?, id?, version: develop|trial|release} -> the client's result object; choice: \
         accept|reject|ban|filter|acceptWithAlert|acceptWithAudio|acceptWithForcePush",
    ),
    (
        "POST /sandbox/apps/{appid}/settings",
        "{openid, template_id, state: reject|accept} or {openid, state: main_switch_off|main_switch_on} or \
         {openid, main_switch: bool}; place: card (default)|settings_page",
    ),
    (
        "POST /sandbox/apps/{appid}/day",
        "{seed, users, taps, sends?, templates[]?, scale?, move_clock?} -> a day of its users, one JSON line for each \
         thing they did, with what an honest client would report; the same seed is the same day",
    ),
    ("GET /sandbox/apps/{appid}/users/{openid}/counts", "true counts and switches"),
    ("GET /sandbox/apps/{appid}/users/{openid}/setting", "what wx.getSetting answers"),
    ("POST /sandbox/apps/{appid}/tokens/revoke", "end every token of the app"),
    ("POST /sandbox/tokens/revoke", "{appids[]?}: end every token for all apps, or for these -> how many"),
    (
        "POST /sandbox/tokens/refresh",
        "{appids[]?, mode?: normal|forced}: another system gets a new token for all apps, or for these",
    ),
    ("GET /sandbox/platforms", "the appids of all platforms"),
    (
        "POST /sandbox/platforms",
        "new platform {component_appid, secret, any switch of PATCH}; its first ticket is pushed at once",
    ),
    (
        "GET /sandbox/platforms/{component}",
        "switches, newest ticket, who authorized it with which sets and refresh token",
    ),
    (
        "PATCH /sandbox/platforms/{component}",
        "{secret, authorization_url, message_url (with $APPID$), token, encoding_aes_key, published, test_list[], \
         ip_allowlist_on, ip_allowlist[], permission_sets[], login_domain, tickets_on, give_up_tickets, banned, \
         timeout_ms, retry_ms}",
    ),
    ("POST /sandbox/platforms/{component}/tickets", "push a ticket now -> ticket, push"),
    (
        "POST /sandbox/platforms/{component}/authorize",
        "{appid, link? or pre_auth_code? and redirect_uri?, permission_sets[]?}: the app's administrator scans -> \
         auth_code, redirect, push",
    ),
    ("POST /sandbox/platforms/{component}/deauthorize", "{appid}: the merchant takes it back -> push"),
    (
        "PUT /sandbox/platforms/{component}/authorizers/{appid}",
        "{permission_sets[]}: the merchant changes what is ticked -> push",
    ),
    (
        "POST /sandbox/platforms/{component}/tokens/revoke",
        "{appid?, own?}: end the tokens it holds for an app or for all; own: its own too",
    ),
    ("GET, PUT /sandbox/platforms/{component}/reality", "as of an app: what the documents leave open"),
    (
        "GET /sandbox/platform-journal?component=&appid=&call=&after=&limit=",
        "every call of platforms, every change of authorization, every ticket",
    ),
    ("GET, PUT /sandbox/component-check-order", "the order in which calls of platforms are checked"),
    (
        "PUT /sandbox/apps/{appid}/push",
        "{url, token?, encoding_aes_key?, mode?: plaintext|compatible|secure, format?: json|xml, gh_id?, check? (true), \
         timeout_ms? (5000), retry_ms? (200)} -> whether the URL gave the echostr back, and what is in force",
    ),
    ("GET, DELETE /sandbox/apps/{appid}/push", "where pushes go; end them"),
    ("POST /sandbox/apps/{appid}/push/check", "check the URL once more"),
    (
        "POST /sandbox/apps/{appid}/pushes",
        "push something by hand: {openid, text} or {openid, fields{}} or {openid, raw}",
    ),
    (
        "GET /sandbox/pushes?appid=&openid=&platform=&event=&state=&after=&limit=",
        "every push with its deliveries; state: waiting|taken|given_up|lost",
    ),
    (
        "POST /sandbox/pushes/settle",
        "{appid?, hold?, deadline_ms?}: wait until every push is settled; what faults hold back goes now unless hold",
    ),
    (
        "POST /sandbox/push-faults",
        "{kind, appid?, openid?, event?, template_id?, ms?, seconds?, copies?, times? (1; 0 = until removed), \
         probability? (1), seed?} -> id",
    ),
    ("  kind lost, duplicated", "never handed over; handed over copies (1) times more"),
    ("  kind late", "after ms of real time or seconds of the sandbox's"),
    ("  kind reordered", "after the next push of the same user, or after ms (500)"),
    ("GET /sandbox/push-faults", "faults of pushes in force"),
    ("DELETE /sandbox/push-faults, DELETE /sandbox/push-faults/{id}", "remove all, or one"),
    (
        "POST /sandbox/faults",
        "{kind, appid?, path?, openid?, template_id?, ms?, status?, code?, errmsg?, commit?, times? (1; 0 = until \
         removed), probability? (1)} -> id; path: send|token|stable_token|gettemplate|jscode2session| \
         component_token|create_preauthcode|query_auth|authorizer_token|get_authorizer_info|get_authorizer_list| \
         start_push_ticket|component_jscode2session|quota_get|clear_quota",
    ),
    ("  kind latency", "wait ms before acting"),
    ("  kind drop_before_commit, drop_after_commit", "close the connection with no answer"),
    ("  kind hang_before_commit, hang_after_commit", "never answer"),
    ("  kind reset", "TCP reset with no answer"),
    ("  kind http_5xx, garbage", "a gateway's page with status; a body that is not JSON"),
    ("  kind errcode", "answer code (and errmsg)"),
    ("  kind revoke_token, slow_body", "end the app's tokens first; half the body now, half after ms"),
    ("GET /sandbox/faults", "faults in force"),
    ("DELETE /sandbox/faults, DELETE /sandbox/faults/{id}", "remove all, or one"),
    ("GET /sandbox/journal?appid=&after=&limit=", "every send WeChat saw"),
    ("GET /sandbox/acts?appid=&after=&limit=", "every tap and every change of settings"),
    ("GET /sandbox/stats", "pushes by event, token calls by kind and app, sends by errcode"),
    ("GET /sandbox/check-order", "the order in which a send is checked"),
    ("PUT /sandbox/check-order", "{order: [every check once]}"),
    (
        "GET, PUT /sandbox/apps/{appid}/reality",
        "how an app chooses what WeChat's documents leave open: {profile?: documented|observed|hostile, any switch}",
    ),
    ("GET /sandbox/reality", "the choices for apps that have none of their own, with every switch there is"),
    ("PUT /sandbox/reality", "{any switch}; those left out go to their default"),
    ("POST /sandbox/clock/advance", "{seconds} -> now"),
    ("POST /sandbox/reset", "forget everything"),
];

pub(crate) fn router() -> Router<Sandbox> {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/sandbox", get(index))
        .route("/sandbox/apps", get(apps::list).post(apps::create))
        .route("/sandbox/apps/{appid}", get(apps::show).patch(apps::change))
        .route("/sandbox/apps/{appid}/templates", post(apps::create_template))
        .route("/sandbox/apps/{appid}/templates/{id}", delete(apps::delete_template))
        .route("/sandbox/apps/{appid}/tokens/revoke", post(apps::revoke_tokens))
        .route("/sandbox/tokens/revoke", post(tokens::revoke))
        .route("/sandbox/tokens/refresh", post(tokens::refresh))
        .route("/sandbox/platforms", get(platforms::list).post(platforms::create))
        .route("/sandbox/platforms/{component}", get(platforms::show).patch(platforms::change))
        .route("/sandbox/platforms/{component}/tickets", post(platforms::push_ticket))
        .route("/sandbox/platforms/{component}/authorize", post(platforms::authorize))
        .route("/sandbox/platforms/{component}/deauthorize", post(platforms::deauthorize))
        .route("/sandbox/platforms/{component}/authorizers/{appid}", put(platforms::change_sets))
        .route("/sandbox/platforms/{component}/tokens/revoke", post(platforms::revoke_tokens))
        .route("/sandbox/platforms/{component}/reality", get(platforms::reality).put(platforms::set_reality))
        .route("/sandbox/platform-journal", get(platforms::journal))
        .route("/sandbox/component-check-order", get(platforms::order).put(platforms::set_order))
        .route("/sandbox/apps/{appid}/books", get(apps::books))
        .route("/sandbox/apps/{appid}/reality", get(apps::reality).put(apps::set_reality))
        .route("/sandbox/apps/{appid}/day", post(day::play))
        .route("/sandbox/apps/{appid}/push", get(pushes::show).put(pushes::configure).delete(pushes::remove))
        .route("/sandbox/apps/{appid}/push/check", post(pushes::check))
        .route("/sandbox/apps/{appid}/pushes", post(pushes::request))
        .route("/sandbox/pushes", get(pushes::list))
        .route("/sandbox/pushes/settle", post(pushes::settle))
        .route("/sandbox/push-faults", get(pushes::faults).post(pushes::inject).delete(pushes::clear_faults))
        .route("/sandbox/push-faults/{id}", delete(pushes::remove_fault))
        .route("/sandbox/acts", get(world::acts))
        .route("/sandbox/apps/{appid}/users", post(users::create))
        .route("/sandbox/apps/{appid}/login-codes", post(users::create_login_code))
        .route("/sandbox/apps/{appid}/taps", post(users::tap))
        .route("/sandbox/apps/{appid}/settings", post(users::change_setting))
        .route("/sandbox/apps/{appid}/users/{openid}/counts", get(users::counts))
        .route("/sandbox/apps/{appid}/users/{openid}/setting", get(users::setting))
        .route("/sandbox/faults", get(world::faults).post(world::inject).delete(world::clear_faults))
        .route("/sandbox/faults/{id}", delete(world::remove_fault))
        .route("/sandbox/journal", get(world::journal))
        .route("/sandbox/stats", get(world::stats))
        .route("/sandbox/check-order", get(world::check_order).put(world::set_check_order))
        .route("/sandbox/reality", get(world::reality).put(world::set_reality))
        .route("/sandbox/clock/advance", post(world::advance))
        .route("/sandbox/reset", post(world::reset))
        .route(
            "/sandbox/{*rest}",
            get(unknown).post(unknown).put(unknown).merge(patch(unknown).delete(unknown)),
        )
}

/// The list of routes, with the present time and apps.
async fn index(State(sandbox): State<Sandbox>) -> Response {
    let routes: Vec<Value> =
        ROUTES.iter().map(|(route, does)| json!({ "route": route, "does": does })).collect();
    let text =
        "A simulated WeChat. Point wechat.base_url here; set it up and look behind it with these routes.";
    axum::Json(json!({ "about": text, "now": sandbox.now(), "apps": sandbox.apps(), "platforms": sandbox.platforms(), "routes": routes }))
        .into_response()
}

async fn unknown() -> Response {
    refusal(StatusCode::NOT_FOUND, "not_found", "no such control route; see GET /sandbox")
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Self::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
            Self::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
            Self::Refused { .. } => (StatusCode::CONFLICT, "refused"),
        };
        if let Self::Refused { errcode: Some(errcode), .. } = &self {
            let error = json!({ "code": code, "message": self.to_string(), "errcode": errcode });
            return (status, axum::Json(json!({ "error": error }))).into_response();
        }
        refusal(status, code, &self.to_string())
    }
}
