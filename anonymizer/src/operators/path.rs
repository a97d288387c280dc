//! Path of a URL as a template: no query, no fragment, no matrix parameters, nothing that may identify.

use schemas::model::{RouteSegment, Routes};

use super::identifier::{self, Identifier};
use super::url;

/// Parts of a path that are told apart; what follows is one `:other`.
const PARTS_MAX: usize = 8;
/// Bytes of a path at rest.
const PATH_BYTES_MAX: usize = 256;

/// A declared route, and the text that stands for whatever fits it.
struct Template {
    parts: Vec<RouteSegment>,
    text: String,
}

/// The `path` transform of one field.
pub(crate) struct Paths {
    templates: Vec<Template>,
}

impl Paths {
    pub(crate) fn new(routes: &Routes) -> Self {
        let templates = routes.templates.iter().map(|parts| {
            let mut text = String::new();
            for part in parts {
                text.push('/');
                match part {
                    RouteSegment::Literal(literal) => text.push_str(literal),
                    RouteSegment::Parameter(name) => {
                        text.push(':');
                        text.push_str(name);
                    }
                }
            }
            if text.is_empty() {
                text.push('/');
            }
            Template { parts: parts.clone(), text }
        });
        Self { templates: templates.collect() }
    }

    /// Writes the template of `path` to `out`, which is cleared first.
    ///
    /// A declared route that fits wins, and its words are kept. Else each part passes if it reads like words, and
    /// is replaced by `:id`, `:email`, `:token`, `:number` or `:other` if not; after eight parts, or when the text
    /// grows long, one `:other` stands for the rest. Upper and lower case stay; empty parts, `.`, `..` and a slash
    /// at the end go.
    pub(crate) fn write(&self, path: &str, out: &mut String) {
        out.clear();
        let raw = parts(path);
        if let Some(template) = self.templates.iter().find(|template| template.fits(&raw)) {
            out.push_str(&template.text);
            return;
        }
        for (index, part) in raw.iter().enumerate() {
            let decoded;
            let written = if identifier::plain_words(part) {
                part
            } else {
                decoded = identifier::decoded(part);
                match &decoded {
                    Ok(text) => {
                        identifier::classify(text).map_or(&**text, |found| found.placeholder())
                    }
                    Err(found) => found.placeholder(),
                }
            };
            let full = out.len() + 1 + written.len() + "/:other".len() > PATH_BYTES_MAX;
            if index == PARTS_MAX || full {
                out.push('/');
                out.push_str(Identifier::Other.placeholder());
                break;
            }
            out.push('/');
            out.push_str(written);
        }
        if out.is_empty() {
            out.push('/');
        }
    }
}

impl Template {
    fn fits(&self, raw: &[&str]) -> bool {
        self.parts.len() == raw.len()
            && self.parts.iter().zip(raw).all(|(part, raw)| match part {
                RouteSegment::Parameter(_) => true,
                RouteSegment::Literal(literal) => {
                    literal == raw
                        || identifier::decoded(raw).is_ok_and(|text| text == literal.as_str())
                }
            })
    }
}

/// The parts of a path without matrix parameters (`;…`, encoded or not), empty ones and dots.
fn parts(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::with_capacity(PARTS_MAX);
    for part in url::split(path, b'/') {
        let part = url::before(part, b';');
        match dots(part) {
            Some(0 | 1) => {}
            Some(_) => {
                parts.pop();
            }
            None => parts.push(part),
        }
    }
    parts
}

/// The number of dots, if a part is nothing else and at most two; the standard reads an encoded dot as one.
fn dots(part: &str) -> Option<usize> {
    if part.bytes().next().is_some_and(|first| !matches!(first, b'.' | b'%')) {
        return None;
    }
    match part.replace("%2e", ".").replace("%2E", ".").as_str() {
        "" => Some(0),
        "." => Some(1),
        ".." => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
