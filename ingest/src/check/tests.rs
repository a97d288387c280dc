use schemas::model::{Category, Pattern, Source};
use schemas::{Package, PurposeSet};

use super::*;

fn field(kind: Kind, transform: Transform) -> Field {
    Field {
        name: "tested".to_owned(),
        about: String::new(),
        category: Category::Usage,
        source: Source::Body,
        kind,
        transform,
        purposes: PurposeSet::default(),
        required: false,
        expires: None,
    }
}

/// What becomes of a cell, in words.
fn fate(kind: Kind, cell: Cell<'_>) -> String {
    fate_of(&field(kind, Transform::Keep), cell)
}

fn fate_of(field: &Field, cell: Cell<'_>) -> String {
    let listed = field.kind.listed().map(|values| {
        (0_u16..).zip(values).map(|(index, value)| (value.as_str().into(), index)).collect()
    });
    let cells = Cells::default();
    let refused = [Content::Image, Content::Dicom];
    match check(field, listed.as_ref(), &refused, &cells, cell) {
        Checked::Value(Value::Null) => "null".to_owned(),
        Checked::Value(Value::Text(text)) => format!("text {text}"),
        Checked::Value(Value::Integer(number)) => format!("integer {number}"),
        Checked::Value(Value::Float(number)) => format!("float {number}"),
        Checked::Value(Value::Boolean(truth)) => format!("boolean {truth}"),
        Checked::Value(Value::Index(index)) => format!("index {index}"),
        Checked::Otherwise(index) => format!("otherwise {index}"),
        Checked::Refused(reason) => reason.name().to_owned(),
    }
}

fn cases<const N: usize>(kind: &Kind, cases: [(Cell<'_>, &str); N]) {
    for (number, (cell, expected)) in cases.into_iter().enumerate() {
        assert_eq!(fate(kind.clone(), cell), expected, "case {number} of {kind:?}");
    }
}

#[test]
fn null_is_nothing_for_every_kind() {
    let kinds = [
        Kind::Boolean,
        Kind::Timestamp,
        Kind::Version,
        Kind::Url { bytes_max: 9 },
        Kind::Integer { min: 1, max: 2 },
    ];
    kinds.into_iter().for_each(|kind| assert_eq!(fate(kind, Cell::Null), "null"));
}

/// Also where another value would stand for it, or its form is wrong: what came is counted as what it is.
#[test]
fn refused_content_is_no_unknown_word_and_no_version() {
    let image = Cell::Text("data:image/png;base64,iVBORw0KGgo");
    let words = Kind::Enum { values: vec!["a".into(), "other".into()], otherwise: Some(1) };
    assert_eq!(fate(words.clone(), image), "refused_content");
    assert_eq!(fate(words, Cell::Text("an image of nothing")), "otherwise 1");
    assert_eq!(fate(Kind::Version, image), "refused_content");
}

#[test]
fn whole_numbers() {
    cases(
        &Kind::Integer { min: -5, max: 100 },
        [
            (Cell::Integer(-5), "integer -5"),
            (Cell::Integer(100), "integer 100"),
            (Cell::Integer(101), "out_of_range"),
            (Cell::Float(12.0), "integer 12"),
            (Cell::Float(12.5), "wrong_type"),
            (Cell::Float(1e300), "out_of_range"),
            (Cell::Float(f64::NAN), "wrong_type"),
            (Cell::Text("12"), "wrong_type"),
            (Cell::Boolean(true), "wrong_type"),
            (Cell::Nested, "wrong_type"),
        ],
    );
    cases(
        &Kind::Duration { unit_ms: 1000, min: 0, max: 60 },
        [(Cell::Integer(60), "integer 60000"), (Cell::Integer(61), "out_of_range")],
    );
    let endless = Kind::Duration { unit_ms: 1000, min: 0, max: i64::MAX };
    cases(&endless, [(Cell::Integer(i64::MAX), "integer 9223372036854775807")]);
}

#[test]
fn numbers_and_truths() {
    cases(
        &Kind::Float { min: 0.0, max: 1.0 },
        [
            (Cell::Float(0.5), "float 0.5"),
            (Cell::Integer(1), "float 1"),
            (Cell::Float(1.1), "out_of_range"),
            (Cell::Float(f64::NAN), "out_of_range"),
            (Cell::Text("0.5"), "wrong_type"),
        ],
    );
    cases(
        &Kind::Boolean,
        [
            (Cell::Boolean(false), "boolean false"),
            (Cell::Integer(1), "wrong_type"),
            (Cell::Text("true"), "wrong_type"),
        ],
    );
}

#[test]
fn listed_values() {
    let values = ["a", "b", "other"].map(str::to_owned).to_vec();
    cases(
        &Kind::Enum { values: values.clone(), otherwise: Some(2) },
        [
            (Cell::Text("b"), "index 1"),
            (Cell::Text("other"), "index 2"),
            (Cell::Text("B"), "otherwise 2"),
            (Cell::Integer(1), "wrong_type"),
        ],
    );
    cases(
        &Kind::Enum { values, otherwise: None },
        [(Cell::Text("a"), "index 0"), (Cell::Text(""), "not_listed")],
    );
}

#[test]
fn texts() {
    let regex = regex::Regex::new("^(?:E[0-9]{3})$").unwrap();
    let pattern = Some(Pattern { source: "E[0-9]{3}".to_owned(), regex });
    cases(
        &Kind::String { bytes_max: 8, pattern },
        [
            (Cell::Text("E042"), "text E042"),
            (Cell::Text("E42"), "wrong_form"),
            (Cell::Text("xE042"), "wrong_form"),
            (Cell::Text("E0420420420"), "too_long"),
            (Cell::Integer(42), "wrong_type"),
        ],
    );
    let plain = Kind::String { bytes_max: 8, pattern: None };
    cases(
        &plain,
        [
            (Cell::Text(""), "text "),
            (Cell::Text("åäöü"), "text åäöü"),
            (Cell::Text("åäöüx"), "too_long"),
            (Cell::Text("data:image/png;base64,iVBORw0KGgo="), "refused_content"),
        ],
    );
    let pseudonym = field(plain, Transform::Pseudonym);
    assert_eq!(fate_of(&pseudonym, Cell::Text("")), "null");
}

#[test]
fn versions() {
    cases(
        &Kind::Version,
        [
            (Cell::Text("3"), "text 3"),
            (Cell::Text("3.8.1"), "text 3.8.1"),
            (Cell::Text("3.8.1.20240516"), "text 3.8.1.20240516"),
            (Cell::Text("3.8.1-beta.2"), "text 3.8.1"),
            (Cell::Text("3.8.1+build.5"), "text 3.8.1"),
            (Cell::Text("3.8.1.2.3"), "wrong_form"),
            (Cell::Text("v3"), "wrong_form"),
            (Cell::Text("3."), "wrong_form"),
            (Cell::Text("3..1"), "wrong_form"),
            (Cell::Text("3-"), "wrong_form"),
            (Cell::Text("3.1 for Ada"), "wrong_form"),
            (Cell::Text("1234567890"), "wrong_form"),
            (Cell::Text(""), "wrong_form"),
            (Cell::Float(3.8), "wrong_type"),
        ],
    );
}

#[test]
fn addresses_of_pages() {
    cases(
        &Kind::Url { bytes_max: 40 },
        [
            (Cell::Text("https://example.com/a?b=c#d"), "text https://example.com/a?b=c#d"),
            (Cell::Text("/a/b"), "text /a/b"),
            (Cell::Text("android-app://com.example"), "text android-app://com.example"),
            (Cell::Text("//example.com/a"), "wrong_form"),
            (Cell::Text("https://"), "wrong_form"),
            (Cell::Text("https:///path"), "wrong_form"),
            (Cell::Text("example.com"), "wrong_form"),
            (Cell::Text("javascript:alert(1)"), "wrong_form"),
            (Cell::Text("https://example.com/a b"), "wrong_form"),
            (Cell::Text("https://example.com/0123456789012345678901"), "too_long"),
            // `document.referrer` of a page that no other led to.
            (Cell::Text(""), "null"),
        ],
    );
}

#[test]
fn moments() {
    cases(
        &Kind::Timestamp,
        [
            (Cell::Text("2025-11-22T01:02:03Z"), "integer 1763773323000"),
            (Cell::Text("2025-11-22T02:02:03.5+01:00"), "integer 1763773323500"),
            (Cell::Integer(1_763_773_323_000), "integer 1763773323000"),
            (Cell::Text("yesterday"), "wrong_form"),
            (Cell::Text("2025-11-22"), "wrong_form"),
            (Cell::Integer(-1), "out_of_range"),
            (Cell::Integer(i64::MAX), "out_of_range"),
            (Cell::Boolean(true), "wrong_type"),
        ],
    );
}

#[test]
fn every_refusal_has_words_for_what_is_expected() {
    let package: std::sync::Arc<Package> = crate::testing::package();
    for field in package.families.iter().flat_map(|family| &family.fields) {
        assert!(!field.kind.expected().is_empty(), "{}", field.name);
    }
}
