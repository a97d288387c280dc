//! A body taken apart: known names with their values, in the order they came, and nothing else.
//!
//! Texts point into the body; those with escapes point into one buffer of the body. There is no map and no
//! allocation per event: entries of all events stand in one list, an event is a range of it.

use std::ops::Range;

use anonymizer::Statement;

use crate::plan::Word;

/// A value as JSON had it, as far as any rule can ask for it.
#[derive(Clone, Copy)]
pub(crate) enum Cell<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number without fraction or exponent that fits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text without escapes.
    Text(&'a str),
    /// A text that had escapes: bytes of [`Cells::copied`].
    Copied {
        /// First byte.
        start: u32,
        /// Bytes.
        length: u32,
    },
    /// An object or array where none is declared; what was in it is gone.
    Nested,
    /// What `consent` or `signals` say: index into [`Cells::said`].
    Said(u32),
    /// Index into [`Cells::people`].
    EndUser(u32),
}

/// A known name and its value.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) word: Word,
    pub(crate) cell: Cell<'a>,
}

/// How many undeclared names say that they hold something refused, by index of its category.
#[derive(Clone, Default)]
pub(crate) struct RefusedNames(Vec<(u8, u32)>);

impl RefusedNames {
    pub(crate) fn add(&mut self, category: u8, names: u32) {
        match self.0.iter_mut().find(|(known, _)| *known == category) {
            Some((_, count)) => *count = count.saturating_add(names),
            None => self.0.push((category, names)),
        }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (u8, u32)> + '_ {
        self.0.iter().copied()
    }
}

impl Entry<'_> {
    /// The refused category that names of the event say to be of, by index, and how many they are.
    pub(crate) fn refused(&self) -> Option<(u8, u32)> {
        let Word::Refused(category) = self.word else { return None };
        let names = self.cell.integer().and_then(|names| u32::try_from(names).ok());
        Some((category, names.unwrap_or(u32::MAX)))
    }
}

/// Where the entries of one event stand.
#[derive(Clone)]
pub(crate) struct EventCells {
    /// Range of [`Cells::entries`].
    pub(crate) entries: Range<usize>,
    /// Names that no family declares.
    pub(crate) undeclared: u32,
    /// Why it is none, if it is none.
    pub(crate) fault: Option<Fault>,
}

/// Why something in a list of events is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not an object, or not JSON.
    NotAnObject,
    /// Nothing at all: a record without a value.
    Empty,
    /// Larger than configured.
    TooLong,
    /// More known names than there are: one of them stands twice.
    Repeats,
}

/// The person for whom a server speaks, as the body says.
#[derive(Clone, Copy)]
pub(crate) struct Person<'a> {
    pub(crate) address: Cell<'a>,
    pub(crate) user_agent: Cell<'a>,
    pub(crate) language: Cell<'a>,
}

/// All entries of a body.
#[derive(Default)]
pub(crate) struct Cells<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) copied: String,
    pub(crate) people: Vec<Person<'a>>,
    pub(crate) said: Vec<Statement>,
    pub(crate) events: Vec<EventCells>,
}

impl<'a> Cells<'a> {
    /// The text of a cell, if it is one.
    pub(crate) fn text(&self, cell: Cell<'a>) -> Option<&str> {
        match cell {
            Cell::Text(text) => Some(text),
            Cell::Copied { start, length } => {
                let start = start as usize;
                self.copied.get(start..start + length as usize)
            }
            Cell::Null
            | Cell::Boolean(_)
            | Cell::Integer(_)
            | Cell::Float(_)
            | Cell::Nested
            | Cell::Said(_)
            | Cell::EndUser(_) => None,
        }
    }

    /// Keeps the person of an event.
    pub(crate) fn person(&mut self, person: Person<'a>) -> Cell<'a> {
        let index = u32::try_from(self.people.len()).expect("a body is far smaller than 4 GiB");
        self.people.push(person);
        Cell::EndUser(index)
    }

    /// Keeps what was said about purposes.
    pub(crate) fn said(&mut self, statement: Statement) -> Cell<'a> {
        let index = u32::try_from(self.said.len()).expect("a body is far smaller than 4 GiB");
        self.said.push(statement);
        Cell::Said(index)
    }

    /// Counts undeclared names of a refused category among the entries from `start` on, of which they are one however many
    /// they are.
    pub(crate) fn refuse(&mut self, start: usize, category: u8, names: u32) {
        let word = Word::Refused(category);
        let known = self.entries[start..].iter_mut().find(|entry| entry.word == word);
        match known {
            Some(Entry { cell: Cell::Integer(count), .. }) => *count += i64::from(names),
            Some(_) | None => {
                self.entries.push(Entry { word, cell: Cell::Integer(i64::from(names)) });
            }
        }
    }

    /// Keeps a text that the parser had to build.
    pub(crate) fn copy(&mut self, text: &str) -> Cell<'a> {
        let start = u32::try_from(self.copied.len()).expect("a body is far smaller than 4 GiB");
        let length = u32::try_from(text.len()).expect("a body is far smaller than 4 GiB");
        self.copied.push_str(text);
        Cell::Copied { start, length }
    }
}

impl Cell<'_> {
    /// A whole number, also when written as `12.0`, as far as it is exact.
    pub(crate) fn integer(self) -> Option<i64> {
        /// Whole floats are exact up to here.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if let Self::Integer(number) = self {
            return Some(number);
        }
        let number =
            self.float().filter(|number| number.fract() == 0.0 && number.abs() <= EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        let whole = number as i64;
        Some(whole)
    }

    /// Whether it is a number without a fraction, however large.
    pub(crate) fn is_whole(self) -> bool {
        self.float().is_some_and(|number| number.fract() == 0.0)
    }

    /// Any number.
    pub(crate) fn float(self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(number),
            #[expect(clippy::cast_precision_loss, reason = "asked for as a float, so kept as one")]
            Self::Integer(number) => Some(number as f64),
            Self::Null
            | Self::Boolean(_)
            | Self::Text(_)
            | Self::Copied { .. }
            | Self::Nested
            | Self::Said(_)
            | Self::EndUser(_) => None,
        }
    }
}
