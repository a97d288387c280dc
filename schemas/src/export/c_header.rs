//! C99: one struct a family for `clients/firmware`, with functions that write and record it.

use std::collections::BTreeMap;

use super::c_names::{Names, capital, literal, of_family};
use super::lines::{bound, comment, filled, generated, joined, wrapped};
use super::longest;
use crate::model::{ContributorSource, Family, Field, Kind, Package};
use crate::words;

const GUARD: &str = "QUORATE_GENERATED_EVENTS_H";
/// Longest line.
const COLUMNS: usize = 120;

/// How declarations become C; stands at the head of every header.
const RULES: &str = " *
 * How a declaration becomes C:
 *
 *   family told by a field  struct NAME, NAME_write, NAME_record, NAME_BYTES; families told by the visit are left out,
 *                           for a device has none and the service could not tell their copies
 *   contributor's field     in struct device_common, sent once in each request and kept in no storage; where families
 *                           have different ones, those that a device has
 *   from = \"…\"              left out: the service makes it of the connection or of another field
 *   string, version, url    const char *, NULL is absent; its length is checked here, its pattern by the service
 *   enum                    enum NAME_FIELD, 0 is absent; with `otherwise` the last word stands for all others
 *   integer                 the first of uint32_t, int32_t, int64_t that holds the range; checked here
 *   float                   double; checked here, sent to six decimal places
 *   boolean                 bool
 *   ms, s                   as integer, its unit behind the name; checked here
 *   timestamp               int64_t, milliseconds since 1970, `_ms` behind the name
 *   numbers and booleans    beside `bool has_FIELD`, so that a struct of zeros is an event without fields; a field that
 *                           is `required` has no `has_`, and a required text that is NULL makes the event unfit
 *   names                   with `_` behind those that C, C++ or the client keep, or that something else has
 *
 * NAME_BYTES is the longest text of an event whose strings match their patterns; where a pattern lets signs pass that
 * JSON escapes, or there is none, they are taken at six bytes for each. An event that does not fit is counted as unfit
 * and not sent.
 */
";

/// A header with the package's events: those of the families that a device can send.
#[must_use]
pub fn c_header(package: &Package) -> String {
    let mut names = Names::default();
    names.one(GUARD);
    let common = Common::of(package);
    if !common.fields.is_empty() {
        names.give("device_common", forms);
    }
    let families: Vec<(&Family, usize, String)> = sendable(package)
        .map(|(family, own)| (family, own, names.give(&of_family(&family.name), forms)))
        .collect();
    let mut text = String::new();
    for (index, line) in
        wrapped(&generated("c-header", package), " * ", COLUMNS).into_iter().enumerate()
    {
        text += &if index == 0 { format!("/*{}\n", &line[2..]) } else { format!("{line}\n") };
    }
    text += RULES;
    text += &format!("#ifndef {GUARD}\n#define {GUARD}\n\n#include \"quorate.h\"\n");
    text += &common.written();
    for (family, own, name) in families {
        text += &Struct::of(family, own, name, &mut names).written();
    }
    text + "\n#endif\n"
}

/// Every name that comes with a struct's.
fn forms(name: &str) -> Vec<String> {
    let bytes = bytes_of(name);
    vec![name.to_owned(), format!("{name}_write"), format!("{name}_record"), bytes]
}

fn bytes_of(name: &str) -> String {
    format!("{}_BYTES", name.to_ascii_uppercase())
}

/// Families told by a field, with its index.
fn sendable(package: &Package) -> impl Iterator<Item = (&Family, usize)> {
    package.families.iter().filter_map(|family| match family.contributor.source {
        ContributorSource::Field(own) => Some((family, own)),
        ContributorSource::Visit => None,
    })
}

/// A member of a struct, and how it is written.
struct Member {
    name: String,
    /// The flag beside it, for what has no value that stands for absence.
    flag: Option<String>,
    field: Field,
    /// Tag and constants, if it is one of a list.
    choice: Option<(String, Vec<String>)>,
}

/// What all events of a device share.
struct Common {
    fields: Vec<Member>,
}

impl Common {
    /// The contributors' fields of all families by name; where several declare one, the shortest that each takes.
    fn of(package: &Package) -> Self {
        let mut found: BTreeMap<&str, &Field> = BTreeMap::new();
        for (family, own) in sendable(package) {
            let field = &family.fields[own];
            let kept = found.entry(field.name.as_str()).or_insert(field);
            if text_bytes(&field.kind) < text_bytes(&kept.kind) {
                *kept = field;
            }
        }
        let mut names = Names::default();
        let member = |field: &&Field| Member {
            name: names.one(&field.name),
            flag: None,
            field: (*field).clone(),
            choice: None,
        };
        Self { fields: found.values().map(member).collect() }
    }

    fn written(&self) -> String {
        if self.fields.is_empty() {
            return String::new();
        }
        let mut text = "\n/* What a device says once in each request. */\n".to_owned();
        text += &declaration("device_common", &self.fields);
        text += &format!("\n#define DEVICE_COMMON_BYTES {}\n", bytes(&self.fields) - 1);
        text += "\nstatic inline void device_common_write(const struct device_common *common, struct quorate_writer *writer)\n{\n";
        text += &self.fields.iter().map(|member| member.statement("common")).collect::<String>();
        let absent: Vec<String> =
            self.fields.iter().map(|member| format!("common->{} == NULL", member.name)).collect();
        let absent = match absent.as_slice() {
            [one] => one.clone(),
            several => format!("({})", several.join(" && ")),
        };
        text + &format!("    writer->unfit = writer->unfit || {absent};\n}}\n")
    }
}

/// One family.
struct Struct<'a> {
    family: &'a Family,
    name: String,
    members: Vec<Member>,
}

impl<'a> Struct<'a> {
    fn of(family: &'a Family, own: usize, name: String, names: &mut Names) -> Self {
        let fields: Vec<&Field> = family
            .body_fields()
            .filter(|(index, _)| *index != own)
            .map(|(_, field)| field)
            .collect();
        let mut inside = Names::default();
        let mut members: Vec<Member> = fields
            .into_iter()
            .map(|field| Member {
                name: inside.one(&format!("{}{}", field.name, unit(&field.kind))),
                flag: None,
                field: field.clone(),
                choice: field.kind.listed().map(|values| constants(&name, field, values, names)),
            })
            .collect();
        for member in &mut members {
            let is_flagged = is_number(&member.field.kind) && !member.field.required;
            member.flag = is_flagged.then(|| inside.one(&format!("has_{}", member.field.name)));
        }
        Self { family, name, members }
    }

    fn written(&self) -> String {
        let Self { family, name, members } = self;
        let mut text: String = members.iter().filter_map(Member::enumeration).collect();
        let about = match &family.about {
            Some(about) => format!("{}.", words::sentence(about)),
            None => format!("An event of the family {}.", family.name),
        };
        text += &format!("\n{}", block(&comment(&about), ""));
        text += &declaration(name, members);
        let head = longest::name("type") + longest::text(&family.name);
        text += &format!("\n#define {} {}\n", bytes_of(name), head + bytes(members));
        text += &format!(
            "\nstatic inline void {name}_write(const struct {name} *event, struct quorate_writer *writer)\n{{\n"
        );
        if members.is_empty() {
            text += "    (void)event;\n";
        }
        let (kind, length) = (literal(&family.name), family.name.len());
        text += &format!("    quorate_write_text(writer, \"type\", {kind}, {length});\n");
        text += &members.iter().map(|member| member.statement("event")).collect::<String>();
        text += "}\n\n/* Takes one event; see `quorate_record`. */\n";
        let open = format!("static inline enum quorate_result {name}_record(");
        let indent = " ".repeat(open.len());
        text += &format!(
            "{open}struct quorate *client, const struct {name} *event,\n{indent}uint32_t now_ms)\n{{\n"
        );
        text +=
            &format!("    char text[{}];\n    struct quorate_writer writer;\n\n", bytes_of(name));
        text += "    quorate_write_begin(&writer, text, sizeof text);\n";
        text += &format!("    {name}_write(event, &writer);\n");
        text + "    return quorate_record(client, &writer, now_ms);\n}\n"
    }
}

/// The tag of a list, and a constant for each of its words.
fn constants(
    family: &str,
    field: &Field,
    values: &[String],
    names: &mut Names,
) -> (String, Vec<String>) {
    let tag = names.one(&format!("{family}_{}", field.name));
    let before = tag.to_ascii_uppercase();
    let constant = |(index, value): (usize, &String)| {
        names.one(&format!("{before}_{}", capital(value, index + 1)))
    };
    let constants = values.iter().enumerate().map(constant).collect();
    (tag, constants)
}

impl Member {
    fn enumeration(&self) -> Option<String> {
        let (tag, constants) = self.choice.as_ref()?;
        let lines: Vec<String> = constants
            .iter()
            .enumerate()
            .map(
                |(index, name)| {
                    if index == 0 { format!("    {name} = 1") } else { format!("    {name}") }
                },
            )
            .collect();
        Some(format!("\nenum {tag} {{\n{}\n}};\n", lines.join(",\n")))
    }

    fn declared(&self) -> String {
        let name = &self.name;
        match &self.field.kind {
            Kind::String { .. } | Kind::Version | Kind::Url { .. } => {
                format!("const char *{name};")
            }
            Kind::Enum { .. } => {
                let tag = self.choice.as_ref().map_or("", |(tag, _)| tag.as_str());
                format!("enum {tag} {name};")
            }
            Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
                format!("{} {name};", integer(*min, *max))
            }
            Kind::Timestamp => format!("int64_t {name};"),
            Kind::Float { .. } => format!("double {name};"),
            Kind::Boolean => format!("bool {name};"),
        }
    }

    /// What it is, and which values it may have.
    fn about(&self) -> String {
        let accepted = match &self.field.kind {
            Kind::String { pattern: Some(pattern), .. } => pattern.source.clone(),
            Kind::String { bytes_max, pattern: None } | Kind::Url { bytes_max } => {
                format!("at most {bytes_max} bytes")
            }
            Kind::Version => "3.8.1".to_owned(),
            Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
                format!("{min} to {max}")
            }
            Kind::Float { min, max } => format!("{} to {}", bound(*min), bound(*max)),
            Kind::Enum { .. } | Kind::Boolean | Kind::Timestamp => String::new(),
        };
        let required = if self.field.required { "required" } else { "" };
        let until = self.field.expires.map(|end| end.to_string());
        let until = until.map(|end| format!("dropped from {} on", &end[..10])).unwrap_or_default();
        comment(&joined(&[self.field.about.clone(), accepted, required.to_owned(), until]))
    }

    /// The call that writes it, indented.
    fn statement(&self, of: &str) -> String {
        let (name, value) = (literal(&self.field.name), format!("{of}->{}", self.name));
        let absent = |zero: &str| {
            if !self.field.required {
                return String::new();
            }
            format!("    writer->unfit = writer->unfit || {value} == {zero};\n")
        };
        let call = match &self.field.kind {
            kind @ (Kind::String { .. } | Kind::Version | Kind::Url { .. }) => {
                let bytes = text_bytes(kind);
                let absent = absent("NULL");
                return format!(
                    "    quorate_write_text(writer, {name}, {value}, {bytes});\n{absent}"
                );
            }
            Kind::Enum { values, .. } => {
                let list: Vec<String> = values.iter().map(|value| literal(value)).collect();
                let list = filled(&list, ",", "            ", COLUMNS).join("\n");
                let count = values.len();
                return format!(
                    "    {{\n        static const char *const words[] = {{\n{list}\n        }};\n        \
                     quorate_write_choice(writer, {name}, (unsigned){value}, words, {count});\n    }}\n{}",
                    absent("0")
                );
            }
            Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
                format!("quorate_write_integer(writer, {name}, {value}, {min}, {max});")
            }
            Kind::Timestamp => {
                let last = longest::TIMESTAMP_MAX;
                format!("quorate_write_integer(writer, {name}, {value}, 0, {last});")
            }
            Kind::Float { min, max } => {
                format!("quorate_write_float(writer, {name}, {value}, {min:?}, {max:?});")
            }
            Kind::Boolean => format!("quorate_write_boolean(writer, {name}, {value});"),
        };
        match &self.flag {
            Some(flag) => format!("    if ({of}->{flag}) {{\n        {call}\n    }}\n"),
            None => format!("    {call}\n"),
        }
    }
}

/// The struct itself, comments one below the other.
fn declaration(name: &str, members: &[Member]) -> String {
    let mut text = format!("struct {name} {{\n");
    let widest = members.iter().map(|member| member.declared().len()).max().unwrap_or(0).min(40);
    for member in members {
        if let Some(flag) = &member.flag {
            text += &format!("    bool {flag};\n");
        }
        let (declared, about) = (member.declared(), member.about());
        let line = format!("    {declared:widest$} /* {about} */\n");
        if line.chars().count() <= COLUMNS {
            text += &line;
        } else {
            text += &format!("{}    {declared}\n", block(&about, "    "));
        }
    }
    if members.is_empty() {
        text += "    char unused; /* C has no struct without members */\n";
    }
    text + "};\n"
}

/// A comment on as many lines as it needs.
fn block(text: &str, indent: &str) -> String {
    let lines = wrapped(text, &format!("{indent} * "), COLUMNS - 3);
    let text = lines.join("\n");
    format!("{indent}/*{} */\n", text.get(indent.len() + 2..).unwrap_or_default())
}

/// Bytes of members as JSON, a comma before each.
fn bytes(members: &[Member]) -> usize {
    let one = |member: &Member| {
        1 + longest::name(&member.field.name) + longest::value(&member.field.kind)
    };
    members.iter().map(one).sum()
}

fn is_number(kind: &Kind) -> bool {
    match kind {
        Kind::Integer { .. }
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Duration { .. }
        | Kind::Timestamp => true,
        Kind::String { .. } | Kind::Enum { .. } | Kind::Version | Kind::Url { .. } => false,
    }
}

fn unit(kind: &Kind) -> &'static str {
    match kind {
        Kind::Duration { unit_ms: 1, .. } | Kind::Timestamp => "_ms",
        Kind::Duration { .. } => "_s",
        Kind::String { .. }
        | Kind::Enum { .. }
        | Kind::Integer { .. }
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Version
        | Kind::Url { .. } => "",
    }
}

fn integer(min: i64, max: i64) -> &'static str {
    if u32::try_from(min).is_ok() && u32::try_from(max).is_ok() {
        "uint32_t"
    } else if i32::try_from(min).is_ok() && i32::try_from(max).is_ok() {
        "int32_t"
    } else {
        "int64_t"
    }
}

/// Longest text of that kind, in bytes as the device has it.
fn text_bytes(kind: &Kind) -> usize {
    match kind {
        Kind::String { bytes_max, .. } | Kind::Url { bytes_max } => *bytes_max as usize,
        Kind::Version => longest::VERSION_BYTES,
        Kind::Enum { .. }
        | Kind::Integer { .. }
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Duration { .. }
        | Kind::Timestamp => 0,
    }
}
