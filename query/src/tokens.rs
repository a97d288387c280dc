//! Who may read: the registry of readers, read again when its file changes.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use schemas::access::Readers;

use crate::QueryError;

/// What the file looked like when it was read: time of change and length; none while there is no file.
type Stamp = Option<(SystemTime, u64)>;

/// The readers in one file.
pub(crate) struct Tokens {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Readers)>>,
}

impl Tokens {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: Mutex::new(None) }
    }

    /// The name of the reader whose token an `Authorization` header carries.
    ///
    /// # Errors
    ///
    /// [`QueryError::NoToken`], [`QueryError::WriteKey`], [`QueryError::UnknownToken`]; [`QueryError::Unavailable`]
    /// if the registry cannot be read, for then nobody may read.
    pub(crate) fn reader(&self, authorization: Option<&str>) -> Result<String, QueryError> {
        let bearer = authorization.and_then(|header| {
            let (scheme, token) = header.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let token = bearer.filter(|token| !token.is_empty()).ok_or(QueryError::NoToken)?;
        if token.starts_with("qd_") || token.starts_with("qs_") {
            return Err(QueryError::WriteKey);
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.stamp();
        if read.as_ref().is_none_or(|(known, _)| *known != stamp) {
            // Forgotten first: a registry that cannot be read lets nobody in.
            *read = None;
            let readers = Readers::load(&self.path)
                .map_err(|error| QueryError::Unavailable(Box::new(error)))?;
            *read = Some((stamp, readers));
        }
        let reader = read.as_ref().and_then(|(_, readers)| readers.by_token(token));
        reader.map(|reader| reader.name.clone()).ok_or(QueryError::UnknownToken)
    }

    fn stamp(&self) -> Stamp {
        let file = std::fs::metadata(&self.path).ok()?;
        Some((file.modified().ok()?, file.len()))
    }
}
