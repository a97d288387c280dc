//! `POST /subject` of the operator's port: how the command reaches a service that has the data folder open.
//!
//! The port asks no token for what it shows; for this one it does: the token lies in the data folder, readable by its
//! owner alone, and is another one at each start.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::shared::REFRESH_EVERY_MS;
use anonymizer::{RequestKind, Subject};
use anyhow::Context;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::check::Checker;
use super::{IDENTIFIER_BYTES_MAX, Requests};
use crate::pipeline::Request;

const TOKEN_BYTES: usize = 32;
/// How long who asks is kept waiting where another node removes: all of them have to see the list and another key first.
const SHARED_WAIT: Duration = Duration::from_secs(600);
/// How often it is looked whether that is done.
const SHARED_LOOK: Duration = Duration::from_millis(REFRESH_EVERY_MS.unsigned_abs());

/// What the command posts. No `Debug`: an identifier is in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posted {
    /// What is asked for; none to look only whether anything is stored.
    pub kind: Option<RequestKind>,
    /// The family.
    pub family: String,
    /// As it came on standard input.
    pub identifier: String,
}

/// What the route works with.
#[derive(Clone)]
pub struct Subjects {
    token: Arc<Token>,
    requests: Arc<Requests>,
    checker: Arc<Checker>,
    /// Weak: the worker ends when nobody can ask it anything any more.
    worker: mpsc::WeakSender<Request>,
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

    pub(crate) fn opens(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let same = aws_lc_rs::constant_time::verify_slices_are_equal;
        same(given.as_bytes(), self.text.as_bytes()).is_ok()
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
pub fn token(path: &Path) -> anyhow::Result<String> {
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
    let subjects = Subjects { token, requests, checker, worker: worker.downgrade() };
    let limit = DefaultBodyLimit::max(2 * IDENTIFIER_BYTES_MAX);
    let own = Router::new().route("/subject", post(answer)).with_state(subjects);
    Ok(own.merge(holds).layer(limit))
}

async fn answer(
    State(subjects): State<Subjects>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    if !subjects.token.opens(&headers) {
        return refusal(StatusCode::UNAUTHORIZED, "the token in the data folder is needed");
    }
    // The parser's own words may quote what it read: they end here.
    let Ok(posted) = serde_json::from_slice::<Posted>(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "not a request");
    };
    let subject = match subjects.requests.subject(&posted.family, &posted.identifier) {
        Ok(subject) => subject,
        Err(error) => return refusal(StatusCode::BAD_REQUEST, &format!("{error:#}")),
    };
    let done = match posted.kind {
        Some(kind) => {
            subjects.remove(kind, subject).await.map(|receipt| Json(receipt).into_response())
        }
        None => subjects.check(subject).await.map(|report| Json(report).into_response()),
    };
    done.unwrap_or_else(|error| refusal(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")))
}

impl Subjects {
    async fn remove(&self, kind: RequestKind, subject: Subject) -> anyhow::Result<super::Receipt> {
        let requests = Arc::clone(&self.requests);
        let asked = tokio::task::spawn_blocking(move || requests.ask(kind, &subject)).await??;
        let later = || {
            let request = asked.request();
            format!(
                "request {request} is recorded, nothing of its contributor is let in any more, and the service goes on to remove what is stored"
            )
        };
        let until = Instant::now() + SHARED_WAIT;
        loop {
            let asked_here = self.ask_worker().await;
            if !self.requests.is_shared() {
                asked_here.with_context(later)?;
                return self.requests.receipt(&asked).with_context(later);
            }
            let requests = Arc::clone(&self.requests);
            let looked = tokio::task::spawn_blocking(move || requests.refresh()).await?;
            if let (Ok(()), Some(receipt)) = (looked, self.requests.receipt(&asked)) {
                return Ok(receipt);
            }
            anyhow::ensure!(Instant::now() < until, "{}", later());
            tokio::time::sleep(SHARED_LOOK).await;
        }
    }

    /// Has the worker of this process remove what it can; none if there is none, or it failed.
    async fn ask_worker(&self) -> Option<()> {
        let (done, answer) = oneshot::channel();
        let worker = self.worker.upgrade()?;
        worker.send(Request::Remove(done)).await.ok()?;
        drop(worker);
        answer.await.ok()
    }

    async fn check(&self, subject: Subject) -> anyhow::Result<super::check::Checked> {
        self.checker.check(&subject).await
    }
}

pub(crate) fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(serde_json::json!({ "error": why }))).into_response()
}
