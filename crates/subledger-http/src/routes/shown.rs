//! A promise of `min_position`: the read models that a route answers from show it.
//!
//! The wait before a read leaves read models out that are paused at an event they cannot apply, because the others must go
//! on. An answer from a paused one would show older numbers than were asked for.

use std::time::Duration;

use axum::http::StatusCode;
use subledger_engine::Engine;
use subledger_projection::ProjectionName;
use subledger_store::Position;

use crate::{
    extract::{Read, Scope},
    problem::ApiError,
};

/// Refuses with `not_caught_up` where one of `projections` does not show `min_position`.
pub(super) async fn shown(
    scope: &Scope<Read>,
    engine: &Engine,
    min_position: Option<u64>,
    projections: &[ProjectionName],
) -> Result<(), ApiError> {
    let Some(position) = min_position.map(Position) else { return Ok(()) };
    for projection in projections {
        let reached =
            engine.projections().wait_for_one(&scope.log, *projection, position, Duration::ZERO).await;
        if let Err(stands) = reached {
            let detail = format!(
                "position {position} is not shown yet: the read model {projection} stands at {}; try again",
                stands.at
            );
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not_caught_up", detail));
        }
    }
    Ok(())
}
