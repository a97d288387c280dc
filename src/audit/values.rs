//! What was found by looking at values: kinds and places, counted.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use serde_json::Value;

use super::finding::{Code, Finding};
use super::patterns::{self, Rules};

/// Members of JSON that hold hashes, ids and paths of our own.
const OPAQUE: &[&str] = &[
    "appId",
    "before",
    "boot",
    "check",
    "commitment",
    "digest",
    "id",
    "identifier",
    "key",
    "nonce",
    "path",
    "policy",
    "pseudonyms",
    "receipt",
    "recipient",
    "request",
    "sealing_keys_destroyed",
    "subject",
];
/// Shortest text that is looked for in bytes that are none.
const PRINTABLE: usize = 12;

/// What was looked at, and what was found.
#[derive(Default)]
pub(super) struct Values {
    found: BTreeMap<(Code, String), (u64, String)>,
    /// Values of columns.
    pub(super) values: u64,
    /// Bytes, of texts and values.
    pub(super) bytes: u64,
}

impl Values {
    /// Looks at a text. Of equal places the first `file` is told.
    pub(super) fn text(&mut self, place: &str, file: &str, text: &str, rules: Rules) {
        self.bytes += text.len() as u64;
        for code in patterns::kinds(text, rules) {
            let found = self.found.entry((code, place.to_owned()));
            found.or_insert_with(|| (0, file.to_owned())).0 += 1;
        }
    }

    /// Looks at every value of a column: texts, and bytes that read as text.
    pub(super) fn column(&mut self, place: &str, file: &str, column: &dyn Array, rules: Rules) {
        let kind = column.data_type();
        if *kind == DataType::Utf8 {
            for value in column.as_string::<i32>().iter().flatten() {
                self.values += 1;
                self.text(place, file, value, rules);
            }
        } else if *kind == DataType::LargeUtf8 {
            for value in column.as_string::<i64>().iter().flatten() {
                self.values += 1;
                self.text(place, file, value, rules);
            }
        } else if *kind == DataType::Utf8View {
            for value in column.as_string_view().iter().flatten() {
                self.values += 1;
                self.text(place, file, value, rules);
            }
        } else if *kind == DataType::Binary {
            for value in column.as_binary::<i32>().iter().flatten() {
                self.values += 1;
                self.opaque(place, file, value);
            }
        } else {
            self.values += column.len() as u64;
        }
    }

    /// Looks at bytes that should be none that anybody can read.
    pub(super) fn opaque(&mut self, place: &str, file: &str, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        for text in patterns::printable(bytes, PRINTABLE) {
            for code in patterns::kinds(text, Rules::STRICT) {
                let found = self.found.entry((code, place.to_owned()));
                found.or_insert_with(|| (0, file.to_owned())).0 += 1;
            }
        }
    }

    /// Looks at one JSON value, or at lines of JSON and at whatever else a line is.
    pub(super) fn lines(&mut self, place: &str, text: &str) {
        if let Ok(value) = serde_json::from_str::<Value>(text) {
            return self.json(place, "", &value);
        }
        for line in text.lines() {
            match serde_json::from_str::<Value>(line) {
                Ok(value) => self.json(place, "", &value),
                Err(_) => self.text(place, place, line, Rules::ALL),
            }
        }
    }

    /// Looks at every name and text of a JSON value that stands under `name`.
    pub(super) fn json(&mut self, place: &str, name: &str, value: &Value) {
        match value {
            Value::String(text) => {
                let ours = OPAQUE.contains(&name) && is_opaque(text);
                self.text(place, place, text, if ours { Rules::STRICT } else { Rules::ALL });
            }
            Value::Array(items) => items.iter().for_each(|item| self.json(place, name, item)),
            Value::Object(members) => {
                for (name, value) in members {
                    self.text(place, place, name, Rules::STRICT);
                    self.json(place, name, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A finding for each kind and place.
    pub(super) fn findings(&self) -> impl Iterator<Item = Finding> {
        self.found.iter().map(|((code, place), (count, file))| {
            let place = match place == file {
                true => place.clone(),
                false => format!("{place}, first in {file}"),
            };
            Finding::counted(*code, what(*code), place, *count)
        })
    }
}

fn what(code: Code) -> &'static str {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are found otherwise")]
    match code {
        Code::Email => "values that look like e-mail addresses",
        Code::Ipv4 => "values that look like IPv4 addresses",
        Code::Ipv6 => "values that look like IPv6 addresses",
        Code::Mac => "values that look like MAC addresses",
        Code::Uuid => "UUIDs where none is declared",
        Code::Telephone => "values that look like telephone numbers",
        Code::LongNumber => "long runs of digits, as serial or telephone numbers have them",
        _ => "values that look like tokens",
    }
}

/// Hashes, UUIDs, and names of keys: `pseudonym/web/20600`.
fn is_opaque(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-/_.".contains(&byte))
        || text.split('/').count() > 1
        || !text.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_hashes_are_no_tokens_and_others_are() {
        let line = r#"{"at":"2026-11-22T15:15:22.386Z","key":"pseudonym/web/20745","commitment":"0ce6b988ff54c508c60a24136f6cbc72"}"#;
        let mut values = Values::default();
        values.lines("keys.jsonl", line);
        // The suppression list is one value over many lines.
        let list = serde_json::json!({ "format": 1, "check": "9f86d081884c7d659a2feaa0c55ad015", "entries": [{
            "request": "0b8f5a1e-6a0f-4c1e-9a51-1f2e3d4c5b6a",
            "identifier": "0ce6b988ff54c508c60a24136f6cbc72",
            "pseudonyms": [[20_776, "a3ce6b988ff54c508c60a24136f6cbc7"]],
        }] });
        values.lines("list.json", &serde_json::to_string_pretty(&list).unwrap());
        assert_eq!(values.findings().count(), 0);
        values.lines("keys.jsonl", r#"{"why":"0ce6b988ff54c508c60a24136f6cbc72"}"#);
        values.lines("keys.jsonl", r#"{"key":"jo@example.com"}"#);
        values.lines("keys.jsonl", "torn 198.51.100.7");
        let codes: Vec<_> = values.findings().map(|finding| finding.code).collect();
        assert_eq!(codes, ["email", "ipv4", "token"]);
        assert!(values.findings().all(|finding| finding.place == "keys.jsonl"));
    }
}
