//! Events as they should not be: one defect each, or one text where it does not belong.
//!
//! Each way is possible only where the package has a field for it, and says beforehand what must become of the event.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemas::model::{Content as Refused, Field, Kind, Source};
use schemas::{Package, Reason};
use serde_json::{Map, Value, json};

use super::Content;
use super::sent::{Expected, Personal, Planted};
use super::values::uuid;

/// A way in which an event is not as it should be; a number is the index of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// A transfer that broke off.
    Broken,
    /// A type that nobody declared.
    UnknownType,
    /// No type at all.
    NoType,
    /// A required field is not there.
    Missing(usize),
    /// Another JSON type than declared.
    WrongType(usize),
    /// A number beyond the range.
    OutOfRange(usize),
    /// A text beyond the limit, with an e-mail address in it.
    TooLong(usize),
    /// An e-mail address where one of a few words is expected.
    NotListed(usize),
    /// An e-mail address where a form is expected.
    WrongForm(usize),
    /// A picture in a text.
    Picture(usize),
    /// Stored all the same: an e-mail address and a token in a URL.
    IdentifierInUrl(usize),
    /// Stored all the same: an e-mail address where unknown words are counted as another one.
    Otherwise(usize),
    /// Stored all the same: fields that nobody declared, with a name, an e-mail address, a number.
    Undeclared,
}

/// Bytes with which a PNG file begins, in base64.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";

/// Every way that `package` leaves open for events of `family`, by kind, so that each kind is as frequent as the
/// others.
pub(super) fn possible(package: &Package, family: usize) -> Vec<Vec<Defect>> {
    let fields = &package.families[family].fields;
    let pictures = package.refused.content.contains(&Refused::Image);
    let of = |fits: &dyn Fn(&Field) -> bool, defect: fn(usize) -> Defect| -> Vec<Defect> {
        let body = |field: &Field| field.source == Source::Body && field.expires.is_none();
        let fields = fields.iter().enumerate().filter(|(_, field)| body(field) && fits(field));
        fields.map(|(index, _)| defect(index)).collect()
    };
    let ways = vec![
        vec![Defect::Broken],
        vec![Defect::UnknownType],
        vec![Defect::NoType],
        vec![Defect::Undeclared],
        of(&|field| field.required, Defect::Missing),
        of(&|_| true, Defect::WrongType),
        of(&|field| beyond(&field.kind).is_some(), Defect::OutOfRange),
        of(&|field| longest(&field.kind).is_some_and(|most| most <= 4096), Defect::TooLong),
        of(&|field| matches!(field.kind, Kind::Enum { otherwise: None, .. }), Defect::NotListed),
        of(
            &|field| {
                matches!(&field.kind, Kind::Version)
                    || matches!(&field.kind, Kind::String { bytes_max: 40.., pattern: Some(pattern) }
                        if !pattern.regex.is_match("a.b@mail.example"))
            },
            Defect::WrongForm,
        ),
        of(
            &|field| {
                let free = matches!(field.kind, Kind::String { bytes_max: 32.., pattern: None });
                pictures && free
            },
            Defect::Picture,
        ),
        of(&|field| matches!(field.kind, Kind::Url { bytes_max: 256.. }), Defect::IdentifierInUrl),
        of(&|field| matches!(field.kind, Kind::Enum { otherwise: Some(_), .. }), Defect::Otherwise),
    ];
    ways.into_iter().filter(|ways| !ways.is_empty()).collect()
}

/// Spoils a good event, and says what must become of it now.
pub(super) fn spoil(
    defect: Defect,
    mut event: Map<String, Value>,
    fields: &[Field],
    random: &mut ChaCha8Rng,
    personal: &mut Personal,
) -> (Content, Expected) {
    let mut stray = |text: String| {
        personal.plant(Planted::Stray, &text);
        text
    };
    let (field, value, refused) = match defect {
        Defect::Broken => {
            let text = format!("{{\"type\":\"{}\",\"note\":\"", stray(email(random)));
            return (Content::Broken(text), Expected::Refused(Reason::Malformed));
        }
        Defect::Undeclared => {
            event.insert("contact_email".to_owned(), json!(stray(email(random))));
            event.insert("device_mac".to_owned(), json!(stray(mac(random))));
            event
                .insert("patient".to_owned(), json!({ "name": stray(name(random)), "born": 1961 }));
            return (Content::Object(event), Expected::Stored);
        }
        Defect::NoType => ("type", None, Some(Reason::UnknownType)),
        Defect::UnknownType => ("type", Some(json!("diagnostics_v0")), Some(Reason::UnknownType)),
        Defect::Missing(field) => (fields[field].name.as_str(), None, Some(Reason::MissingField)),
        Defect::WrongType(field) => {
            let is_boolean = matches!(fields[field].kind, Kind::Boolean);
            let value = if is_boolean { json!(stray(email(random))) } else { json!(true) };
            (fields[field].name.as_str(), Some(value), Some(Reason::WrongType))
        }
        Defect::OutOfRange(field) => {
            let value = beyond(&fields[field].kind);
            (fields[field].name.as_str(), value, Some(Reason::OutOfRange))
        }
        Defect::TooLong(field) => {
            let most = longest(&fields[field].kind).unwrap_or(0) as usize;
            let text = format!("https://{}/{}", stray(email(random)), "a".repeat(most));
            (fields[field].name.as_str(), Some(json!(text)), Some(Reason::TooLong))
        }
        Defect::NotListed(field) => {
            let value = json!(stray(email(random)));
            (fields[field].name.as_str(), Some(value), Some(Reason::NotListed))
        }
        Defect::WrongForm(field) => {
            let value = json!(stray(email(random)));
            (fields[field].name.as_str(), Some(value), Some(Reason::WrongForm))
        }
        Defect::Picture(field) => {
            (fields[field].name.as_str(), Some(json!(PICTURE)), Some(Reason::RefusedContent))
        }
        Defect::IdentifierInUrl(field) => {
            let (email, token) = (stray(email(random)), stray(uuid(random)));
            let url = format!(
                "https://www.example.com/account/{email}/orders/{token}?email={email}&token={token}\
                 &utm_source={email}#{token}"
            );
            (fields[field].name.as_str(), Some(json!(url)), None)
        }
        Defect::Otherwise(field) => {
            (fields[field].name.as_str(), Some(json!(stray(email(random)))), None)
        }
    };
    match value {
        Some(value) => event.insert(field.to_owned(), value),
        None => event.remove(field),
    };
    (Content::Object(event), refused.map_or(Expected::Stored, Expected::Refused))
}

/// A number beyond the range of `kind`, if it has one that numbers go beyond.
fn beyond(kind: &Kind) -> Option<Value> {
    match kind {
        Kind::Integer { max, .. } | Kind::Duration { max, .. } => {
            max.checked_add(1).map(Value::from)
        }
        Kind::Float { max, .. } => (max.abs() < 1e15).then(|| json!(max + 1.0)),
        Kind::String { .. }
        | Kind::Enum { .. }
        | Kind::Boolean
        | Kind::Timestamp
        | Kind::Version
        | Kind::Url { .. } => None,
    }
}

/// Longest text that `kind` takes, in bytes.
fn longest(kind: &Kind) -> Option<u32> {
    match kind {
        Kind::String { bytes_max, .. } | Kind::Url { bytes_max } => Some(*bytes_max),
        Kind::Enum { .. }
        | Kind::Integer { .. }
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Duration { .. }
        | Kind::Timestamp
        | Kind::Version => None,
    }
}

const FIRST: [&str; 8] = ["ada", "jonas", "mette", "luca", "yuki", "claire", "pavel", "ingrid"];
const LAST: [&str; 8] =
    ["lindqvist", "moreau", "petersen", "rossi", "tanaka", "weber", "nowak", "haugen"];

fn person(random: &mut ChaCha8Rng) -> (&'static str, &'static str) {
    (FIRST[random.random_range(0..FIRST.len())], LAST[random.random_range(0..LAST.len())])
}

fn email(random: &mut ChaCha8Rng) -> String {
    let (first, last) = person(random);
    format!("{first}.{last}.{:06x}@mail.example", random.random_range(0..1 << 24))
}

fn name(random: &mut ChaCha8Rng) -> String {
    let (first, last) = person(random);
    format!("{first} {last} {:06}", random.random_range(0..1_000_000))
}

/// A MAC address.
pub(super) fn mac(random: &mut ChaCha8Rng) -> String {
    let [a, b, c, d] = random.random::<u32>().to_be_bytes();
    format!("a4:5e:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}
