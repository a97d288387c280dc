//! Tables and values of a TOML document that know where they stand, and complain there.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::source::{SourceFile, Span};
use super::words::{list, nearest};

/// A table whose keys are asked for by name; those that nobody asked for are unknown.
pub(super) struct Table<'a> {
    pub(super) file: &'a SourceFile,
    /// Of the key it stands under: where a missing key of its own is reported.
    pub(super) span: Span,
    content: &'a DeTable<'a>,
    asked: RefCell<Vec<&'static str>>,
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub(super) file: &'a SourceFile,
    /// The key it stands under; empty in an array.
    pub(super) key: &'a str,
    /// Of the key, or of the value in an array.
    pub(super) key_span: Span,
    /// Of the value.
    pub(super) span: Span,
    value: &'a DeValue<'a>,
}

impl<'a> Table<'a> {
    pub(super) fn new(file: &'a SourceFile, span: Span, content: &'a DeTable<'a>) -> Self {
        Self { file, span, content, asked: RefCell::default() }
    }

    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Item<'a>> {
        self.know(&[key]);
        self.content.get_key_value(key).map(|(key, value)| self.item(key, value))
    }

    /// Makes keys known that may not be asked for after a mistake.
    pub(super) fn know(&self, keys: &[&'static str]) {
        let mut asked = self.asked.borrow_mut();
        for key in keys {
            if !asked.contains(key) {
                asked.push(key);
            }
        }
    }

    /// The value of `key`; its absence is reported, with `instead` to write.
    pub(super) fn need(&self, key: &'static str, what: &str, instead: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.file.wrong(&self.span, format!("{what} has no `{key}`"), instead);
        }
        item
    }

    /// All entries in order of the file, whatever their names: for tables whose keys are the author's.
    pub(super) fn entries(&self) -> Vec<Item<'a>> {
        let mut entries: Vec<_> =
            self.content.iter().map(|(key, value)| self.item(key, value)).collect();
        entries.sort_by_key(|item| item.key_span.start);
        entries
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for item in self.entries() {
            if !asked.contains(&item.key) {
                let instead = nearest(item.key, &asked);
                self.file.wrong(&item.key_span, format!("unknown key `{}`", item.key), instead);
            }
        }
    }

    fn item(
        &self,
        key: &'a Spanned<toml::de::DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Item<'a> {
        Item {
            file: self.file,
            key: key.get_ref(),
            key_span: key.span(),
            span: value.span(),
            value: value.get_ref(),
        }
    }
}

impl<'a> Item<'a> {
    /// The item as a name: its own key, for tables whose keys are names of fields.
    pub(super) fn field_name(&self) -> Self {
        Self { span: self.key_span.clone(), ..self.clone() }
    }

    /// The name this item stands for: its text, or its key where the value says something about it.
    pub(super) fn name(&self, instead: &str) -> Option<&'a str> {
        if self.span == self.key_span && !self.key.is_empty() {
            Some(self.key)
        } else {
            self.text(instead)
        }
    }

    /// Reports this value.
    pub(super) fn wrong(&self, message: impl Into<String>, instead: impl Into<String>) {
        self.file.wrong(&self.span, message, instead);
    }

    /// Reports a value of the wrong TOML type.
    fn mistyped<T>(&self, wanted: &str, instead: &str) -> Option<T> {
        let key = if self.key.is_empty() { String::new() } else { format!("`{}` ", self.key) };
        self.wrong(format!("{key}must be {wanted}"), instead);
        None
    }

    /// A text that is not empty.
    pub(super) fn text(&self, instead: &str) -> Option<&'a str> {
        match self.as_text() {
            Some(text) if !text.trim().is_empty() => Some(text),
            _ => self.mistyped("a text that is not empty", instead),
        }
    }

    /// One of `known`, as its index.
    pub(super) fn word(&self, known: &[&str]) -> Option<usize> {
        let text = self.text(&list(known))?;
        let found = known.iter().position(|word| *word == text);
        if found.is_none() {
            let key = if self.key.is_empty() { "value" } else { self.key };
            self.wrong(format!("unknown {key} `{text}`"), nearest(text, known));
        }
        found
    }

    /// A whole number.
    pub(super) fn integer(&self, instead: &str) -> Option<i64> {
        match self.as_integer() {
            Some(number) => Some(number),
            None => self.mistyped("a whole number", instead),
        }
    }

    /// A finite number, whole or not.
    pub(super) fn number(&self, instead: &str) -> Option<f64> {
        match self.as_number() {
            Some(number) => Some(number),
            None => self.mistyped("a number", instead),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.as_boolean() {
            Some(value) => Some(value),
            None => self.mistyped("true or false", "`true` or `false`"),
        }
    }

    /// The values of an array.
    pub(super) fn array(&self, instead: &str) -> Option<Vec<Item<'a>>> {
        match self.as_array() {
            Some(items) => Some(items),
            None => self.mistyped("a list", instead),
        }
    }

    /// A table.
    pub(super) fn table(&self, instead: &str) -> Option<Table<'a>> {
        match self.as_table() {
            Some(table) => Some(table),
            None => self.mistyped("a table", instead),
        }
    }

    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(super) fn as_boolean(&self) -> Option<bool> {
        self.value.as_bool()
    }

    pub(super) fn as_integer(&self) -> Option<i64> {
        let number = self.value.as_integer()?;
        i64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        let number = match (self.as_integer(), self.value.as_float()) {
            #[expect(clippy::cast_precision_loss, reason = "bounds of ranges are checked later")]
            (Some(whole), _) => whole as f64,
            (None, Some(float)) => float.as_str().parse().ok()?,
            (None, None) => return None,
        };
        number.is_finite().then_some(number)
    }

    pub(super) fn as_array(&self) -> Option<Vec<Item<'a>>> {
        let items = self.value.as_array()?.iter().map(|value| Item {
            file: self.file,
            key: "",
            key_span: value.span(),
            span: value.span(),
            value: value.get_ref(),
        });
        Some(items.collect())
    }

    pub(super) fn as_table(&self) -> Option<Table<'a>> {
        self.value.as_table().map(|content| Table::new(self.file, self.key_span.clone(), content))
    }

    /// A day, as text or as a TOML date: `2027-12-31`.
    pub(super) fn as_day(&self) -> Option<String> {
        let date = self.value.as_datetime().map(ToString::to_string);
        date.or_else(|| self.as_text().map(str::to_owned))
    }
}
