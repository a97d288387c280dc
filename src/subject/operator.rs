//! `/subject` of the operator's port: how the command reaches a service that has the data folder open.
//!
//! ```text
//! POST /subject                  a request, or a look whether anything is stored
//! GET  /subject/requests         what was asked for and what became of it: never by whom
//! GET  /subject/requests/ID      one of them
//! GET  /subject/exports/ID       the file of a request, encrypted to who asked
//! ```
//!
//! The port asks no token for what it shows; for this one it does: the token lies in the data folder, readable by its
//! owner alone, and is another one at each start.

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::shared::REFRESH_EVERY_MS;
use anyhow::Context;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use data_encoding::HEXLOWER;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::check::Checker;
use super::fulfil::{Hands, fulfil, going_on};
use super::wish::Posted;
use super::{Asked, EVENTS_BYTES_MAX, Entry, IDENTIFIER_BYTES_MAX, Requests, Stored, Unacceptable};
use crate::pipeline::{Asking, Request};

const TOKEN_BYTES: usize = 32;
/// How long who asks is kept waiting where another node removes: all of them have to see the list and another key first.
const SHARED_WAIT: Duration = Duration::from_secs(600);
/// How often it is looked whether that is done.
const SHARED_LOOK: Duration = Duration::from_millis(REFRESH_EVERY_MS.unsigned_abs());

/// What the route works with.
#[derive(Clone)]
pub struct Subjects {
    token: Arc<Token>,
    requests: Arc<Requests>,
    checker: Arc<Checker>,
    worker: Asking,
}

/// Opens the route to who can read the data folder; gone with its file when dropped.
pub(crate) struct Token {
    path: PathBuf,
    text: String,
}

impl Token {
    fn write(path: PathBuf) -> anyhow::Result<Self> {
        let doing = || format!("cannot write {}", path.display());
        let mut bytes = [0; TOKEN_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).ok().context("the system gives no random bytes")?;
        let text = HEXLOWER.encode(&bytes);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(doing);
            }
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&path).with_context(doing)?;
        file.write_all(text.as_bytes()).with_context(doing)?;
        Ok(Self { path, text })
    }

    /// The answer to who does not show it.
    pub(crate) fn refuses(&self, headers: &HeaderMap) -> Option<Response> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let same = aws_lc_rs::constant_time::verify_slices_are_equal;
        let opens = same(given.as_bytes(), self.text.as_bytes()).is_ok();
        let why = "the token in the data folder is needed";
        (!opens).then(|| refusal(StatusCode::UNAUTHORIZED, why))
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("the operator's token could not be removed: {error}");
        }
    }
}

/// Reads the token of the service that runs on this data folder.
///
/// # Errors
///
/// If there is none: what has the folder open is no service.
pub fn token(path: &path::Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| {
        format!("no {}: another command has the data folder open, try again later", path.display())
    })
}

/// The route, and a fresh token for it in the file `token`.
///
/// # Errors
///
/// If the token cannot be written.
pub fn router(
    token: PathBuf,
    requests: Arc<Requests>,
    checker: Arc<Checker>,
    worker: &mpsc::Sender<Request>,
) -> anyhow::Result<Router> {
    let token = Arc::new(Token::write(token)?);
    let holds = crate::hold::operator::router(Arc::clone(&token), worker);
    let subjects = Subjects { token, requests, checker, worker: Asking::of(worker) };
    let limit = DefaultBodyLimit::max(2 * (IDENTIFIER_BYTES_MAX + EVENTS_BYTES_MAX));
    let own = Router::new()
        .route("/subject", post(answer))
        .route("/subject/requests", get(self::requests))
        .route("/subject/requests/{id}", get(request))
        .route("/subject/exports/{id}", get(export))
        .with_state(subjects);
    Ok(own.merge(holds).layer(limit))
}

async fn answer(
    State(mut subjects): State<Subjects>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    if let Some(refusal) = subjects.token.refuses(&headers) {
        return refusal;
    }
    // The parser's own words may quote what it read: they end here.
    let Ok(mut posted) = serde_json::from_slice::<Posted>(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "not a request");
    };
    let subject = match subjects.requests.subject(&posted.family, &posted.identifier) {
        Ok(subject) => subject,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("{error:#}")),
    };
    let wish = match subjects.requests.wish(&mut posted) {
        Ok(wish) => wish,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("{error:#}")),
    };
    let requests = Arc::clone(&subjects.requests);
    let done = match wish {
        Some(wish) => fulfil(&requests, wish, subject, &mut subjects)
            .await
            .map(|receipt| Json(receipt).into_response()),
        None => subjects.checker.check(&subject).await.map(|report| Json(report).into_response()),
    };
    done.unwrap_or_else(|error| {
        let status = match error.is::<Unacceptable>() {
            true => StatusCode::BAD_REQUEST,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        refusal(status, &format!("{error:#}"))
    })
}

/// The ledger of requests, as others left it.
async fn requests(State(subjects): State<Subjects>, headers: HeaderMap) -> Response {
    match subjects.entries(&headers).await {
        Ok(entries) => Json(entries).into_response(),
        Err(refusal) => refusal,
    }
}

async fn request(
    State(subjects): State<Subjects>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = subjects.entries(&headers).await;
    match found.map(|entries| entries.into_iter().find(|entry| entry.request == id)) {
        Ok(Some(entry)) => Json(entry).into_response(),
        Ok(None) => refusal(StatusCode::NOT_FOUND, "there is no such request"),
        Err(refusal) => refusal,
    }
}

async fn export(
    State(subjects): State<Subjects>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    if let Err(refusal) = subjects.entries(&headers).await {
        return refusal;
    }
    let requests = Arc::clone(&subjects.requests);
    let read = tokio::task::spawn_blocking(move || requests.export(&id).map(|file| (id, file)));
    match read.await.map_err(anyhow::Error::from).flatten() {
        Ok((request, Some(file))) => {
            tracing::info!(request, "an export was fetched");
            ([(header::CONTENT_TYPE, "application/octet-stream")], file).into_response()
        }
        Ok((_, None)) => refusal(StatusCode::NOT_FOUND, "there is no such file, or no more"),
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")),
    }
}

impl Subjects {
    async fn entries(&self, headers: &HeaderMap) -> Result<Vec<Entry>, Response> {
        if let Some(refusal) = self.token.refuses(headers) {
            return Err(refusal);
        }
        let requests = Arc::clone(&self.requests);
        let looked = move || requests.refresh().map(|()| requests.entries());
        let looked = tokio::task::spawn_blocking(looked).await;
        looked
            .map_err(anyhow::Error::from)
            .flatten()
            .map_err(|error| refusal(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")))
    }
}

impl Hands for Subjects {
    async fn drain(&mut self) -> anyhow::Result<()> {
        self.worker
            .ask(Request::Drain)
            .await
            .context("the worker could not do it: see the log lines")
    }

    async fn stored(&mut self, family: usize, own: HashSet<[u8; 16]>) -> anyhow::Result<Stored> {
        let answer = self.worker.ask(|done| Request::Stored { family, own, done }).await;
        let answer = answer
            .context("this process has no worker, which alone can read rows: ask one that has")?;
        answer.map_err(anyhow::Error::msg)
    }

    async fn settle(&mut self, asked: &Asked) -> anyhow::Result<()> {
        let until = Instant::now() + SHARED_WAIT;
        loop {
            let asked_here = self.worker.ask(Request::Remove).await;
            if !self.requests.is_shared() {
                return asked_here.with_context(|| going_on(asked));
            }
            let requests = Arc::clone(&self.requests);
            let looked = tokio::task::spawn_blocking(move || requests.refresh()).await?;
            if looked.is_ok() && self.requests.receipt(asked).is_some() {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < until, "{}", going_on(asked));
            tokio::time::sleep(SHARED_LOOK).await;
        }
    }
}

pub(crate) fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
