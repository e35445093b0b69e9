//! Headers that keep a browser from doing more with an answer than showing it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The reader's pages may load scripts and styles from this service and nothing from anywhere else.
const READER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                             img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; \
                             base-uri 'none'; form-action 'none'";
/// Everything else is data and loads nothing.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Headers of an answer, these and the few that its handler sets: room made once.
const HEADERS: usize = 12;

const SAME_ORIGIN: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));

/// Adds the headers to an answer of `route`.
pub(super) fn protect(route: &str, headers: &mut HeaderMap) {
    let reader = route.starts_with("/docs");
    let policy = if reader { READER_POLICY } else { DATA_POLICY };
    headers.reserve(HEADERS.saturating_sub(headers.len()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // The page that leads to WeChat's must tell where it stands; it says so itself.
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    let (name, value) = SAME_ORIGIN;
    headers.insert(name, value);
    // Answers may hold openids and userids: no cache between us and the caller may keep them.
    if !reader {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}
