//! What is read of a request's head: key, site, sender's address, encoding.

use std::net::{IpAddr, Ipv4Addr};

use ingest::fuzzing;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Lines: query string, `Authorization`, `Content-Encoding`, then entries of both forwarding headers.
pub(crate) fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (query, authorization, encoding) = (line(), line(), line());
    let forwarded: Vec<&[u8]> = lines.collect();
    let head = fuzzing::Head { query, authorization, encoding, forwarded: &forwarded };
    for proxies in 0..4 {
        let Some(addresses) = fuzzing::head(PEER, &head, proxies) else { return };
        if proxies == 0 {
            assert_eq!(addresses, [Some(PEER); 2], "without proxies a header counts for nothing");
        }
    }
}
