//! How the worker is asked from elsewhere in its process.

use tokio::sync::{mpsc, oneshot};

use super::Request;

/// Reaches the worker of this process. Weak: the worker ends when nobody can ask it anything any more.
#[derive(Clone)]
pub(crate) struct Asking(mpsc::WeakSender<Request>);

impl Asking {
    pub(crate) fn of(worker: &mpsc::Sender<Request>) -> Self {
        Self(worker.downgrade())
    }

    /// What the worker answers; none if there is none, or it failed.
    pub(crate) async fn ask<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let worker = self.0.upgrade()?;
        worker.send(ask(done)).await.ok()?;
        drop(worker);
        answer.await.ok()
    }
}
