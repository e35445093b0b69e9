//! Headers that keep a browser from doing more with an answer than showing it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

/// The reader's pages may load scripts and styles from this service and nothing from anywhere else.
const READER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                             img-src 'self' data:; font-src 'self'; connect-src 'self'; frame-ancestors 'none'; \
                             base-uri 'none'; form-action 'none'";
/// Everything else is data and loads nothing.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Adds the headers to an answer of `route`.
pub(super) fn protect(route: &str, headers: &mut HeaderMap) {
    let reader = route.starts_with("/docs");
    let policy = if reader { READER_POLICY } else { DATA_POLICY };
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Answers may hold openids and userids: no cache between us and the caller may keep them.
    if !reader {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}
