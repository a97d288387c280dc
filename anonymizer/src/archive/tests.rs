use arrow::array::cast::AsArray;
use arrow::datatypes::Int64Type;
use schemas::model::{Kind, Transform};
use schemas::{PurposeSet, Tally};

use super::*;
use crate::fixture::{ALL, Bench, DEVICES, NOW, devices, event, field, origin, package, words};
use crate::{AnonymizedBatch, Gate, RawBuilder, RawEvent, Value};

/// One device event under `bench`'s policy, opened and anonymized under that of `gate`.
fn across(bench: &Bench, gate: &Gate, granted: PurposeSet) -> Result<AnonymizedBatch, Error> {
    let mut values = vec![Value::Null; devices::FIELDS];
    values[devices::SERIAL] = Value::Text("X1-2031-000417");
    values[devices::PRODUCT] = Value::Index(0);
    values[devices::VERSION] = Value::Text("3.8.1");
    values[devices::DURATION] = Value::Integer(14_230);
    values[devices::SCANS] = Value::Integer(12);
    let mut builder = RawBuilder::new(&bench.package, DEVICES);
    let event = RawEvent { granted, id: Some("a"), ..event(&values) };
    builder.append(&event, &bench.nobody());
    let mut other = values.clone();
    other[devices::PRODUCT] = Value::Index(1);
    builder.append(&RawEvent { values: &other, ..event }, &bench.nobody());
    let frame = bench.gate.seal(builder.finish(), Tally::default()).unwrap();
    gate.anonymize(gate.open(frame)?, &origin(), NOW)
}

fn next() -> Package {
    let mut next = package();
    next.digest = Digest([8; 32]);
    next
}

fn texts(batch: &AnonymizedBatch, name: &str) -> Vec<Option<String>> {
    let column = batch.rows().column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn frames_in_flight_survive_a_change_of_policy() {
    let bench = Bench::new(package());
    let mut next = next();
    let fields = &mut next.families[DEVICES].fields;
    // A new field before the others, one that is gone, words in another order, one of them gone.
    fields.insert(1, field("fresh", Source::Body, Kind::Boolean, Transform::Keep));
    fields.remove(1 + devices::ERROR);
    fields[1 + devices::PRODUCT].kind = words(&["new", "kathea", "other"], Some(2));
    let today = bench.gate_of(next);
    let batch = across(&bench, &today, ALL).unwrap();
    assert_eq!(texts(&batch, "product"), [Some("other".into()), Some("kathea".into())]);
    assert_eq!(texts(&batch, "version"), [Some("3.8".into()), Some("3.8".into())]);
    assert_eq!(batch.rows().column_by_name("fresh").unwrap().null_count(), 2);
    assert!(batch.rows().column_by_name("error").is_none());
    let same = across(&bench, &bench.gate, ALL).unwrap();
    let contributor =
        |batch: &AnonymizedBatch| Arc::clone(batch.rows().column_by_name("contributor").unwrap());
    assert_eq!(&contributor(&batch), &contributor(&same), "nobody is counted twice");
    assert_eq!(batch.keys(), same.keys());
}

#[test]
fn a_field_declared_otherwise_is_not_carried_over() {
    let bench = Bench::new(package());
    let mut next = next();
    let fields = &mut next.families[DEVICES].fields;
    fields[devices::SCANS].kind = Kind::Integer { min: 0, max: 10 };
    fields[devices::DURATION].kind = Kind::Duration { unit_ms: 1_000, min: 0, max: 3_600 };
    fields[devices::PRODUCT].kind = words(&["new"], None);
    let batch = across(&bench, &bench.gate_of(next), ALL).unwrap();
    for name in ["scans", "duration"] {
        assert_eq!(
            batch.rows().column_by_name(name).unwrap().as_primitive::<Int64Type>().null_count(),
            2
        );
    }
    assert_eq!(texts(&batch, "product"), [None, None]);
}

#[test]
fn purposes_are_carried_over_by_name_and_basis() {
    let bench = Bench::new(package());
    let mut moved = next();
    moved.purposes.rotate_left(1);
    for family in &mut moved.families {
        family.purposes = PurposeSet(1);
        for field in &mut family.fields {
            field.purposes = PurposeSet(1);
        }
    }
    let batch = across(&bench, &bench.gate_of(moved), PurposeSet(2)).unwrap();
    assert_eq!(texts(&batch, "version")[0].as_deref(), Some("3.8"), "`improve` is number 0 now");

    let mut stricter = next();
    stricter.digest = Digest([9; 32]);
    stricter.purposes[1].basis = schemas::model::Basis::Consent;
    let batch = across(&bench, &bench.gate_of(stricter), PurposeSet(2)).unwrap();
    assert_eq!(texts(&batch, "version"), [None, None], "nobody has consented to it");
}

#[test]
fn policies_and_families_that_nobody_knows_are_refused() {
    let bench = Bench::new(package());
    let mut renamed = next();
    renamed.families[DEVICES].name = "other".into();
    let result = across(&bench, &bench.gate_of(renamed), ALL);
    assert!(matches!(result, Err(Error::UnknownFamily(name)) if name == "devices"));
    let today = bench.gate_of(next());
    std::fs::remove_file(today_file(&bench)).unwrap();
    assert!(matches!(across(&bench, &today, ALL), Err(Error::UnknownPolicy(_))));
}

fn today_file(bench: &Bench) -> std::path::PathBuf {
    bench.folder.path().join("archive").join(format!("{}.json", bench.package.digest))
}

#[test]
fn the_archive_holds_names_and_types_alone() {
    let bench = Bench::new(package());
    let text = std::fs::read_to_string(today_file(&bench)).unwrap();
    let archived: Policy = serde_json::from_str(&text).unwrap();
    let layout = Layout::of(&bench.package.families[DEVICES]);
    assert_eq!(archived.family("devices").unwrap().schema(), layout.schema);
}
