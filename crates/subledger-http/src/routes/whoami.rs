//! What the presented key is.

use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{middleware::auth::Admitted, views::RightWord};

/// What a key is and may do.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhoAmI {
    /// The sender app it belongs to.
    #[schema(example = "shop")]
    app: String,
    /// What it may do.
    rights: Vec<RightWord>,
    /// The channels it may use; null means every channel.
    channels: Option<Vec<String>>,
}

/// Show what this key is and may do.
#[utoipa::path(get, path = "/whoami", tag = "keys", security(("api_key" = [])),
    responses((status = 200, body = WhoAmI)))]
pub(crate) async fn whoami(Extension(Admitted { rights, .. }): Extension<Admitted>) -> Json<WhoAmI> {
    let channels = rights.channels.as_ref();
    Json(WhoAmI {
        app: rights.app.to_string(),
        rights: rights.rights.iter().map(|right| RightWord::from(*right)).collect(),
        channels: channels.map(|codes| codes.iter().map(ToString::to_string).collect()),
    })
}
