//! What is made of values: total functions, for whom every text is hostile.

pub(crate) mod column;
pub(crate) mod domain;
pub(crate) mod identifier;
pub(crate) mod language;
pub(crate) mod number;
pub(crate) mod path;
pub(crate) mod url;
pub(crate) mod utm;
pub(crate) mod version;

/// A code of two or three letters, held in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    bytes: [u8; 3],
    length: u8,
}

impl Code {
    /// A code of these ASCII letters; none if there are not two or three of them.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let letters = text.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !letters || !(2..=3).contains(&text.len()) {
            return None;
        }
        let mut bytes = [0; 3];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self { bytes, length: if text.len() == 2 { 2 } else { 3 } })
    }

    pub(crate) fn lower_case(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("letters are ASCII")
    }
}
