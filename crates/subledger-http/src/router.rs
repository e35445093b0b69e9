//! Putting it together: which routes there are, and what every request passes on its way to one.

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use metrics_exporter_prometheus::PrometheusHandle;
use subledger_engine::Engine;
use utoipa::{OpenApi, openapi::Paths};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    HttpSettings,
    context::Context,
    middleware::request::{Door, Wrap},
    openapi::{self, Document, PREFIX},
    problem::ApiError,
    routes::{
        authorizations, callbacks, channels, client_reports, corrections, deliveries, doctor, erasures,
        events, health, ledgers, messages, platform_callbacks, platform_start, platforms, push_setup, pushes,
        quota, relay, reports, secrets, templates, tokens, user_tokens, users, whoami,
    },
};

/// The native API. Its routes are put under [`PREFIX`] one by one and not nested: a nested router would cost every request
/// one more boxed service and a rewritten URI.
fn api() -> OpenApiRouter<Context> {
    let routes = [
        routes!(whoami::whoami),
        routes!(channels::list_channels, channels::create_channel),
        routes!(channels::show_channel),
        routes!(channels::replace_credentials),
        routes!(secrets::list_secrets),
        routes!(channels::pause_channel),
        routes!(channels::resume_channel),
        routes!(channels::amend_policy),
        routes!(channels::change_policy),
        routes!(channels::show_queue),
        routes!(authorizations::begin_authorization),
        routes!(authorizations::show_authorization),
        routes!(authorizations::follow_authorization),
        routes!(platforms::list_platforms),
        routes!(platforms::show_platform, platforms::configure_platform),
        routes!(platforms::start_ticket_push),
        routes!(doctor::examine),
        routes!(doctor::examine_channel),
        routes!(quota::show_quota),
        routes!(quota::refresh_quota),
        routes!(quota::clear_quota),
        routes!(tokens::lease_token),
        routes!(tokens::refresh_token),
        routes!(tokens::set_token_source),
        routes!(push_setup::show_callback, push_setup::configure_callback),
        routes!(pushes::list_pushes),
        routes!(pushes::redo_pushes),
        routes!(pushes::show_push),
        routes!(pushes::show_push_body),
        routes!(pushes::show_push_health),
        routes!(relay::configure_relay, relay::show_relay, relay::stop_relay),
        routes!(relay::test_relay),
        routes!(relay::redrive_relay),
        routes!(templates::refresh_templates),
        routes!(templates::list_templates),
        routes!(templates::show_template),
        routes!(templates::lint_values),
        routes!(users::list_users, users::bind_user),
        routes!(users::show_user, users::unbind_user),
        routes!(users::list_user_ledgers),
        routes!(erasures::erase_user),
        routes!(client_reports::report_tap),
        routes!(user_tokens::issue_user_token),
        routes!(corrections::adjust_ledger),
        routes!(corrections::import_balances),
        routes!(ledgers::list_ledgers),
        routes!(ledgers::show_ledger),
        routes!(ledgers::explain_ledger),
        routes!(ledgers::list_lots),
        routes!(ledgers::list_entries),
        routes!(messages::list_messages, messages::send_message),
        routes!(messages::show_message),
        routes!(messages::retract_message),
        routes!(deliveries::list_deliveries),
        routes!(deliveries::show_delivery),
        routes!(deliveries::settle_delivery),
        routes!(deliveries::list_in_doubt),
        routes!(deliveries::settle_doubts),
        routes!(events::read_events),
        routes!(reports::report_activity),
        routes!(reports::report_stock),
        routes!(reports::report_reach),
        routes!(reports::report_loss),
        routes!(reports::findings::report_drift),
        routes!(reports::findings::report_doubts),
    ];
    under_prefix(routes)
}

/// What needs a user token and takes no key.
fn direct() -> OpenApiRouter<Context> {
    under_prefix([routes!(user_tokens::report_own_tap)])
}

fn under_prefix(routes: impl IntoIterator<Item = UtoipaMethodRouter<Context>>) -> OpenApiRouter<Context> {
    routes.into_iter().fold(OpenApiRouter::new(), |router, route| router.routes(prefixed(route)))
}

fn prefixed((schemas, paths, methods): UtoipaMethodRouter<Context>) -> UtoipaMethodRouter<Context> {
    let mut under = Paths::new();
    under.paths = paths.paths.into_iter().map(|(path, item)| (format!("{PREFIX}{path}"), item)).collect();
    (schemas, under, methods)
}

/// What needs neither: WeChat's pushes carry a proof of their own.
fn service() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(callbacks::check_push_url, callbacks::take_push))
        .routes(routes!(platform_callbacks::take_platform_push))
        .routes(routes!(platform_callbacks::authorized))
        .routes(routes!(platform_start::start))
        .routes(routes!(platform_callbacks::take_platform_user_push))
}

/// The OpenAPI document of everything [`router`] serves, generated from its routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let described =
        OpenApiRouter::with_openapi(Document::openapi()).merge(service()).merge(api()).merge(direct());
    let mut document = described.into_openapi();
    openapi::complete(&mut document);
    document
}

/// Everything the service answers over HTTP.
///
/// `metrics` is rendered at `/metrics`; whoever installed the recorder runs its upkeep.
pub fn router(engine: Engine, settings: HttpSettings, metrics: PrometheusHandle) -> Router {
    let (api, _) = api().split_for_parts();
    assemble(Context::new(engine, settings, metrics), api)
}

/// The same with the log switched for a no-op: beside the route that reports a tap stands one, ending in `-noop`, that does
/// everything the first one does but decide and record. What the benchmark measures the log against.
#[cfg(feature = "noop")]
pub fn noop_router(engine: Engine, settings: HttpSettings, metrics: PrometheusHandle) -> Router {
    let (api, _) = api().split_for_parts();
    let noop = axum::routing::post(client_reports::report_tap_noop);
    let api = api.route(&format!("{PREFIX}/channels/{{code}}/client-reports-noop"), noop);
    assemble(Context::new(engine, settings, metrics), api)
}

fn assemble(context: Context, api: Router<Context>) -> Router {
    let (service, _) = service().split_for_parts();
    // The validator badge is a picture from another host; the reader must work offline.
    let reader_settings = Config::default().validator_url("none").display_request_duration(true);
    let reader = SwaggerUi::new("/docs").url("/openapi.json", openapi()).config(reader_settings);
    let open = Router::new()
        .merge(service.method_not_allowed_fallback(wrong_method))
        .merge(reader)
        .fallback(unknown_route)
        .layer(Wrap::new(Arc::clone(context.meters()), Door::Open));
    let keyed = Wrap::new(Arc::clone(context.meters()), Door::Keyed(context.clone()));
    let api = api.method_not_allowed_fallback(wrong_method).route_layer(keyed);
    let (direct, _) = direct().split_for_parts();
    let token = Wrap::new(Arc::clone(context.meters()), Door::Token(context.clone()));
    let direct = direct.method_not_allowed_fallback(wrong_method).route_layer(token);
    open.merge(api).merge(direct).with_state(context)
}

async fn unknown_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_route", "there is nothing at this path; see /docs")
}

async fn wrong_method(method: Method) -> ApiError {
    let detail = format!("{method} is not possible here; the header Allow says what is");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
}

#[cfg(test)]
mod tests;
