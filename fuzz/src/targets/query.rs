//! Questions: JSON against the words of the package.

use query::Request;

use crate::fixture::PACKAGE;
use crate::must_not_repeat;

/// The body of `POST /v1/query`.
pub(crate) fn run(body: &[u8]) {
    let checked = Request::parse(body).and_then(|request| request.check(&PACKAGE));
    if let Err(error) = checked {
        must_not_repeat(&error.to_string());
    }
}
