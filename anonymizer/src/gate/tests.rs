use arrow::array::cast::AsArray;
use arrow::util::pretty::pretty_format_batches;
use proptest::prelude::*;
use schemas::time::{DAY_MS, HOUR_MS, epoch_of};
use schemas::{PurposeSet, Reason};

use super::*;
use crate::anonymized::EventKey;
use crate::fixture::{
    ALL, Bench, CONSENT, DEVICES, INTEREST, NOW, WEB, address, devices, event, origin, package, web,
};
use crate::keys::{KeyName, epoch_end, window_days};
use crate::{Connection, RawBuilder, RawEvent, Resolved, Value};

/// One event through builder, frame and gate.
pub(super) fn through(
    bench: &Bench,
    family: usize,
    event: &RawEvent<'_>,
    resolved: &Resolved,
) -> AnonymizedBatch {
    counted(bench, family, event, resolved).0
}

/// As above, with all that was counted of it: in the frame's header, and of its rows.
pub(super) fn counted(
    bench: &Bench,
    family: usize,
    event: &RawEvent<'_>,
    resolved: &Resolved,
) -> (AnonymizedBatch, Tally) {
    let mut builder = RawBuilder::new(&bench.package, family);
    builder.append(event, resolved);
    let frame = bench.gate.seal(builder.finish(), Tally::default()).unwrap();
    let frame = Sealed::parse(frame.into_bytes()).unwrap();
    let mut tally = frame.header().tally.clone();
    let raw = bench.gate.open(frame).unwrap();
    let batch = bench.gate.anonymize(raw, &origin(), NOW).unwrap();
    tally.add(batch.tally());
    (batch, tally)
}

pub(super) fn shown(batch: &AnonymizedBatch, column: &str) -> Option<String> {
    let column = batch.rows().column_by_name(column).expect("a stored column");
    let options = arrow::util::display::FormatOptions::default();
    let format = arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap();
    column.is_valid(0).then(|| format.value(0).to_string())
}

pub(super) fn device_values() -> Vec<Value<'static>> {
    let mut values = vec![Value::Null; devices::FIELDS];
    values[devices::SERIAL] = Value::Text("X1-2031-000417");
    values[devices::PRODUCT] = Value::Index(1);
    values[devices::VERSION] = Value::Text("3.8.1-rc1");
    values[devices::DURATION] = Value::Integer(14_230);
    values[devices::ERROR] = Value::Text("E042");
    values[devices::ACCOUNT] = Value::Text("account 7");
    values[devices::RATIO] = Value::Float(0.6);
    values[devices::OK] = Value::Boolean(false);
    values[devices::BUILT] = Value::Integer(NOW.0);
    values[devices::SCANS] = Value::Integer(12);
    values[devices::OLD] = Value::Boolean(true);
    values
}

pub(super) fn web_values<'a>(url: &'a str, referrer: &'a str) -> Vec<Value<'a>> {
    let mut values = vec![Value::Null; web::FIELDS];
    values[web::URL] = Value::Text(url);
    values[web::REFERRER] = Value::Text(referrer);
    values[web::TAG] = Value::Index(1);
    values
}

pub(super) fn visitor(bench: &Bench) -> Resolved {
    let connection = Connection {
        address: address("130.225.0.1"),
        user_agent: "Mozilla/5.0 (Windows NT 10.0) Firefox/145.0".into(),
        accept_language: "da-DK,da;q=0.9".into(),
    };
    bench.resolver().resolve(connection, "example.com", NOW).unwrap()
}

#[test]
fn a_device_event_becomes_a_row() {
    let bench = Bench::new(package());
    let values = device_values();
    let event =
        RawEvent { time: NOW.plus(1_234_567), boot: Some(57), seq: Some(8_812), ..event(&values) };
    let batch = through(&bench, DEVICES, &event, &bench.nobody());
    assert_eq!(batch.rows().schema(), bench.package.families[DEVICES].stored_schema());
    let row: Vec<_> = batch
        .rows()
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let name = field.name().as_str();
            let value = shown(&batch, name);
            let hash = matches!(name, "contributor" | "account" | "_key");
            (name.to_owned(), if hash { value.map(|value| value.len().to_string()) } else { value })
        })
        .collect();
    let expected = [
        ("day", Some("2026-11-23")),
        ("time", Some("2026-11-23T12:00:00Z")),
        ("contributor", Some("32")),
        ("epoch", Some("742")),
        ("product", Some("kathea")),
        ("version", Some("3.8")),
        ("duration", Some("14200")),
        ("error", Some("E042")),
        ("account", Some("32")),
        ("ratio", Some("0.5")),
        ("ok", Some("false")),
        ("built", Some("2026-11-23T00:00:00Z")),
        ("scans", Some("12")),
        ("old", None),
        ("_key", Some("32")),
        ("_clock", Some("device")),
        ("_partition", Some("3")),
        ("_position", Some("9")),
        ("_row", Some("0")),
        ("_purposes", Some("agreed,improve")),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
        .collect();
    assert_eq!(row, expected);
    assert!(batch.tally().is_empty());
    assert_eq!(batch.expired(), 0);
}

#[test]
fn a_page_view_becomes_a_row() {
    let bench = Bench::new(package());
    let url = "https://jens:secret@www.example.com/blog/my-post?utm_campaign=spring2026&q=jens#top";
    let values = web_values(url, "https://l.facebook.com/l.php?u=7");
    let batch = through(&bench, WEB, &event(&values), &visitor(&bench));
    for (column, value) in [
        ("page", "/blog/:article"),
        ("hostname", "example.com"),
        ("referrer", "l.facebook.com"),
        ("campaign", "spring2026"),
        ("country", "DK"),
        ("browser", "Firefox 145"),
        ("os", "Windows"),
        ("class", "desktop"),
        ("language", "da"),
        ("tag", "b"),
    ] {
        assert_eq!(shown(&batch, column).as_deref(), Some(value), "{column}");
    }
    assert!(batch.rows().column_by_name("url").is_none(), "a dropped field has no column");
    assert!(shown(&batch, "contributor").is_some());
    assert_eq!(batch.keys(), [None], "without an id there is no second copy to be known");
}

/// What ingest should have refused is not stored either: the gate checks for itself.
#[test]
fn values_out_of_their_form_become_nulls() {
    let bench = Bench::new(package());
    let mut values = device_values();
    values[devices::PRODUCT] = Value::Index(3);
    values[devices::VERSION] = Value::Text("jens");
    values[devices::DURATION] = Value::Integer(3_600_001);
    values[devices::ERROR] = Value::Text("E042 jens");
    values[devices::RATIO] = Value::Float(f64::NAN);
    values[devices::OK] = Value::Text("jens");
    values[devices::BUILT] = Value::Integer(i64::MAX);
    values[devices::SCANS] = Value::Integer(-1);
    let batch = through(&bench, DEVICES, &event(&values), &bench.nobody());
    for column in ["product", "version", "duration", "error", "ratio", "ok", "built", "scans"] {
        assert_eq!(shown(&batch, column), None, "{column}");
    }
}

#[test]
fn what_no_purpose_allows_is_null_and_the_event_still_counts() {
    let bench = Bench::new(package());
    let values = device_values();
    let sent =
        RawEvent { granted: PurposeSet::default(), boot: Some(1), seq: Some(2), ..event(&values) };
    let (batch, tally) = counted(&bench, DEVICES, &sent, &bench.nobody());
    assert_eq!(batch.rows().num_rows(), 1);
    for (_, field, _) in bench.package.families[DEVICES].stored_fields() {
        assert_eq!(shown(&batch, &field.name), None, "{}", field.name);
    }
    assert_eq!(shown(&batch, "contributor"), None);
    assert!(batch.keys()[0].is_some(), "a second copy is known all the same");
    // Every stored field but the expired one, and not the contributor.
    assert_eq!(tally.notes.get(&Note::Nulled), Some(&9));
    assert_eq!(batch.tally().notes.get(&Note::WithoutContributor), Some(&1));

    let half = RawEvent { granted: INTEREST, ..event(&values) };
    let (batch, tally) = counted(&bench, DEVICES, &half, &bench.nobody());
    assert_eq!(shown(&batch, "account"), None);
    assert!(shown(&batch, "contributor").is_some());
    assert_eq!(tally.notes.get(&Note::Nulled), Some(&1));
}

/// What was granted beside is of no use for these rows, and would tell people apart.
#[test]
fn rows_name_the_purposes_that_stand_for_them() {
    let bench = Bench::new(package());
    let values = device_values();
    let named = |granted| {
        let sent = RawEvent { granted, ..event(&values) };
        shown(&through(&bench, DEVICES, &sent, &bench.nobody()), "_purposes")
    };
    assert_eq!(named(PurposeSet(0b111)).as_deref(), Some("agreed,improve"), "not `service`");
    assert_eq!(named(INTEREST).as_deref(), Some("improve"));
    assert_eq!(named(PurposeSet::default()).as_deref(), Some(""), "none stands, which is known");
}

#[test]
fn a_visit_without_its_purposes_is_none() {
    let bench = Bench::new(package());
    let values = web_values("https://example.com/a", "");
    let granted = PurposeSet(4);
    let batch = through(&bench, WEB, &RawEvent { granted, ..event(&values) }, &visitor(&bench));
    assert_eq!(shown(&batch, "contributor"), None);
    assert_eq!(shown(&batch, "country"), None);
    assert_eq!(batch.tally().notes.get(&Note::WithoutContributor), Some(&1));
}

/// Not even sealed: the frame's plain text does not hold it.
#[test]
fn what_is_not_granted_is_not_written() {
    let bench = Bench::new(package());
    let plain = |granted, id| {
        let values = device_values();
        let mut builder = RawBuilder::new(&bench.package, DEVICES);
        let event = RawEvent { granted, id, boot: Some(1), seq: Some(2), ..event(&values) };
        builder.append(&event, &bench.nobody());
        pretty_format_batches(&[builder.finish().columns]).unwrap().to_string()
    };
    let all = plain(ALL, Some("an-id"));
    assert!(all.contains("X1-2031-000417") && all.contains("E042") && all.contains("account 7"));
    let nothing = plain(PurposeSet::default(), Some("an-id"));
    assert!(
        !nothing.contains("X1-2031") && !nothing.contains("E042") && !nothing.contains("account 7")
    );
    let half = plain(INTEREST, Some("an-id"));
    assert!(half.contains("E042") && !half.contains("account 7"));
    let counted = plain(PurposeSet::default(), None);
    assert!(counted.contains("X1-2031-000417"), "the only key of a second copy");
    assert!(!counted.contains("E042"));

    let visits = |granted| {
        let values = web_values("https://example.com/a", "");
        let mut builder = RawBuilder::new(&bench.package, WEB);
        builder.append(&RawEvent { granted, ..event(&values) }, &visitor(&bench));
        let visits = Arc::clone(builder.finish().columns.column(layout::VISIT));
        visits.len() - visits.null_count()
    };
    assert_eq!((visits(INTEREST), visits(CONSENT)), (1, 0));
}

#[test]
fn derived_fields_have_purposes_of_their_own() {
    let mut changed = package();
    changed.families[WEB].fields[web::PAGE].purposes = CONSENT;
    let bench = Bench::new(changed);
    let values = web_values("https://example.com/about", "");
    let sent = RawEvent { granted: INTEREST, ..event(&values) };
    let (batch, tally) = counted(&bench, WEB, &sent, &visitor(&bench));
    assert_eq!(shown(&batch, "page"), None);
    assert_eq!(shown(&batch, "hostname").as_deref(), Some("example.com"));
    // The page, and the tag that the builder left out.
    assert_eq!(tally.notes.get(&Note::Nulled), Some(&2));
}

#[test]
fn times_are_cut_to_the_grain_and_clocks_are_told() {
    let bench = Bench::new(package());
    let values = device_values();
    for (clock, name, unknown) in [
        (ClockSource::Device, "device", None),
        (ClockSource::Uptime, "uptime", None),
        (ClockSource::Received, "received", Some(&1)),
    ] {
        let time = NOW.plus(-DAY_MS - 1);
        let sent = RawEvent { clock, time, ..event(&values) };
        let batch = through(&bench, DEVICES, &sent, &bench.nobody());
        assert_eq!(shown(&batch, "_clock").as_deref(), Some(name));
        assert_eq!(shown(&batch, "time").as_deref(), Some("2026-11-22T11:00:00Z"));
        assert_eq!(shown(&batch, "day").as_deref(), Some("2026-11-22"));
        assert_eq!(batch.tally().notes.get(&Note::ClockUnknown), unknown);
    }
}

fn key_of(bench: &Bench, sent: &RawEvent<'_>) -> Option<EventKey> {
    through(bench, DEVICES, sent, &bench.nobody()).keys()[0]
}

#[test]
fn a_second_copy_has_the_same_key() {
    let bench = Bench::new(package());
    let values = device_values();
    let by_id = RawEvent { id: Some("a"), ..event(&values) };
    let first = key_of(&bench, &by_id).unwrap();
    assert_eq!(first.bucket, u32::try_from(NOW.day()).unwrap());
    let retry = RawEvent { received: NOW.plus(DAY_MS), ..by_id };
    assert_eq!(key_of(&bench, &retry), Some(first), "whenever it comes");
    let other = RawEvent { id: Some("b"), ..by_id };
    assert_ne!(key_of(&bench, &other).unwrap().hash, first.hash);

    let counted = RawEvent { boot: Some(1), seq: Some(2), ..event(&values) };
    let key = key_of(&bench, &counted).unwrap();
    assert_ne!(key.hash, first.hash);
    assert_ne!(key_of(&bench, &RawEvent { seq: Some(3), ..counted }).unwrap().hash, key.hash);
    assert_eq!(key_of(&bench, &RawEvent { seq: None, ..counted }), None);
    assert_eq!(key_of(&bench, &event(&values)), None);
}

#[test]
fn a_copy_of_the_next_window_is_looked_for_under_both_keys() {
    let bench = Bench::new(package());
    let values = device_values();
    let days = window_days(&bench.package.families[DEVICES]);
    // The last moment of a generation, and two hours later.
    let end = Millis((i64::from(NOW.day()).div_euclid(days) + 1) * days * DAY_MS);
    let sent = |received: Millis| {
        let clock = ClockSource::Uptime;
        RawEvent { id: Some("a"), clock, time: received, received, ..event(&values) }
    };
    let first = key_of(&bench, &sent(end.plus(-HOUR_MS))).unwrap();
    let second = key_of(&bench, &sent(end.plus(HOUR_MS))).unwrap();
    assert_eq!((first.bucket, second.bucket), (0, 0));
    assert_ne!(first.hash, second.hash);
    assert_eq!(second.alternate, Some(first.hash));
    assert_eq!(first.alternate, None, "there is no key before the first");
    let by_device = RawEvent { clock: ClockSource::Device, ..sent(end.plus(HOUR_MS)) };
    assert_eq!(key_of(&bench, &by_device).unwrap().alternate, None);
}

#[test]
fn a_copy_that_comes_too_late_is_looked_for_where_its_first_one_is() {
    let bench = Bench::new(package());
    let values = device_values();
    let in_time = RawEvent { id: Some("a"), said: Some(NOW), ..event(&values) };
    let first = key_of(&bench, &in_time).unwrap();
    assert_eq!(first.in_time, None, "it is there itself");
    let received = NOW.plus(bench.package.families[DEVICES].dedupe_window_ms - HOUR_MS);
    let clock = ClockSource::Received;
    let late = RawEvent { clock, time: received, received, ..in_time };
    let key = key_of(&bench, &late).unwrap();
    assert_eq!((key.bucket, key.in_time), (0, Some((first.bucket, first.hash))));
    for said in [None, Some(Millis(0)), Some(received.plus(DAY_MS))] {
        assert_eq!(key_of(&bench, &RawEvent { said, ..late }).unwrap().in_time, None, "{said:?}");
    }
}

/// Pseudonyms of one serial number in one event each.
fn contributor(bench: &Bench, family: usize, serial: &str, received: Millis) -> String {
    let mut values = vec![Value::Null; bench.package.families[family].fields.len()];
    values[devices::SERIAL] = Value::Text(serial);
    let sent = RawEvent { time: received, received, ..event(&values) };
    let batch = through(bench, family, &sent, &bench.nobody());
    shown(&batch, "contributor").unwrap()
}

#[test]
fn pseudonyms_mean_nothing_elsewhere() {
    let mut doubled = package();
    let mut second = doubled.families[DEVICES].clone();
    second.name = "gadgets".into();
    doubled.families[WEB] = second;
    let bench = Bench::new(doubled);
    let here = contributor(&bench, DEVICES, "X1", NOW);
    assert_eq!(contributor(&bench, DEVICES, "X1", NOW.plus(HOUR_MS)), here);
    assert_ne!(contributor(&bench, DEVICES, "X2", NOW), here);
    assert_ne!(contributor(&bench, WEB, "X1", NOW), here, "another family");
    assert_ne!(contributor(&bench, DEVICES, "X1", NOW.plus(28 * DAY_MS)), here, "another epoch");
    let other = Bench::new(package());
    assert_ne!(contributor(&other, DEVICES, "X1", NOW), here, "another ring");

    let values = {
        let mut values = device_values();
        values[devices::ACCOUNT] = values[devices::SERIAL];
        values
    };
    let batch = through(&bench, DEVICES, &event(&values), &bench.nobody());
    assert_ne!(shown(&batch, "account"), shown(&batch, "contributor"), "another field");
}

#[test]
fn rows_expire_with_their_key() {
    let bench = Bench::new(package());
    let rows = |received: Millis, import: bool, now: Millis| {
        let values = device_values();
        let mut builder = RawBuilder::new(&bench.package, DEVICES);
        let old = RawEvent { received, time: received, ..event(&values) };
        builder.append(&old, &bench.nobody());
        builder.append(&RawEvent { received: now, time: now, ..old }, &bench.nobody());
        let origin = Origin { import, ..origin() };
        let batch = bench.gate.anonymize(builder.finish(), &origin, now).unwrap();
        let numbers = batch
            .rows()
            .column_by_name("_row")
            .unwrap()
            .as_primitive::<arrow::datatypes::Int32Type>()
            .values()
            .to_vec();
        (numbers, batch.keys().len(), batch.expired())
    };
    let family = &bench.package.families[DEVICES];
    let epoch = epoch_of(NOW, 28);
    let over = epoch_end(family, epoch).plus(family.grace_ms());
    assert_eq!(rows(NOW, false, over), (vec![0, 1], 2, 0));
    assert_eq!(rows(NOW, false, over.plus(1)), (vec![1], 1, 1));
    assert_eq!(rows(NOW, true, over.plus(1)), (vec![0, 1], 2, 0), "an import makes its own epochs");
    let name = KeyName::Pseudonym { family: family.name.clone(), epoch };
    bench.ring.destroy(&name, "test").unwrap();
    assert_eq!(rows(NOW, true, over.plus(1)), (vec![1], 1, 1), "but brings none back");
    assert_eq!(rows(NOW, false, NOW), (vec![], 0, 2));
}

#[test]
fn keys_in_memory_die_with_the_ring_s() {
    let bench = Bench::new(package());
    let before = contributor(&bench, DEVICES, "X1", NOW);
    assert_eq!(contributor(&bench, DEVICES, "X1", NOW), before);
    let name = KeyName::Pseudonym { family: "devices".into(), epoch: epoch_of(NOW, 28) };
    bench.ring.destroy(&name, "test").unwrap();
    let values = device_values();
    let batch = through(&bench, DEVICES, &event(&values), &bench.nobody());
    assert_eq!((batch.rows().num_rows(), batch.expired()), (0, 1));
    let visits = KeyName::Pseudonym { family: "web".into(), epoch: epoch_of(NOW, 1) };
    let resolver = bench.resolver();
    let visit = || {
        let address = address("130.225.0.1");
        let connection =
            Connection { address, user_agent: "a".into(), accept_language: String::new() };
        resolver
            .resolve(connection, "s", NOW)
            .unwrap()
            .visit(WEB, epoch_of(NOW, 1))
            .map(<[u8]>::to_vec)
    };
    assert!(visit().is_some());
    bench.ring.destroy(&visits, "test").unwrap();
    assert!(visit().is_none());
}

#[test]
fn refusals_travel_in_authenticated_headers() {
    let bench = Bench::new(package());
    let mut tally = Tally::default();
    tally.refuse(Reason::TooLong);
    let frame = bench.gate.seal_tally(None, tally.clone(), NOW).unwrap();
    assert_eq!((frame.header().rows, frame.header().hour), (0, NOW.hour()));
    let bytes = frame.into_bytes();
    let header = bench.gate.authenticate(Sealed::parse(bytes.clone()).unwrap()).unwrap();
    assert_eq!(header.tally, tally);
    assert!(matches!(bench.gate.open(Sealed::parse(bytes.clone()).unwrap()), Err(Error::Frame(_))));
    let count = b"\"too_long\":1";
    let forged =
        bytes.windows(count.len()).position(|part| part == count).unwrap() + count.len() - 1;
    let mut changed = bytes;
    changed[forged] = b'2';
    let changed = Sealed::parse(changed).unwrap();
    assert_eq!(changed.header().tally.refused_total(), 2, "whoever reads it unchecked is lied to");
    assert!(matches!(bench.gate.authenticate(changed), Err(Error::Frame(_))));

    let frame = bench.gate.seal_tally(Some(DEVICES), Tally::default(), NOW).unwrap();
    let empty = bench.gate.open(frame).unwrap();
    assert_eq!((empty.rows(), empty.family()), (0, DEVICES));
    assert_eq!(bench.gate.anonymize(empty, &origin(), NOW).unwrap().rows().num_rows(), 0);
}

#[test]
fn a_frame_is_sealed_under_its_last_hour() {
    let bench = Bench::new(package());
    let values = device_values();
    let mut builder = RawBuilder::new(&bench.package, DEVICES);
    for received in [NOW, NOW.plus(HOUR_MS), NOW.plus(-HOUR_MS)] {
        builder.append(&RawEvent { received, ..event(&values) }, &bench.nobody());
    }
    assert_eq!(builder.rows(), 3);
    let frame = bench.gate.seal(builder.finish(), Tally::default()).unwrap();
    assert_eq!(builder.rows(), 0);
    assert_eq!((frame.header().hour, frame.header().rows), (NOW.hour() + 1, 3));
    let hour = frame.header().hour;
    bench.ring.destroy(&KeyName::Seal { hour, generation: 0 }, "test").unwrap();
    assert!(matches!(bench.gate.open(frame), Err(Error::Destroyed(_))));
    let never = bench.gate.seal_tally(None, Tally::default(), NOW).unwrap();
    let other = Bench::new(package());
    assert!(matches!(other.gate.open(never), Err(Error::NoKey(_))));
}

#[test]
fn a_header_cannot_promise_other_rows() {
    let bench = Bench::new(package());
    let values = device_values();
    let mut builder = RawBuilder::new(&bench.package, DEVICES);
    builder.append(&event(&values), &bench.nobody());
    let columns = builder.finish().columns;
    let hour = NOW.hour();
    let header = Header {
        family: Some("devices".into()),
        policy: bench.package.digest,
        hour,
        generation: 0,
        rows: 2,
        tally: Tally::default(),
    };
    let key = bench.ring.get_or_create(&KeyName::Seal { hour, generation: 0 }).unwrap();
    let frame = Sealed::seal(header, &Body::of(&columns, 0).unwrap(), &key).unwrap();
    assert!(matches!(bench.gate.open(frame), Err(Error::Rows { declared: 2, found: 1 })));
}

#[test]
fn a_batch_of_another_policy_is_refused() {
    let bench = Bench::new(package());
    let mut other = package();
    other.digest = schemas::Digest([8; 32]);
    let values = device_values();
    let mut builder = RawBuilder::new(&Arc::new(other), DEVICES);
    builder.append(&event(&values), &bench.nobody());
    let result = bench.gate.anonymize(builder.finish(), &origin(), NOW);
    assert!(matches!(result, Err(Error::UnknownPolicy(_))));
}

/// Every way an event can go wrong after it was decoded, with the address of its sender at hand.
#[test]
fn no_failure_holds_the_address() {
    let bench = Bench::new(package());
    let resolver = bench.resolver();
    let connection = |address: &str| Connection {
        address: crate::fixture::address(address),
        user_agent: "canary-agent 130.225.77.1".into(),
        accept_language: "canary-language".into(),
    };
    // The ring is gone while the service runs: resolving fails, and says nothing of the connection.
    std::fs::remove_dir_all(bench.folder.path().join("ring")).unwrap();
    let failed = resolver.resolve(connection("130.225.77.1"), "canary-site", NOW.plus(DAY_MS));
    let error = failed.err().expect("there is no ring");
    let told = format!("{error} {error:?}").to_lowercase();
    for canary in ["130.225", "82e14d", "canary"] {
        assert!(!told.contains(canary), "{told}");
    }
    let values = device_values();
    let mut builder = RawBuilder::new(&bench.package, DEVICES);
    builder.append(&RawEvent { id: Some("canary"), ..event(&values) }, &bench.nobody());
    let error =
        bench.gate.seal(builder.finish(), Tally::default()).err().expect("there is no ring");
    assert!(!format!("{error} {error:?}").contains("canary"));
}

/// A canary in every place of an event that takes text.
fn planted(canary: &str) -> [String; 3] {
    let url = format!(
        "https://{canary}:{canary}@{canary}.shop.example/{canary}/x-{canary};{canary}/%40{canary}?{canary}=1\
         &utm_campaign={canary}#{canary}"
    );
    let referrer = format!("https://www.{canary}.com:443/{canary}?q={canary}");
    let agent = format!("Mozilla/5.0 ({canary}) {canary}Browser/1 Firefox/145.0 {canary}bot");
    [url, referrer, agent]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_personal_value_survives(canary in "[a-z0-9]{16}", number in 10_000_000_i64..i64::MAX, granted in 0_u32..8) {
        let bench = shared();
        let [url, referrer, agent] = planted(&canary);
        let connection = Connection {
            address: address("130.225.77.1"),
            user_agent: agent,
            accept_language: format!("da-{canary}, {canary};q=0.5"),
        };
        let resolved = bench.resolver().resolve(connection, &canary, NOW).unwrap();
        let text = Value::Text(&canary);
        let device = [
            text,
            text,
            text,
            Value::Integer(number),
            text,
            text,
            text,
            text,
            Value::Integer(i64::MAX - number),
            Value::Integer(number),
            text,
        ];
        let mut page = web_values(&url, &referrer);
        page[web::TAG] = text;
        let mut visible = String::new();
        for (family, values) in [(DEVICES, device.as_slice()), (WEB, page.as_slice())] {
            let sent = RawEvent {
                id: Some(&canary),
                granted: PurposeSet(granted),
                ..event(values)
            };
            let batch = through(bench, family, &sent, &resolved);
            visible += &pretty_format_batches(std::slice::from_ref(batch.rows())).unwrap().to_string();
            visible += &format!("{:?} {:?} {}", batch.keys(), batch.tally(), batch.expired());
            for fate in bench.gate.explain(family, &sent, &resolved).unwrap() {
                visible += &format!("{fate:?}");
            }
        }
        let visible = visible.to_lowercase();
        let hexadecimal: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
        let hash = blake3::hash(canary.as_bytes()).to_hex();
        for form in [canary.as_str(), &hexadecimal, &hash[..32], &number.to_string(), "130.225", "82e14d01"] {
            prop_assert!(!visible.contains(form), "{} in {}", form, visible);
        }
    }
}

/// One bench for all cases of a property: a ring takes files and fsyncs.
fn shared() -> &'static Bench {
    static BENCH: std::sync::OnceLock<Bench> = std::sync::OnceLock::new();
    BENCH.get_or_init(|| Bench::new(package()))
}

#[test]
fn packages_that_ask_for_the_impossible_are_refused() {
    let refused = |change: fn(&mut Package)| {
        let bench = Bench::new(package());
        let mut changed = package();
        change(&mut changed);
        let archive = bench.folder.path().join("archive");
        let error = Gate::new(Arc::new(changed), Arc::clone(&bench.ring), archive).err();
        error.expect("refused").to_string()
    };
    use schemas::model::{Source, Transform};
    let error = refused(|package| {
        package.families[DEVICES].fields[devices::SERIAL].kind = schemas::model::Kind::Boolean
    });
    assert!(error.contains("serial"), "{error}");
    let error = refused(|package| {
        package.families[DEVICES].fields[devices::OK].transform = Transform::Domain
    });
    assert!(error.contains("ok"), "{error}");
    let error =
        refused(|package| package.families[WEB].fields[web::COUNTRY].transform = Transform::Keep);
    assert!(error.contains("country"), "{error}");
    let error = refused(|package| {
        package.families[DEVICES].fields[devices::ERROR].kind = crate::fixture::text(8)
    });
    assert!(error.contains("error"), "free text is never kept: {error}");
    let error = refused(|package| {
        package.families[WEB].fields[web::HOSTNAME].source = Source::Field(web::PAGE);
    });
    assert!(error.contains("hostname"), "{error}");
}
