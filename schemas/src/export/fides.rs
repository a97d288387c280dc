//! The package as resources of Fides: a dataset, a system, a policy.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::lines::generated;
use super::vocabulary::{ADDRESS, fides_use, of_basis, of_field, of_word, reads_address};
use crate::eea;
use crate::load::words::span_text;
use crate::model::{
    Category, ContributorSource, Family, Package, Purpose, PurposeSet, Receives, Recipient, Role,
    Transform,
};
use crate::time::DAY_MS;
use crate::words;

/// The resources as one YAML document.
#[must_use]
pub fn fides(package: &Package) -> String {
    let mut yaml = Yaml { text: format!("# {}\n", generated("fides", package)), depth: 0 };
    yaml.block("dataset", |yaml| dataset(package, yaml));
    yaml.block("system", |yaml| system(package, yaml));
    yaml.block("policy", |yaml| policy(package, yaml));
    yaml.text
}

const DATASET: &str = "quorate_events";

/// Lines, each as deep as what it belongs to.
struct Yaml {
    text: String,
    depth: usize,
}

impl Yaml {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{:1$}{line}", "", self.depth * 2)
            .expect("writing to a string never fails");
    }

    fn value(&mut self, key: &str, value: &str) {
        self.line(format_args!("{key}: {}", quoted(value)));
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.line(format_args!("{key}: {value}"));
    }

    fn block(&mut self, key: &str, inner: impl FnOnce(&mut Self)) {
        self.line(format_args!("{key}:"));
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    /// An entry of a list: its first line behind a dash.
    fn entry(&mut self, first: (&str, &str), inner: impl FnOnce(&mut Self)) {
        let (key, value) = first;
        self.line(format_args!("- {key}: {}", quoted(value)));
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    fn list<'v>(&mut self, key: &str, values: impl IntoIterator<Item = &'v str>) {
        let values: Vec<String> = values.into_iter().map(quoted).collect();
        self.line(format_args!("{key}: [{}]", values.join(", ")));
    }
}

/// JSON's texts are YAML's too.
fn quoted(text: &str) -> String {
    let visible: String = text.chars().map(words::visible).collect();
    serde_json::Value::from(visible).to_string()
}

fn dataset(package: &Package, yaml: &mut Yaml) {
    yaml.entry(("fides_key", DATASET), |yaml| {
        yaml.value("name", "Event rows");
        yaml.value("description", "pseudonymised events; no reader has a path to a row");
        yaml.block("collections", |yaml| {
            for family in &package.families {
                yaml.entry(("name", &family.name), |yaml| collection(family, yaml));
            }
        });
    });
}

fn collection(family: &Family, yaml: &mut Yaml) {
    let about = family.about.as_deref().unwrap_or("events of this kind");
    let gone = span_text(words::gone_after_ms(family));
    yaml.value("description", &format!("{about}; rows are deleted after {gone} at the latest"));
    let stored: Vec<_> =
        family.fields.iter().filter(|field| !matches!(field.transform, Transform::Drop)).collect();
    if stored.is_empty() {
        yaml.line(format_args!("fields: []"));
        return;
    }
    yaml.block("fields", |yaml| {
        for field in stored {
            yaml.entry(("name", &field.name), |yaml| {
                yaml.value("description", &field.about);
                yaml.list("data_categories", [of_field(family, field).fides]);
            });
        }
    });
}

fn system(package: &Package, yaml: &mut Yaml) {
    yaml.entry(("fides_key", "quorate"), |yaml| {
        yaml.value("name", "Usage statistics");
        yaml.value("description", &format!("policy version {}", package.version));
        yaml.value("system_type", "Service");
        yaml.value("legal_name", &package.controller);
        yaml.list("responsibility", ["Controller"]);
        yaml.flag("processes_personal_data", true);
        yaml.flag("uses_profiling", false);
        let abroad: Vec<&Recipient> =
            package.recipients.iter().filter(|one| is_transfer(one)).collect();
        yaml.flag("does_international_transfers", !abroad.is_empty());
        yaml.list(
            "legal_basis_for_transfers",
            abroad.iter().filter_map(|one| one.safeguard.as_deref()),
        );
        yaml.value(
            "data_security_practices",
            "frames sealed with AES-256-GCM; identifiers become pseudonyms under keys that are destroyed with their rows",
        );
        yaml.list("dataset_references", [DATASET]);
        egress(package, yaml);
        let declarations: Vec<_> = package
            .families
            .iter()
            .flat_map(|family| {
                let purposes = package.purposes.iter().enumerate();
                purposes.map(move |(index, purpose)| (family, index, purpose))
            })
            .filter_map(|(family, index, purpose)| {
                let categories = categories(family, index);
                (!categories.is_empty()).then_some((family, index, purpose, categories))
            })
            .collect();
        yaml.block("privacy_declarations", |yaml| {
            for (family, index, purpose, categories) in declarations {
                let name = format!("{} for {}", family.name, purpose.name);
                yaml.entry(("name", &name), |yaml| {
                    declaration(package, (family, index, purpose), &categories, yaml);
                });
            }
        });
    });
}

/// Whether personal data leaves the EEA.
fn is_transfer(recipient: &Recipient) -> bool {
    let outside = recipient.country.as_deref().is_some_and(|country| !eea::contains(country));
    // What may be published is about nobody.
    outside && recipient.receives > Receives::Publishable
}

/// Who is given anything; those of Fides that are no systems are named by their key alone.
fn egress(package: &Package, yaml: &mut Yaml) {
    let given: Vec<&Recipient> =
        package.recipients.iter().filter(|one| one.receives != Receives::Nothing).collect();
    if given.is_empty() {
        return;
    }
    yaml.block("egress", |yaml| {
        for recipient in given {
            yaml.entry(("fides_key", &recipient.key), |yaml| yaml.value("type", "system"));
        }
    });
}

/// Categories of what a family takes for a purpose, each once.
fn categories(family: &Family, index: usize) -> BTreeSet<&'static str> {
    let fields = family.fields.iter().filter(|field| field.purposes.has(index));
    let stored = fields.filter(|field| !matches!(field.transform, Transform::Drop));
    let mut found: BTreeSet<&str> = stored.map(|field| of_field(family, field).fides).collect();
    if reads_address(family, index) {
        found.insert(ADDRESS.fides);
    }
    found
}

fn declaration(
    package: &Package,
    (family, index, purpose): (&Family, usize, &Purpose),
    categories: &BTreeSet<&'static str>,
    yaml: &mut Yaml,
) {
    yaml.list("data_categories", categories.iter().copied());
    yaml.value("data_use", fides_use(purpose.dpv.as_deref(), purpose.basis));
    yaml.list("data_subjects", [subject(family)]);
    yaml.value("legal_basis_for_processing", of_basis(purpose.basis)[2]);
    let own =
        package.kept_days(PurposeSet::default().with(index)).map(|days| i64::from(days) * DAY_MS);
    let rows = words::gone_after_ms(family);
    yaml.value("retention_period", &span_text(own.map_or(rows, |own| own.min(rows))));
    let others: Vec<&str> = package
        .recipients
        .iter()
        .filter(|one| one.role != Role::Processor && one.receives != Receives::Nothing)
        .map(|one| one.name.as_str())
        .collect();
    // What others are given are statistics, which are no personal data of this declaration.
    yaml.flag("data_shared_with_third_parties", false);
    if !others.is_empty() {
        yaml.value("third_parties", &format!("statistics alone: {}", words::and(&others)));
    }
    yaml.list("dataset_references", [DATASET]);
}

fn subject(family: &Family) -> &'static str {
    match family.contributor.source {
        ContributorSource::Visit => "visitor",
        ContributorSource::Field(_) => "customer",
    }
}

/// What no declaration may say: a refused category, or a use that is not declared.
fn policy(package: &Package, yaml: &mut Yaml) {
    let uses: BTreeSet<&str> = package
        .purposes
        .iter()
        .map(|purpose| fides_use(purpose.dpv.as_deref(), purpose.basis))
        .collect();
    let subjects: BTreeSet<&str> = package.families.iter().map(subject).collect();
    let kept: BTreeSet<&str> = package
        .families
        .iter()
        .flat_map(|family| (0..package.purposes.len()).flat_map(|index| categories(family, index)))
        .collect();
    let words =
        package.refused.categories.iter().map(|category: &Category| of_word(*category).fides);
    // A category of Fides that is wider than the word must not forbid what is declared.
    let refused: BTreeSet<&str> = words.filter(|word| !kept.contains(word)).collect();
    yaml.entry(("fides_key", "quorate_policy"), |yaml| {
        yaml.value("name", &format!("Policy of {}", package.controller));
        yaml.value("description", &format!("version {}", package.version));
        yaml.block("rules", |yaml| {
            if !refused.is_empty() {
                yaml.entry(("name", "refused categories"), |yaml| {
                    rule(yaml, "data_categories", "ANY", refused.iter().copied());
                    rule(yaml, "data_uses", "ANY", uses.iter().copied());
                    rule(yaml, "data_subjects", "ANY", subjects.iter().copied());
                });
            }
            yaml.entry(("name", "undeclared uses"), |yaml| {
                rule(yaml, "data_categories", "ANY", ["user"]);
                rule(yaml, "data_uses", "NONE", uses.iter().copied());
                rule(yaml, "data_subjects", "ANY", subjects.iter().copied());
            });
        });
    });
}

fn rule<'v>(yaml: &mut Yaml, key: &str, matches: &str, values: impl IntoIterator<Item = &'v str>) {
    yaml.block(key, |yaml| {
        yaml.value("matches", matches);
        yaml.list("values", values);
    });
}
