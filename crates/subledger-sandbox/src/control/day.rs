//! A day, streamed line by line as it is played. It stops where its reader stops reading.

use axum::body::Body as Stream;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::input::{Body, Path};
use crate::day::{Day, DaySpec};
use crate::error::ControlError;
use crate::sandbox::Sandbox;

/// Lines sent together when nothing is waited for.
const LINES_TOGETHER: usize = 16;

pub(super) async fn play(
    State(sandbox): State<Sandbox>,
    Path(appid): Path<String>,
    Body(spec): Body<DaySpec>,
) -> Result<Response, ControlError> {
    let day = sandbox.day(&appid, &spec)?;
    let begun = Instant::now();
    let chunks = futures::stream::unfold(day, move |mut day| async move {
        if let Some(after) = day.next_after() {
            tokio::time::sleep_until(begun + after).await;
        }
        // Playing is no waiting: without this the whole day would pass before the first push goes out.
        tokio::task::yield_now().await;
        let lines = lines(&mut day, begun);
        (!lines.is_empty()).then_some((lines, day))
    });
    let chunks = futures::StreamExt::map(chunks, Ok::<_, std::convert::Infallible>);
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], Stream::from_stream(chunks)).into_response())
}

/// What is due by now, as text; nothing at the end.
fn lines(day: &mut Day, begun: Instant) -> String {
    let mut text = String::new();
    for _ in 0..LINES_TOGETHER {
        if day.next_after().is_none_or(|after| begun + after > Instant::now()) {
            break;
        }
        let line = match day.next() {
            Some(Ok(line)) => serde_json::to_string(&line).unwrap_or_default(),
            Some(Err(error)) => {
                serde_json::json!({ "kind": "error", "message": error.to_string() }).to_string()
            }
            None => break,
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}
