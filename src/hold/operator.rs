//! `POST /hold` of the operator's port: how the command reaches a service that has the data folder open. The token is
//! that of [`crate::subject::operator`].

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use std::sync::Arc;
use tokio::sync::mpsc;

use super::Posted;
use crate::pipeline::{Asking, Request};
use crate::subject::operator::{Token, refusal};

#[derive(Clone)]
struct Holds {
    token: Arc<Token>,
    worker: Asking,
}

/// The route.
pub(crate) fn router(token: Arc<Token>, worker: &mpsc::Sender<Request>) -> Router {
    let holds = Holds { token, worker: Asking::of(worker) };
    Router::new().route("/hold", post(answer)).with_state(holds)
}

async fn answer(
    State(holds): State<Holds>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    if let Some(refusal) = holds.token.refuses(&headers) {
        return refusal;
    }
    // The parser's own words may quote what it read: they end here.
    let Ok(posted) = serde_json::from_slice::<Posted>(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "not a request");
    };
    match holds.worker.ask(|done| Request::Hold(posted, done)).await {
        Some(Ok(answer)) => Json(answer).into_response(),
        Some(Err(why)) => refusal(StatusCode::BAD_REQUEST, &why),
        None => refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "this process has no worker, or it stops: ask the one that looks after the tables",
        ),
    }
}
