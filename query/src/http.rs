//! The reading side over HTTP. No CORS: the one page that reads is served from here, and no other may.
//!
//! Who asks is looked at before the body is: a request without a living read token costs its head, a look at the time of
//! change of the registry's file, and one hash.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Request as HttpRequest, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use disclosure::period::next_to_close;
use schemas::gpc;
use schemas::notice::Notice;
use schemas::time::Clock;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dashboard::{self, protect};
use crate::privacy::Page;
use crate::request::parse;
use crate::tokens::Tokens;
use crate::{Answer, Format, QueryError, Request, Running, Statistics, live, policy};

/// Largest body of a request: queries are written by people.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Questions answered at once, each of which may take 128 MiB until its answer is sent.
const ANSWERS_MAX: usize = 4;
/// How long a question waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(20);
/// Seconds after which a request that found the store away may be sent again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");
const COMPLETE_UNTIL: HeaderName = HeaderName::from_static("quorate-complete-until");
const PRIVACY: HeaderName = HeaderName::from_static("quorate-privacy");

struct Api {
    statistics: Arc<Statistics>,
    running: Arc<dyn Running>,
    notice: Notice,
    privacy: Page,
    tokens: Tokens,
    clock: Clock,
    turns: Arc<Semaphore>,
}

/// An answer that keeps its turn until it is sent.
struct Held {
    bytes: Vec<u8>,
    _turn: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Name of the reader that asks.
#[derive(Clone)]
struct Reader(String);

/// `POST /v1/query` (a [`Request`]), `POST /v1/sql` (`{"sql": ".."}`), `GET /v1/statistics`, `GET /v1/live` and `GET
/// /v1/policy`, each under a read token of the registry `readers`, whose file is read again when it changes. Without a
/// token the page that asks them, at `/`, the one for visitors, at `/privacy`, and that Global Privacy Control is heeded,
/// where it is.
pub fn router(
    statistics: Arc<Statistics>,
    running: Arc<dyn Running>,
    readers: PathBuf,
    clock: Clock,
) -> Router {
    let notice = Notice::of(&statistics.package);
    let well_known = gpc::support(&statistics.package).map(|support| {
        let answer = ([(CONTENT_TYPE, "application/json")], Bytes::from(support));
        Router::new().route(gpc::PATH, get(move || std::future::ready(answer.clone())))
    });
    let api = Arc::new(Api {
        privacy: Page::of(&notice),
        statistics,
        running,
        notice,
        tokens: Tokens::new(readers),
        clock,
        turns: Arc::new(Semaphore::new(ANSWERS_MAX)),
    });
    Router::new()
        .route("/v1/query", post(query))
        .route("/v1/sql", post(sql))
        .route("/v1/statistics", get(list))
        .route("/v1/live", get(now))
        .route("/v1/policy", get(declared))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(from_fn_with_state(Arc::clone(&api), identify))
        .route("/v1/", any(unknown))
        .route("/v1/{*path}", any(unknown))
        .route("/privacy", get(privacy))
        .merge(dashboard::routes())
        .merge(well_known.unwrap_or_default())
        .layer(map_response(protect))
        .with_state(api)
}

async fn unknown() -> QueryError {
    QueryError::UnknownPath
}

/// Lets a request through to its route if it carries a living read token.
async fn identify(
    State(api): State<Arc<Api>>,
    mut request: HttpRequest,
    next: Next,
) -> Result<Response, QueryError> {
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let reader = Reader(api.tokens.reader(authorization)?);
    request.extensions_mut().insert(reader);
    Ok(next.run(request).await)
}

async fn query(
    State(api): State<Arc<Api>>,
    Extension(Reader(reader)): Extension<Reader>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, QueryError> {
    let format = accepted(&headers)?;
    let request = Request::parse(&body)?;
    let turn = api.turn().await?;
    let answer = api.statistics.answer(&request).await?;
    // Its name is a declared one, or there would be no answer.
    tracing::debug!(reader, from = request.from, rows = answer.rows.num_rows(), "answered");
    respond(format, &answer, turn)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SqlRequest {
    sql: String,
}

async fn sql(
    State(api): State<Arc<Api>>,
    Extension(Reader(reader)): Extension<Reader>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, QueryError> {
    let format = accepted(&headers)?;
    let request: SqlRequest = parse(&body, r#"a request is {"sql": "select .."}"#)?;
    let turn = api.turn().await?;
    let answer = api.statistics.sql(&request.sql).await?;
    tracing::debug!(reader, rows = answer.rows.num_rows(), "answered SQL");
    respond(format, &answer, turn)
}

async fn list(State(api): State<Arc<Api>>) -> Result<Response, QueryError> {
    let _turn = api.turn().await?;
    let now = (api.clock)();
    let mut list = api.statistics.list().await?;
    for (description, statistic) in list.iter_mut().zip(&api.statistics.package.statistics) {
        let family = &api.statistics.package.families[statistic.family];
        let period = next_to_close(now, statistic.every, family);
        description.closes_at = Some(period.closes_at(family).to_string());
    }
    Ok(Json(list).into_response())
}

/// A few counters in memory: no turn has to be waited for.
async fn now(State(api): State<Arc<Api>>) -> Response {
    let elsewhere = api.running.elsewhere().contains(&live::LIVE);
    Json(live::tell(api.running.live(), elsewhere, &api.statistics.package)).into_response()
}

async fn declared(State(api): State<Arc<Api>>) -> Result<Response, QueryError> {
    let _turn = api.turn().await?;
    let running = Arc::clone(&api.running);
    // The ledger of keys is a file.
    let counted = tokio::task::spawn_blocking(move || Ok((running.keys()?, running.outcomes())));
    let counted = counted.await.unwrap_or_else(|error| Err(error.into()));
    let (keys, outcomes) = counted.map_err(QueryError::Unavailable)?;
    let elsewhere = api.running.elsewhere();
    let told = policy::tell(&api.notice, &api.statistics.package, keys, outcomes, elsewhere);
    Ok(Json(told).into_response())
}

async fn privacy(State(api): State<Arc<Api>>) -> Response {
    api.privacy.answer()
}

impl Api {
    /// Waits until it is this question's turn.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        match tokio::time::timeout(TURN_WITHIN, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(QueryError::Busy),
        }
    }
}

fn accepted(headers: &HeaderMap) -> Result<Format, QueryError> {
    // A header that is no text accepts nothing of ours.
    Format::accepted(headers.get(ACCEPT).map(|value| value.to_str().unwrap_or_default()))
}

fn respond(
    format: Format,
    answer: &Answer,
    turn: OwnedSemaphorePermit,
) -> Result<Response, QueryError> {
    let encoded = format.encode(answer)?;
    let held = Held { bytes: encoded.bytes, _turn: turn };
    let mut response = Bytes::from_owner(held).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoded.media_type));
    let texts = [(COMPLETE_UNTIL, encoded.complete_until), (PRIVACY, Some(encoded.privacy))];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    message: String,
    retry: bool,
}

/// `{"error", "message", "retry"}`.
impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Self::Unavailable(source) = &self {
            tracing::warn!(error = %source, "statistics cannot be read");
        }
        let retry = self.is_retryable();
        let body = ErrorBody { error: self.code(), message: self.to_string(), retry };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if retry {
            headers.insert(axum::http::header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
