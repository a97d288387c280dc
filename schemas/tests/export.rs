//! Generated sources, against the files that are in use, and against a C compiler.
//!
//! With `GOLDEN=write` in the environment of `cargo test` the files are written instead of compared.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use schemas::{Package, export};

/// As `clients/firmware/Makefile` compiles.
const WARNINGS: [&str; 9] = [
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-fsyntax-only",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn load(files: Vec<(String, String)>) -> Package {
    Package::from_files(files).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    })
}

fn default_package() -> Package {
    load(schemas::DEFAULT_FILES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec())
}

fn compare(path: &str, found: &str) {
    let file = repository().join(path);
    if std::env::vars().any(|(name, value)| name == "GOLDEN" && value == "write") {
        std::fs::write(&file, found).expect("the golden file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let first = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
    assert!(expected == found, "{path} is not what is generated, first in {first:#?}");
}

#[test]
fn files_in_use_are_what_is_generated() {
    let package = default_package();
    compare("web/tracker/types/events.d.ts", &export::typescript(&package));
    compare("clients/firmware/example/device_usage.h", &export::c_header(&package));
    let odd = load(odd());
    compare("schemas/tests/export/odd.h", &export::c_header(&odd));
    compare("schemas/tests/export/odd.d.ts", &export::typescript(&odd));
    compare("schemas/tests/export/odd.schema.json", &export::json_schema(&odd));
    for (name, package) in [("default", package), ("promises", promises())] {
        let path = |end: &str| format!("schemas/tests/export/{name}.{end}");
        compare(&path("schema.json"), &export::json_schema(&package));
        compare(&path("dpv.jsonld"), &export::dpv_json_ld(&package));
        compare(&path("fides.yaml"), &export::fides(&package));
    }
}

/// A package with recipients, periods, flags and consent.
fn promises() -> Package {
    Package::load(&repository().join("schemas/tests/language")).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    })
}

/// Every prefixed name of a tree: keys and values that begin with a prefix of the vocabulary.
fn prefixed(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    let prefixes = ["dpv:", "pd:", "eu-gdpr:", "dcat:", "dct:", "rdf:", "xsd:"];
    let mut take = |text: &str| {
        if prefixes.iter().any(|prefix| text.starts_with(prefix)) {
            found.insert(text.to_owned());
        }
    };
    match value {
        serde_json::Value::String(text) => take(text),
        serde_json::Value::Array(values) => values.iter().for_each(|value| prefixed(value, found)),
        serde_json::Value::Object(entries) => {
            entries.keys().for_each(|key| take(key));
            // Texts of a package are no terms.
            let terms = entries.iter().filter(|(key, _)| {
                !["dct:title", "dct:description", "dcat:version", "dpv:hasName", "dpv:hasContact"]
                    .contains(&key.as_str())
            });
            terms.for_each(|(_, value)| prefixed(value, found));
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// Against the terms that were looked up in DPV 2.3, one a line, and its purposes, of which a package may name any.
#[test]
fn every_term_of_the_vocabulary_exists() {
    let terms: Vec<&str> = include_str!("export/dpv_terms.txt").lines().collect();
    let purposes = include_str!("../src/load/dpv_purposes.txt");
    let is_purpose = |term: &str| {
        term.strip_prefix("dpv:").is_some_and(|name| purposes.lines().any(|known| known == name))
    };
    let mut found = std::collections::BTreeSet::new();
    for package in [default_package(), load(odd()), promises()] {
        let document = serde_json::from_str(&export::dpv_json_ld(&package)).unwrap();
        prefixed(&document, &mut found);
    }
    assert!(found.len() > 40, "{found:?}");
    let unknown: Vec<_> =
        found.iter().filter(|term| !terms.contains(&term.as_str()) && !is_purpose(term)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// Every category has a name in both vocabularies, and what a package refuses is a prohibition in both.
#[test]
fn what_is_refused_is_said_to_both() {
    let package = promises();
    let (graph, yaml) = (export::dpv_json_ld(&package), export::fides(&package));
    assert!(!package.refused.categories.is_empty());
    for category in &package.refused.categories {
        assert!(
            graph.contains(&format!("\"dct:title\": \"{}\"", category.name())),
            "{}",
            category.name()
        );
    }
    assert!(yaml.contains("refused categories") && yaml.contains("user.contact.email"));
    assert!(yaml.contains("undeclared uses") && yaml.contains("matches: \"NONE\""));
}

/// A text as TOML writes it; JSON's escapes are TOML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn policy(controller: &str) -> (String, String) {
    let text = format!(
        "controller = {}\nversion = \"*/ 1\"\n[purposes.p]\nbasis = \"contract\"\nnotice = \"n\"\n",
        quoted(controller)
    );
    ("policy.toml".to_owned(), text)
}

fn family(name: &str, about: &str, fields: &str) -> (String, String) {
    let text = format!(
        "family = {name:?}\n{about}contributor = {{ field = \"unit\", called = \"units\" }}\npurposes = [\"p\"]\n[fields]\n\
         unit = {{ type = \"string(16)\", is = \"identifier\", transform = \"pseudonym\", about = \"the unit\" }}\n{fields}"
    );
    (format!("{name}.toml"), text)
}

fn field(name: &str, rest: &str) -> String {
    format!("{name} = {{ is = \"usage\", about = \"a\", {rest} }}\n")
}

/// Everything at once that names and texts can do to a language.
fn odd() -> Vec<(String, String)> {
    let long = "a very long text ".repeat(40);
    let mut fields = String::new();
    for name in
        ["int", "int_", "class", "default", "unix", "errno", "near", "has_count", "count_ms"]
    {
        fields += &field(name, "type = \"boolean\"");
    }
    fields += &field("count", "type = \"ms\", range = [0, 5]");
    fields += &field(
        "wide",
        "type = \"integer\", range = [-9007199254740991, 9007199254740992], required = true",
    );
    fields += &field("below", "type = \"integer\", range = [-1, 2147483647]");
    fields += &field("above", "type = \"s\", range = [0, 31622400]");
    fields += &field("share", "type = \"float\", range = [-0.5, 1e300]");
    fields += &field(
        "at",
        "type = \"timestamp\", transform = { truncate = \"1 day\" }, expires = \"2030-01-01\"",
    );
    fields += &field("page", "type = \"url\", transform = \"path\"");
    fields += &field("release", "type = \"version\", required = true");
    fields += &field("note", "type = \"string(8192)\", transform = \"drop\"");
    fields += &field("form", "type = \"string(8)\", pattern = '[\"a-c]{1,3}\\*/x'");
    fields += &field(
        "word",
        "type = [\"a b\", \"a-b\", \"a_b\", \"é\", \"??=\", \"\\\"\\\\\", \"*/\", \"int\"], otherwise = \"other\", required = true",
    );
    fields += &format!(
        "told = {{ type = \"boolean\", is = \"usage\", about = {} }}\n",
        quoted(&format!("*/ {long} /* \\"))
    );
    vec![
        policy("Evil */ #error \u{202e} \\\n// ??/ Ltd"),
        family("odd", "about = \"ends */ here\"\n", &fields),
        family("empty", "", ""),
        family("a_b", "", &field("c", "type = [\"bytes\"]")),
        family("a_b_c", "", &field("x", "type = \"boolean\"")),
        family("a__b", "", ""),
        family("odd_write", "", ""),
        family("quorate", "", &field("ok", "type = \"boolean\"")),
        family("quorate_writer", "", ""),
        family("device_common", "", ""),
        family("int", "", &field("least8", "type = [\"max\"]")),
        family("purpose", "", ""),
        family("families", "", ""),
        family("string", "", ""),
    ]
}

/// Packages of which one thing is odd, so that a failure says which.
fn table() -> Vec<(&'static str, Vec<(String, String)>)> {
    let only = |name: &str, fields: &str| vec![policy("Example Ltd"), family(name, "", fields)];
    let visits = "family = \"web\"\ncontributor = { from = \"visit\", called = \"visitors\" }\npurposes = [\"p\"]\n[fields]\n\
                  url = { type = \"url\", is = \"usage\", transform = \"drop\", about = \"a\" }\n";
    let other = "family = \"other\"\ncontributor = { field = \"serial\", called = \"others\" }\npurposes = [\"p\"]\n[fields]\n\
                 serial = { type = \"string(8)\", is = \"identifier\", transform = \"pseudonym\", about = \"a\" }\n\
                 unit = { type = \"boolean\", is = \"usage\", about = \"a\" }\n";
    let shorter = "family = \"shorter\"\ncontributor = { field = \"unit\", called = \"units\" }\npurposes = [\"p\"]\n[fields]\n\
                   unit = { type = \"string(4)\", is = \"identifier\", transform = \"pseudonym\", about = \"a\" }\n";
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let many: String = (0..300).fold(String::new(), |mut list, word| {
        write!(list, "\"word {word}\", ").expect("writing to a string never fails");
        list
    });
    vec![
        ("no device", vec![policy("Example Ltd"), file("web.toml", visits)]),
        ("two contributors", [only("one", ""), vec![file("other.toml", other)]].concat()),
        ("two lengths", [only("one", ""), vec![file("shorter.toml", shorter)]].concat()),
        ("keyword", only("struct", &field("register", "type = \"boolean\""))),
        ("keyword of C++", only("template", &field("operator", "type = [\"new\"]"))),
        ("many words", only("many", &field("word", &format!("type = [{many}]")))),
        (
            "all required",
            only(
                "all",
                &(field("a", "type = \"string(3)\", pattern = \"[a-c]\", required = true")
                    + &field("b", "type = \"boolean\", required = true")),
            ),
        ),
        (
            "of the default package",
            schemas::DEFAULT_FILES.map(|(name, text)| file(name, text)).to_vec(),
        ),
        ("of everything", odd()),
    ]
}

/// Each with every warning that the client itself is held to, and then by itself: it includes what it needs.
#[test]
fn headers_of_odd_packages_compile() {
    let folder = tempfile::tempdir().unwrap();
    for (what, files) in table() {
        let header = folder.path().join("events.h");
        std::fs::write(&header, export::c_header(&load(files))).unwrap();
        let source = folder.path().join("main.c");
        std::fs::write(
            &source,
            "#include \"events.h\"\n#include \"events.h\"\nint main(void) { return 0; }\n",
        )
        .unwrap();
        let output = Command::new("cc")
            .args(WARNINGS)
            .arg("-I")
            .arg(repository().join("clients/firmware"))
            .arg(&source)
            .output()
            .expect("this test needs a C compiler by the name of `cc`: install gcc or clang");
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// One event with the longest value of each kind, written by the client itself.
#[test]
fn the_longest_event_fits_to_the_byte() {
    let fields = [
        field("free", "type = \"string(10)\", transform = \"drop\""),
        field("form", "type = \"string(8)\", pattern = \"[a-z]{1,8}\""),
        field("release", "type = \"version\""),
        field("page", "type = \"url\", transform = \"path\""),
        field("below", "type = \"integer\", range = [-100, 99]"),
        field("share", "type = \"float\", range = [-0.5, 9.9999999]"),
        field("huge", "type = \"float\", range = [0.0, 1e300]"),
        field("at", "type = \"timestamp\", transform = { truncate = \"1 day\" }"),
        field("on", "type = \"boolean\""),
        field("word", "type = [\"short\", \"q\\\"\\\"q\"]"),
    ];
    let package = load(vec![policy("Example Ltd"), family("probe", "", &fields.concat())]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.h"), export::c_header(&package)).unwrap();
    let source = folder.path().join("main.c");
    std::fs::write(&source, include_str!("export/longest.c")).unwrap();
    let program = folder.path().join("longest");
    let client = repository().join("clients/firmware");
    let output = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(&client)
        .args([&source, &client.join("quorate.c")])
        .arg("-o")
        .arg(&program)
        .output()
        .expect("this test needs a C compiler by the name of `cc`: install gcc or clang");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_is_odd_has_a_name_and_keeps_its_word() {
    let package = load(odd());
    let header = export::c_header(&package);
    for line in [
        "    bool int_;",
        "    bool int__;",
        "    bool class_;",
        "    bool has_count;",
        "    bool has_count_;",
        "    uint32_t count_ms_;",
        "    uint32_t above_s;",
        "    int32_t below;",
        "    int64_t wide;",
        "    ODD_WORD_A_B_,",
        "    ODD_WORD_A_B__,",
        "    ODD_WORD_4,",
        "struct device_common_ {",
        "struct policy_quorate {",
        "struct odd_write_ {",
        "struct int_ {",
    ] {
        assert!(header.contains(line), "{line}");
    }
    assert!(header.contains("\"\\303\\251\", \"\\?\\?=\""), "a word is sent as it was declared");
    assert!(header.contains("quorate_write_text(writer, \"type\", \"quorate\", 7)"));
    let types = export::typescript(&package);
    for line in [
        "export type Purpose = never;",
        "  odd: Odd;",
        "  a__b: AB_a__b;",
        "  a_b: AB_a_b;",
        "  purpose: Purpose_purpose;",
    ] {
        assert!(types.contains(line), "{line}");
    }
}

/// A comment ends where it was written to, and nothing of a package stands outside of comments and literals.
#[test]
fn no_text_of_a_package_becomes_source() {
    let (header, types) = (export::c_header(&load(odd())), export::typescript(&load(odd())));
    for text in [header, types] {
        // A word of a list, in quotes.
        let text = text.replace("\"*/\"", "");
        assert_eq!(text.matches("/*").count(), text.matches("*/").count());
        assert!(!text.contains('\u{202e}'));
        let mut rest = text.as_str();
        let mut source = String::new();
        while let Some((before, comment)) = rest.split_once("/*") {
            source += before;
            rest = comment.split_once("*/").expect("a comment ends").1;
        }
        source += rest;
        let source: Vec<&str> = source.lines().filter(|line| !line.starts_with("//")).collect();
        assert!(!source.iter().any(|line| line.contains("#error") || line.contains("very long")));
    }
}

#[test]
fn a_package_gives_the_same_text_each_time() {
    let (one, other) = (load(odd()), load(odd()));
    assert_eq!(export::c_header(&one), export::c_header(&other));
    assert_eq!(export::typescript(&one), export::typescript(&other));
}
