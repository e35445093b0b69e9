//! Putting it together: which routes there are, and what every request passes on its way to one.

use axum::{
    Router,
    http::{Method, StatusCode},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::PrometheusHandle;
use subledger_engine::Engine;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    HttpSettings,
    context::Context,
    middleware::{auth, limits, request},
    openapi::{self, Document, PREFIX},
    problem::ApiError,
    routes::{
        channels, client_reports, deliveries, erasures, events, health, ledgers, messages, reports,
        templates, users, whoami,
    },
};

/// The native API, under [`PREFIX`].
fn api() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(whoami::whoami))
        .routes(routes!(channels::list_channels, channels::create_channel))
        .routes(routes!(channels::show_channel))
        .routes(routes!(channels::replace_credentials))
        .routes(routes!(channels::pause_channel))
        .routes(routes!(channels::resume_channel))
        .routes(routes!(channels::change_policy))
        .routes(routes!(channels::show_queue))
        .routes(routes!(templates::refresh_templates))
        .routes(routes!(templates::list_templates))
        .routes(routes!(templates::show_template))
        .routes(routes!(templates::lint_values))
        .routes(routes!(users::list_users, users::bind_user))
        .routes(routes!(users::show_user, users::unbind_user))
        .routes(routes!(users::list_user_ledgers))
        .routes(routes!(erasures::erase_user))
        .routes(routes!(client_reports::report_tap))
        .routes(routes!(ledgers::list_ledgers))
        .routes(routes!(ledgers::show_ledger))
        .routes(routes!(ledgers::explain_ledger))
        .routes(routes!(ledgers::list_lots))
        .routes(routes!(ledgers::list_entries))
        .routes(routes!(messages::list_messages, messages::send_message))
        .routes(routes!(messages::show_message))
        .routes(routes!(messages::retract_message))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::show_delivery))
        .routes(routes!(deliveries::settle_delivery))
        .routes(routes!(deliveries::list_in_doubt))
        .routes(routes!(events::read_events))
        .routes(routes!(reports::report_activity))
        .routes(routes!(reports::report_stock))
        .routes(routes!(reports::report_reach))
        .routes(routes!(reports::report_loss))
}

/// What needs no key.
fn service() -> OpenApiRouter<Context> {
    OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
}

/// The OpenAPI document of everything [`router`] serves, generated from its routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let described = OpenApiRouter::with_openapi(Document::openapi()).merge(service()).nest(PREFIX, api());
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
    let api = api.route("/channels/{code}/client-reports-noop", noop);
    assemble(Context::new(engine, settings, metrics), api)
}

fn assemble(context: Context, api: Router<Context>) -> Router {
    let (service, _) = service().split_for_parts();
    // The last layer added is the first to see a request.
    let api = api
        .method_not_allowed_fallback(wrong_method)
        .route_layer(from_fn_with_state(context.clone(), auth::require_key))
        .route_layer(from_fn_with_state(context.clone(), limits::bound));
    // The validator badge is a picture from another host; the reader must work offline.
    let reader_settings = Config::default().validator_url("none").display_request_duration(true);
    let reader = SwaggerUi::new("/docs").url("/openapi.json", openapi()).config(reader_settings);
    Router::new()
        .nest(PREFIX, api)
        .merge(service.method_not_allowed_fallback(wrong_method))
        .merge(reader)
        .fallback(unknown_route)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(request::wrap))
        .with_state(context)
}

async fn unknown_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_route", "there is nothing at this path; see /docs")
}

async fn wrong_method(method: Method) -> ApiError {
    let detail = format!("{method} is not possible here; the header Allow says what is");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", detail)
}

/// The answer to a request whose handler panicked: a defect, told to the log and not to the caller.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    ApiError::internal(format!("a handler panicked: {text}")).into_response()
}

#[cfg(test)]
mod tests;
