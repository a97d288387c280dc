//! Requests to object stores: threads of their own, and downloads in parts.

use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, Result};
use tokio::runtime::{Builder, Runtime};

/// Bytes of a download that are asked for at once: each has the time of one request.
pub(super) const CHUNK_BYTES: u64 = 8 << 20;

/// The content of an object, in parts; what comes behind an error is nothing.
pub(super) fn download(
    store: Arc<dyn ObjectStore>,
    key: Key,
) -> io::Result<Receiver<Result<Bytes>>> {
    let (send, receive) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        let (mut offset, mut end) = (0, u64::MAX);
        while offset < end {
            let answer = part(store.as_ref(), &key, offset).await;
            // Without an answer this is the end.
            end = answer.as_ref().map_or(0, |(_, size)| *size);
            let content = answer.map(|(content, _)| content);
            offset += content.as_ref().map_or(0, |content| content.len() as u64);
            // A full channel is waited for elsewhere than on these threads, which others need too.
            let send = send.clone();
            let sent = tokio::task::spawn_blocking(move || send.send(content)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
    });
    Ok(receive)
}

/// Bytes of an object from `offset` on, and its size. An empty object has one empty part.
pub(super) async fn part(store: &dyn ObjectStore, key: &Key, offset: u64) -> Result<(Bytes, u64)> {
    // The first part of an empty object cannot be asked for by its range.
    let size = if offset == 0 { store.head(key).await?.size } else { u64::MAX };
    if size == 0 {
        return Ok((Bytes::new(), 0));
    }
    let range = offset..offset.saturating_add(CHUNK_BYTES).min(size);
    let options = GetOptions { range: Some(range.into()), ..Default::default() };
    let answer = store.get_opts(key, options).await?;
    let size = answer.meta.size;
    Ok((answer.bytes().await?, size))
}

/// Runs what asks an object store on threads of its own, and waits for it on the calling thread, whatever
/// runtime that may belong to.
///
/// # Errors
///
/// If the system gives no threads, or `future` panicked.
pub fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let (send, receive) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // Who waits does not go away before the answer is there.
        let _gone = send.try_send(future.await);
    });
    receive.recv().map_err(|_| io::Error::other("a request to the object store broke off"))
}

/// Drives all connections to object stores: they outlive the runtimes of callers, and go on while a caller's thread waits.
pub(super) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let built = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("objects")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| built))
}
