//! Whose address it is: the peer's, or what the trusted proxies before us say, and never what the sender says itself.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, header};

use crate::config::ForwardedBy;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The sender's address, `trusted_proxies` hops back from us.
///
/// Each proxy appends whom it heard from, so the entries that ours wrote are the last ones. Nothing if there are fewer
/// entries than proxies, or the entry is no address: then a request came past them, or they hide it.
pub(crate) fn sender(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted_proxies: u8,
    forwarded_by: ForwardedBy,
) -> Option<IpAddr> {
    let Some(back) = trusted_proxies.checked_sub(1) else {
        return Some(peer.to_canonical());
    };
    let name = match forwarded_by {
        ForwardedBy::XForwardedFor => X_FORWARDED_FOR,
        ForwardedBy::Forwarded => header::FORWARDED,
    };
    let values: Vec<&str> =
        headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    let entry = values.iter().flat_map(|value| value.split(',')).rev().nth(usize::from(back))?;
    let node = match forwarded_by {
        ForwardedBy::XForwardedFor => entry.trim(),
        ForwardedBy::Forwarded => forwarded_for(entry)?,
    };
    address(node).map(|address| address.to_canonical())
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = values.next()?;
    Some(value.trim().trim_matches('"'))
}

/// An address with or without port, IPv6 with or without brackets.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node.strip_prefix('[').and_then(|node| node.strip_suffix(']')).unwrap_or(node);
    bare.parse().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "198.51.100.200";

    fn find(proxies: u8, by: ForwardedBy, lines: &[(&'static str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        sender(PEER.parse().unwrap(), &headers, proxies, by).map(|address| address.to_string())
    }

    #[test]
    fn without_proxies_no_header_counts() {
        let lines = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
        for by in [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded] {
            assert_eq!(find(0, by, &lines).as_deref(), Some(PEER));
        }
    }

    #[test]
    fn entries_beyond_the_trusted_hops_do_not_count() {
        let by = ForwardedBy::XForwardedFor;
        let lines =
            [("x-forwarded-for", "203.0.113.9, 192.0.2.1"), ("x-forwarded-for", "192.0.2.2")];
        assert_eq!(find(1, by, &lines).as_deref(), Some("192.0.2.2"));
        assert_eq!(find(2, by, &lines).as_deref(), Some("192.0.2.1"));
        assert_eq!(find(3, by, &lines).as_deref(), Some("203.0.113.9"));
        assert_eq!(find(4, by, &lines), None);
    }

    #[test]
    fn the_header_that_the_proxies_do_not_write_does_not_count() {
        let lines = [("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "192.0.2.2")];
        assert_eq!(find(1, ForwardedBy::XForwardedFor, &lines).as_deref(), Some("192.0.2.2"));
        assert_eq!(find(1, ForwardedBy::Forwarded, &lines).as_deref(), Some("203.0.113.9"));
    }

    #[test]
    fn forms_of_entries() {
        for (entry, expected) in [
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("unknown", None),
            ("", None),
        ] {
            let lines = [("x-forwarded-for", entry)];
            let found = find(1, ForwardedBy::XForwardedFor, &lines);
            assert_eq!(found.as_deref(), expected, "{entry}");
        }
        for (element, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
            ("proto=https;For=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("for=_hidden", None),
            ("proto=https", None),
        ] {
            let lines = [("forwarded", element)];
            assert_eq!(find(1, ForwardedBy::Forwarded, &lines).as_deref(), expected, "{element}");
        }
    }
}
