//! Event types for those who send: what a package declares, in the languages of senders.
//!
//! Input: a checked package. Output: source text, the same for the same package on every machine. Whatever a package
//! holds, the text compiles: names that a language keeps for itself get an underscore, words become names that are not
//! taken yet, and no text ends the comment or the literal that it stands in.

mod c_header;
mod c_names;
mod lines;
mod longest;
mod typescript;

pub use c_header::c_header;
pub use typescript::typescript;
