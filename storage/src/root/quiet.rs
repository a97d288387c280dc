//! An object store whose errors hold no more than a status and a code: some stores answer a wrong signature with the
//! access key and all that was signed.

use std::error::Error as _;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Passes everything on but the words of errors.
#[derive(Debug)]
pub(super) struct Quiet(Arc<dyn ObjectStore>);

impl Quiet {
    pub(super) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self(store)
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What is left of what a store said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

#[async_trait]
impl ObjectStore for Quiet {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await.map_err(quiet)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await.map_err(quiet)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result = self.0.get_opts(location, options).await.map_err(quiet)?;
        if let GetResultPayload::Stream(stream) = result.payload {
            let stream = stream.map(|part| part.map_err(quiet)).boxed();
            result.payload = GetResultPayload::Stream(stream);
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await.map_err(quiet)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations).map(|deleted| deleted.map_err(quiet)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix).map(|object| object.map_err(quiet)).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset).map(|object| object.map_err(quiet)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await.map_err(quiet)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await.map_err(quiet)
    }
}

/// The same kind of error with other words.
fn quiet(error: Error) -> Error {
    let source = Box::new(Said(said(&error)));
    match error {
        Error::NotFound { path, .. } => Error::NotFound { path, source },
        Error::AlreadyExists { path, .. } => Error::AlreadyExists { path, source },
        Error::Precondition { path, .. } => Error::Precondition { path, source },
        Error::NotModified { path, .. } => Error::NotModified { path, source },
        Error::PermissionDenied { path, .. } => Error::PermissionDenied { path, source },
        Error::Unauthenticated { path, .. } => Error::Unauthenticated { path, source },
        Error::NotSupported { .. } => Error::NotSupported { source },
        Error::Generic { store, .. } => Error::Generic { store, source },
        Error::InvalidPath { .. }
        | Error::JoinError { .. }
        | Error::NotImplemented { .. }
        | Error::UnknownConfigurationKey { .. } => error,
        // A kind that this build does not know yet may say anything.
        _ => Error::Generic { store: "object store", source },
    }
}

/// Status and code, or why there was no answer.
fn said(error: &Error) -> String {
    let (mut text, mut deepest) = (error.to_string(), error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        deepest = cause.to_string();
        text.push('\n');
        text.push_str(&deepest);
        source = cause.source();
    }
    let code = between(&text, "<Code>", "<").or_else(|| between(&text, "\"reason\": \"", "\""));
    let code = code.filter(|code| code.chars().all(|letter| letter.is_ascii_alphanumeric()));
    let status = between(&text, "status code: ", ":");
    match (status, code) {
        (Some(status), Some(code)) => format!("the store answered {status} ({code})"),
        (Some(status), None) => format!("the store answered {status}"),
        (None, Some(code)) => format!("the store answered with an error ({code})"),
        // A body stands on several lines or has brackets: what the system says has neither.
        (None, None) if deepest.contains(['<', '{', '\n']) => {
            "the store answered with an error".to_owned()
        }
        (None, None) => format!("the store gave no answer: {deepest}"),
    }
}

fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(behind)?.0.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Other(&'static str);

    #[test]
    fn an_answer_is_cut_down_to_status_and_code() {
        let body = "Error performing PUT http://h/b/k in 3ms - Server returned non-2xx status code: 403 Forbidden: \
                    <Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIASECRET</AWSAccessKeyId></Error>";
        let source = Box::new(Other(body));
        let error = quiet(Error::PermissionDenied { path: "k".to_owned(), source });
        let text = format!("{error} {error:?}");
        assert!(text.contains("403 Forbidden (SignatureDoesNotMatch)"), "{text}");
        assert!(!text.contains("AKIASECRET"), "{text}");
        for body in ["<html>AKIASECRET</html>", "{\"error\": \"AKIASECRET\"}"] {
            let source = Box::new(Other(body));
            let error = quiet(Error::Generic { store: "S3", source });
            assert!(!format!("{error} {error:?}").contains("AKIASECRET"), "{error}");
        }
        let source = Box::new(Other("Connection refused (os error 111)"));
        let error = quiet(Error::Generic { store: "S3", source });
        assert!(error.to_string().contains("no answer: Connection refused"), "{error}");
    }
}
