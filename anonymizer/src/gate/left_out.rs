//! What is left out of events, and what is counted of it: by purpose, and where location is off.

use arrow::util::pretty::pretty_format_batches;
use schemas::model::Category;
use schemas::{Note, PurposeSet, Tally};

use super::tests::{counted, device_values, shown, visitor, web_values};
use crate::fixture::{
    ALL, Bench, CONSENT, DEVICES, INTEREST, NOW, WEB, event, origin, package, web,
};
use crate::{RawBuilder, RawEvent};

fn by_purpose(tally: &Tally) -> Vec<(&str, u64)> {
    let words = tally.named.get(&Note::Nulled).into_iter().flatten();
    words.map(|(purpose, count)| (purpose.as_str(), *count)).collect()
}

#[test]
fn fields_are_counted_under_each_of_the_purposes_that_fell() {
    let mut changed = package();
    // For both: taken only where both fell, and then counted under both.
    changed.families[DEVICES].fields[crate::fixture::devices::ERROR].purposes = PurposeSet(3);
    let bench = Bench::new(changed);
    let values = device_values();
    let of = |granted| {
        let sent = RawEvent { granted, ..event(&values) };
        counted(&bench, DEVICES, &sent, &bench.nobody()).1
    };
    assert!(by_purpose(&of(ALL)).is_empty());
    assert_eq!(by_purpose(&of(INTEREST)), [("agreed", 1)]);
    assert_eq!(by_purpose(&of(CONSENT)), [("improve", 7)]);
    assert_eq!(by_purpose(&of(PurposeSet(4))), [("agreed", 2), ("improve", 8)]);
    assert_eq!(of(PurposeSet(4)).notes[&Note::Nulled], 9);
}

/// An event that no frame held is counted alike: an import goes through the gate directly.
#[test]
fn what_was_never_sealed_is_counted_too() {
    let bench = Bench::new(package());
    let values = device_values();
    let mut builder = RawBuilder::new(&bench.package, DEVICES);
    builder.append(&RawEvent { granted: INTEREST, ..event(&values) }, &bench.nobody());
    let raw = builder.finish();
    assert_eq!(by_purpose(&raw.left_out(&bench.package)), [("agreed", 1)]);
    let batch = bench.gate.anonymize(raw, &origin(), NOW).unwrap();
    assert_eq!(by_purpose(batch.tally()), [("agreed", 1)]);
}

#[test]
fn where_location_is_off_nothing_tells_it_address_included() {
    let mut changed = package();
    for field in [web::COUNTRY, web::HOSTNAME, web::TAG] {
        changed.families[WEB].fields[field].category = Category::Location;
    }
    let bench = Bench::new(changed);
    let values = web_values("https://copenhagen.example/a", "");
    let sent = RawEvent { location_off: true, ..event(&values) };
    let mut builder = RawBuilder::new(&bench.package, WEB);
    builder.append(&sent, &visitor(&bench));
    let plain = pretty_format_batches(&[builder.finish().columns]).unwrap().to_string();
    assert!(!plain.contains("DK"), "not even sealed");
    let (batch, tally) = counted(&bench, WEB, &sent, &visitor(&bench));
    // Of the address, of the event, and made of another field at the gate.
    for column in ["country", "tag", "hostname"] {
        assert_eq!(shown(&batch, column), None, "{column}");
    }
    assert_eq!(shown(&batch, "page").as_deref(), Some("/a"), "of the same URL");
    assert!(shown(&batch, "browser").is_some() && shown(&batch, "contributor").is_some());
    assert_eq!(tally.notes[&Note::LocationOff], 3);
    assert!(!tally.notes.contains_key(&Note::Nulled));
    let (batch, tally) = counted(&bench, WEB, &event(&values), &visitor(&bench));
    for column in ["country", "tag", "hostname"] {
        assert!(shown(&batch, column).is_some(), "{column} of another event");
    }
    assert!(!tally.notes.contains_key(&Note::LocationOff));
    let told = bench.gate.explain(WEB, &sent, &visitor(&bench)).unwrap();
    let country = told.iter().find(|fate| fate.field == "country").unwrap();
    assert_eq!(
        (country.kept.as_deref(), country.why.as_str()),
        (None, "the event says that location is off")
    );
}

/// The mark stands beside others in the code of the clock.
#[test]
fn the_clock_is_what_it_was_and_so_is_the_session() {
    let bench = Bench::new(package());
    let values = device_values();
    for location_off in [false, true] {
        let sent = RawEvent { location_off, ..event(&values) };
        let (batch, _) = counted(&bench, DEVICES, &sent, &bench.nobody());
        assert_eq!(shown(&batch, "_clock").as_deref(), Some("device"));
    }
}
