//! What is wrong in a package, where, and what to write instead.

use std::fmt;

/// One mistake in a policy package. Quotes what the package's author wrote, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Name of the file within the package.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// What to write instead.
    pub instead: String,
}

/// `file:line:column: message; instead write …`, one line.
impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, instead } = self;
        write!(out, "{file}:{line}:{column}: {message}; instead write {instead}")
    }
}
