//! What a store has to do: refuse the second writer of a name, and forget what is deleted.

use object_store::path::Path as Key;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use uuid::Uuid;

use super::RootError;

/// Below a root; deleted again.
pub(super) const NAME: &str = "quorate-probe";
const CONTENT: &[u8] = b"written to see what becomes of it";

pub(super) async fn probe(
    store: &dyn ObjectStore,
    folder: &Key,
    url: &str,
) -> Result<(), RootError> {
    let unavailable =
        |error: Error| RootError::Unavailable { url: url.to_owned(), source: error.into() };
    // Another process may look at the same time, and one that was killed may have left its own.
    let key = folder.clone().join(Uuid::new_v4().simple().to_string());
    let create = || store.put_opts(&key, PutPayload::from_static(CONTENT), PutMode::Create.into());
    let written = create().await.map_err(unavailable)?;
    let again = create().await;
    store.delete(&key).await.map_err(unavailable)?;
    match again {
        Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
        Ok(_) => return Err(RootError::Unconditional { url: url.to_owned() }),
        Err(error) => return Err(unavailable(error)),
    }
    // Some stores number what they do not keep: only asking tells.
    let Some(version) = written.version else { return Ok(()) };
    let options = GetOptions { version: Some(version), ..GetOptions::default() };
    match store.get_opts(&key, options).await {
        Err(Error::NotFound { .. }) => Ok(()),
        // Not allowed to ask is no answer.
        Ok(_) | Err(_) => Err(RootError::Versioned { url: url.to_owned() }),
    }
}
