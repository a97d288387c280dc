//! TypeScript: one interface a family, for the tracker's `types/events.d.ts`.

use std::collections::BTreeMap;

use super::lines::{bound, comment, generated, joined};
use crate::model::{Basis, ContributorSource, Family, Field, Kind, Package};
use crate::words;

/// Longest line.
const COLUMNS: usize = 120;

/// Declarations of the package's events, of what they may be sent for, and of all families by name.
#[must_use]
pub fn typescript(package: &Package) -> String {
    let mut text = format!("// {}\n\n", generated("typescript", package));
    text += "/** Purposes that a visitor can agree or object to. */\n";
    let asked = package.purposes.iter().filter(|purpose| {
        matches!(purpose.basis, Basis::Consent | Basis::LegitimateInterest | Basis::PublicInterest)
    });
    let asked: Vec<String> = asked.map(|purpose| literal(&purpose.name)).collect();
    text += &match asked.as_slice() {
        [] => "export type Purpose = never;\n".to_owned(),
        asked => {
            format!("export type Purpose ={};\n", union(asked, "export type Purpose = ;", "  "))
        }
    };
    let names = names(package);
    for (family, name) in package.families.iter().zip(&names) {
        text += &interface(family, name);
    }
    text += "\n/** Families by the `type` of their events. */\nexport interface Families {\n";
    for (family, name) in package.families.iter().zip(&names) {
        text += &format!("  {}: {name};\n", family.name);
    }
    text + "}\n"
}

/// `DeviceUsage` of `device_usage`; where that is taken, with the family's own name behind it, which nobody else has.
fn names(package: &Package) -> Vec<String> {
    let pascal =
        |family: &Family| -> String { family.name.split('_').map(words::sentence).collect() };
    let mut uses: BTreeMap<String, usize> =
        ["Purpose", "Families"].map(|name| (name.to_owned(), 1)).into();
    for family in &package.families {
        *uses.entry(pascal(family)).or_default() += 1;
    }
    let one = |family: &Family| {
        let name = pascal(family);
        if uses[&name] == 1 { name } else { format!("{name}_{}", family.name) }
    };
    package.families.iter().map(one).collect()
}

fn interface(family: &Family, name: &str) -> String {
    let told = match family.contributor.source {
        ContributorSource::Field(index) => format!("`{}`", family.fields[index].name),
        ContributorSource::Visit => "the visit".to_owned(),
    };
    let about = family.about.as_deref().map(|about| format!("{}. ", words::sentence(about)));
    let about = comment(&format!(
        "{}Contributors are {}, told by {told}.",
        about.unwrap_or_default(),
        family.contributor.called
    ));
    let fields: Vec<String> = family.body_fields().map(|(_, field)| property(field)).collect();
    if fields.is_empty() {
        // An empty interface would take everything.
        return format!("\n/** {about} */\nexport type {name} = Record<string, never>;\n");
    }
    format!("\n/** {about} */\nexport interface {name} {{\n{}}}\n", fields.concat())
}

fn property(field: &Field) -> String {
    let parts = [
        field.about.clone(),
        accepted(&field.kind),
        field
            .expires
            .map(|end| format!("dropped from {} on", &end.to_string()[..10]))
            .unwrap_or_default(),
    ];
    let name = if field.required { field.name.clone() } else { format!("{}?", field.name) };
    let mut types = types(&field.kind);
    if !field.required {
        types.push("null".to_owned());
    }
    let types = union(&types, &format!("  {name}: ;"), "    ");
    format!("  /** {} */\n  {name}:{types};\n", comment(&joined(&parts)))
}

/// What the type alone does not say.
fn accepted(kind: &Kind) -> String {
    match kind {
        Kind::String { bytes_max, pattern: Some(pattern) } => {
            format!("at most {bytes_max} bytes, `{}`", pattern.source)
        }
        Kind::String { bytes_max, pattern: None } => format!("at most {bytes_max} bytes"),
        Kind::Enum { values, otherwise: Some(other) } => {
            let other = values.get(usize::from(*other)).map_or("", String::as_str);
            format!("anything else is counted as `{other}`")
        }
        Kind::Enum { otherwise: None, .. } | Kind::Boolean | Kind::Url { .. } => String::new(),
        Kind::Integer { min, max } => format!("a whole number, {min} to {max}"),
        Kind::Float { min, max } => format!("a number, {} to {}", bound(*min), bound(*max)),
        Kind::Duration { unit_ms: 1, min, max } => format!("milliseconds, {min} to {max}"),
        Kind::Duration { min, max, .. } => format!("seconds, {min} to {max}"),
        Kind::Timestamp => "RFC 3339, or milliseconds since 1970".to_owned(),
        Kind::Version => "`3.8.1`".to_owned(),
    }
}

fn types(kind: &Kind) -> Vec<String> {
    let words: &[&str] = match kind {
        Kind::String { .. } | Kind::Version | Kind::Url { .. } => &["string"],
        Kind::Integer { .. } | Kind::Float { .. } | Kind::Duration { .. } => &["number"],
        Kind::Boolean => &["boolean"],
        Kind::Timestamp => &["string", "number"],
        Kind::Enum { values, otherwise } => {
            let mut words: Vec<String> = values.iter().map(|value| literal(value)).collect();
            if otherwise.is_some() {
                // Any text, and yet the words above are still proposed.
                words.push("(string & {})".to_owned());
            }
            return words;
        }
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Behind a colon: on the same line if it fits there, else on as many as it needs.
fn union(types: &[String], around: &str, indent: &str) -> String {
    let one = types.join(" | ");
    if around.chars().count() + one.chars().count() <= COLUMNS {
        return format!(" {one}");
    }
    let mut lines = vec![indent.to_owned()];
    for word in types {
        let line = lines.last_mut().expect("there is one from the start");
        let is_full = line.chars().count() + 3 + word.chars().count() > COLUMNS;
        if is_full && line.len() > indent.len() {
            lines.push(format!("{indent}| {word}"));
        } else {
            let blank = if line.len() > indent.len() { " " } else { "" };
            *line = format!("{line}{blank}| {word}");
        }
    }
    format!("\n{}", lines.join("\n"))
}

/// A text in quotes; JSON's escapes are TypeScript's too.
fn literal(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
