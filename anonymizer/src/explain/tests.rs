use super::*;
use crate::Value;
use crate::fixture::{ALL, Bench, DEVICES, NOW, WEB, devices, event, package, web};
use schemas::PurposeSet;

fn fate(fates: &[Fate], field: &str) -> (Option<String>, String) {
    let fate = fates.iter().find(|fate| fate.field == field).expect("every field has one");
    (fate.kept.clone(), fate.why.clone())
}

#[test]
fn every_field_has_a_fate_and_a_reason() {
    let bench = Bench::new(package());
    let mut values = vec![Value::Null; devices::FIELDS];
    values[devices::SERIAL] = Value::Text("X1-2031-000417");
    values[devices::VERSION] = Value::Text("3.8.1");
    values[devices::ACCOUNT] = Value::Text("jens");
    let told = bench.gate.explain(DEVICES, &event(&values), &bench.nobody()).unwrap();
    assert_eq!(told.len(), devices::FIELDS);
    assert_eq!(fate(&told, "serial").0.as_deref(), Some("(pseudonym)"));
    assert_eq!(fate(&told, "serial").1, "pseudonym under the key of the epoch; for improve");
    assert_eq!(
        fate(&told, "version"),
        (Some("3.8".into()), "major and minor version; for improve".into())
    );
    assert_eq!(fate(&told, "error").0, None);
    assert_eq!(fate(&told, "old").1, "its declaration has expired");
    let refused = RawEvent { granted: PurposeSet(2), ..event(&values) };
    let told = bench.gate.explain(DEVICES, &refused, &bench.nobody()).unwrap();
    assert_eq!(fate(&told, "account"), (None, "no purpose of it stands: agreed".into()));
    assert!(!format!("{told:?}").contains("jens"));
}

#[test]
fn visits_and_dropped_fields_are_told_too() {
    let bench = Bench::new(package());
    let mut values = vec![Value::Null; web::FIELDS];
    values[web::URL] = Value::Text("https://example.com/users/417?q=jens");
    let told = bench.gate.explain(WEB, &event(&values), &bench.nobody()).unwrap();
    assert_eq!(told.len(), 1 + web::FIELDS);
    assert_eq!(fate(&told, "page").0.as_deref(), Some("/users/:number"));
    assert_eq!(fate(&told, "url"), (None, "used, never stored".into()));
    assert_eq!(fate(&told, "units").0, None, "the address is not known");
    assert!(!format!("{told:?}").contains("jens"));
}

#[test]
fn explaining_makes_no_key() {
    let bench = Bench::new(package());
    let values = vec![Value::Text("X1"); devices::FIELDS];
    let sent = RawEvent { granted: ALL, received: NOW, ..event(&values) };
    let nobody = bench.nobody();
    let before = bench.ring.list().unwrap().len();
    bench.gate.explain(DEVICES, &sent, &nobody).unwrap();
    assert_eq!(bench.ring.list().unwrap().len(), before);
}
