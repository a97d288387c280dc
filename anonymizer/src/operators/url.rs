//! Cuts a URL into host, path and query without building one: several fields are made of the same text.
//!
//! The cut agrees with the WHATWG parser on what is host, path and query of an `http` or `https` URL; texts that
//! need its finer rules (white space and control characters inside, backslashes) are given to that parser first.

/// The parts of a URL that fields are made of. User information, port and fragment are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    /// Empty for a URL that is a path only.
    pub(crate) host: &'a str,
    /// With its leading `/`; empty for `https://host`.
    pub(crate) path: &'a str,
    /// Without its `?`.
    pub(crate) query: &'a str,
}

/// A URL that was cut.
pub(crate) enum Cut<'a> {
    /// Into parts of the text itself.
    Plain(Parts<'a>),
    /// After the WHATWG parser wrote it anew.
    Rewritten(String),
}

impl<'a> Cut<'a> {
    /// Cuts `text`. None for other schemes than `http` and `https`, and for what is neither an absolute URL nor a
    /// path.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(|char: char| char <= ' ');
        // Without an early end, so that it takes sixteen bytes at a time.
        let unusual = text
            .bytes()
            .fold(false, |found, byte| found | (byte <= b' ') | (byte == b'\\') | (byte == 0x7f));
        if !unusual {
            return parts(text).map(Self::Plain);
        }
        let rewritten = rewrite(text)?;
        parts(&rewritten)?;
        Some(Self::Rewritten(rewritten))
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        match self {
            Self::Plain(parts) => *parts,
            Self::Rewritten(text) => parts(text).expect("cut before"),
        }
    }
}

/// The text as the WHATWG parser writes it; none if that one refuses it.
fn rewrite(text: &str) -> Option<String> {
    // A path only needs some base; its host must not be taken for the URL's.
    let relative = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    if relative {
        let base = url::Url::parse("http://base.invalid").expect("a fixed URL is one");
        let full = base.join(text).ok()?;
        return (full.host_str() == Some("base.invalid"))
            .then(|| full[url::Position::BeforePath..].to_owned());
    }
    Some(url::Url::parse(text).ok()?.into())
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let rest = if let Some(rest) = text.strip_prefix("https://") {
        rest
    } else if let Some(rest) = text.strip_prefix("//") {
        rest
    } else if text.starts_with('/') {
        let (path, query) = path_and_query(text);
        return Some(Parts { host: "", path, query });
    } else {
        let (scheme, rest) = text.split_once(':')?;
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        rest
    };
    // Two slashes are right; the standard forgives any number.
    let rest = rest.trim_start_matches('/');
    let (authority, rest) = match position(rest, |byte| matches!(byte, b'/' | b'?' | b'#')) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let user_end = authority.bytes().rposition(|byte| byte == b'@');
    let host_and_port = user_end.map_or(authority, |at| &authority[at + 1..]);
    let host = if host_and_port.starts_with('[') {
        // An IPv6 address keeps its bracket, by which it is known.
        host_and_port.split_inclusive(']').next().unwrap_or(host_and_port)
    } else {
        before(host_and_port, b':')
    };
    if host.is_empty() {
        return None;
    }
    let (path, query) = path_and_query(rest);
    Some(Parts { host, path, query })
}

fn path_and_query(text: &str) -> (&str, &str) {
    let text = before(text, b'#');
    match position(text, |byte| byte == b'?') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    }
}

/// Where the first such byte is, which must be an ASCII one. On texts of a few dozen bytes this is faster than
/// searches that are made for long ones.
fn position(text: &str, found: impl Fn(u8) -> bool) -> Option<usize> {
    text.bytes().position(found)
}

/// What stands before the first such byte, which must be an ASCII one.
pub(crate) fn before(text: &str, end: u8) -> &str {
    position(text, |byte| byte == end).map_or(text, |end| &text[..end])
}

/// The parts of a text between such bytes, which must be ASCII ones.
pub(crate) fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match position(text, |byte| byte == separator) {
            Some(end) => {
                rest = Some(&text[end + 1..]);
                Some(&text[..end])
            }
            None => rest.take(),
        }
    })
}

#[cfg(test)]
mod tests;
