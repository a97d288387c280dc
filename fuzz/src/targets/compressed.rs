//! Compressed bodies: cut off at a limit whatever they would become, and given back as they were packed.

use ingest::fuzzing::{compress, decompress};

use crate::targets::body;

/// The first byte chooses the encoding, the second the limit; the rest is taken as packed, and as plain.
pub(crate) fn run(data: &[u8]) {
    let [choice, limit, body @ ..] = data else { return };
    let bytes_max = 1 << (limit % 21);
    if let Some(plain) = decompress(*choice, body, bytes_max) {
        assert!(plain.len() <= bytes_max, "more than allowed");
        body::json(&plain);
    }
    let packed = compress(*choice, body);
    let plain = decompress(*choice, &packed, body.len().max(1));
    assert_eq!(plain.as_deref(), Some(body), "what was packed comes back");
    let less = body.len().checked_sub(1).filter(|less| *less > 0);
    if let Some(less) = less {
        assert_eq!(decompress(*choice, &packed, less), None, "the limit is exact");
    }
}
