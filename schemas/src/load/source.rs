//! One file of a package: its text, where things are in it, and what was found wrong.

use std::cell::RefCell;
use std::ops::Range;

use crate::diagnostic::Diagnostic;

/// A place in a file, in bytes.
pub(super) type Span = Range<usize>;

/// A file being read. Reading goes on after a mistake, so that all of them are found at once.
pub(super) struct SourceFile {
    pub(super) name: String,
    pub(super) text: String,
    found: RefCell<Vec<Diagnostic>>,
}

impl SourceFile {
    pub(super) fn new(name: String, text: String) -> Self {
        Self { name, text, found: RefCell::default() }
    }

    /// Notes a mistake at the beginning of `span`.
    pub(super) fn wrong(
        &self,
        span: &Span,
        message: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let (line, column) = self.position(span.start);
        self.found.borrow_mut().push(Diagnostic {
            file: self.name.clone(),
            line,
            column,
            message: message.into(),
            instead: instead.into(),
        });
    }

    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    /// Line, and column in characters, of a byte; both from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let file = SourceFile::new("f".to_owned(), "ab\næøå = 1\n".to_owned());
        assert_eq!(file.position(0), (1, 1));
        assert_eq!(file.position(3), (2, 1));
        assert_eq!(file.position("ab\næøå".len()), (2, 4));
        assert_eq!(file.position(10_000), (3, 1));
    }
}
