//! What a package declares, in the languages of others: event types for those who send (C, TypeScript, JSON Schema), and
//! the whole package for those who keep records of processing (DPV as JSON-LD, Fides as YAML).
//!
//! Input: a checked package. Output: text, the same for the same package on every machine. Whatever a package holds, the
//! text is well formed: names that a language keeps for itself get an underscore, words become names that are not taken
//! yet, and no text ends the comment or the literal that it stands in.

mod c_header;
mod c_names;
mod dpv;
mod ecma;
mod fides;
mod json_schema;
mod lines;
mod longest;
mod typescript;
mod vocabulary;

pub use c_header::c_header;
pub use dpv::dpv_json_ld;
pub use fides::fides;
pub use json_schema::json_schema;
pub use typescript::typescript;
