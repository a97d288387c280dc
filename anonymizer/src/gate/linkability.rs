//! What can be linked and what cannot, through builder, frame and gate: the same device in another field, family, tenant,
//! ring or epoch never has the same pseudonym; within a session it does.

use std::collections::HashMap;
use std::sync::OnceLock;

use arrow::array::cast::AsArray;
use proptest::prelude::*;
use schemas::time::{DAY_MS, HOUR_MS, epoch_start};

use super::*;
use crate::fixture::{Bench, DEVICES, WEB, devices, event, origin, package};
use crate::keys::{KeyName, epoch_end};
use crate::{RawBuilder, RawEvent, Resolved, Value};

const EPOCH_DAYS: u32 = 28;

/// Two families of devices of one tenant; the same families of another tenant on the same ring.
struct World {
    bench: Bench,
    nobody: Resolved,
    other_tenant: Gate,
}

impl World {
    fn new() -> Self {
        let mut two = package();
        let second = Family { name: "gadgets".into(), ..two.families[DEVICES].clone() };
        two.families[WEB] = second;
        let other = Package { controller: "Another ApS".into(), ..two.clone() };
        let bench = Bench::new(two);
        let (nobody, other_tenant) = (bench.nobody(), bench.gate_of(other));
        Self { bench, nobody, other_tenant }
    }
}

/// Contributor, account and epoch of the stored row.
type Row = (Vec<u8>, Vec<u8>, i32);

/// One event of a device whose account number is its serial, at `now`.
fn row(world: &World, gate: &Gate, family: usize, serial: &str, sent: RawEvent<'_>) -> Row {
    let mut values = vec![Value::Null; devices::FIELDS];
    values[devices::SERIAL] = Value::Text(serial);
    values[devices::ACCOUNT] = Value::Text(serial);
    let mut builder = RawBuilder::new(&gate.package, family);
    builder.append(&RawEvent { values: &values, ..sent }, &world.nobody);
    let frame = gate.seal(builder.finish(), Tally::default()).unwrap();
    let raw = gate.open(Sealed::parse(frame.into_bytes()).unwrap()).unwrap();
    let batch = gate.anonymize(raw, &origin(), sent.received).unwrap();
    let rows = batch.rows();
    let hash = |name: &str| rows.column_by_name(name).unwrap().as_binary::<i32>().value(0).to_vec();
    let epoch = rows.column_by_name("epoch").unwrap();
    let epoch = epoch.as_primitive::<arrow::datatypes::Int32Type>().value(0);
    (hash("contributor"), hash("account"), epoch)
}

fn at(received: Millis) -> RawEvent<'static> {
    RawEvent { received, time: received, ..event(&[]) }
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every pseudonym of one device is at home in one field, family, tenant and epoch.
    #[test]
    fn a_device_cannot_be_followed_from_one_place_to_another(
        serial in "[A-Z0-9]{1,24}",
        other in "[a-z]{1,24}",
        days in 0_i64..5,
    ) {
        let world = world();
        let gates = [("one", &world.bench.gate), ("another", &world.other_tenant)];
        let mut seen: HashMap<Vec<u8>, (String, &str)> = HashMap::new();
        for number in 0..3 {
            let start = epoch_start(742 + number, EPOCH_DAYS).plus(days * DAY_MS);
            for (tenant, gate) in gates {
                for family in [DEVICES, WEB] {
                    for serial in [&serial, &other] {
                        let (contributor, account, epoch) = row(world, gate, family, serial, at(start));
                        prop_assert_eq!(epoch, 742 + number);
                        for (field, hash) in [("serial", contributor), ("account", account)] {
                            let place = format!("{tenant} {family} {field} {number}");
                            let before = seen.insert(hash, (place.clone(), serial));
                            prop_assert_eq!(before, None, "as in {}", place);
                        }
                    }
                }
            }
        }
        prop_assert_eq!(seen.len(), 2 * 2 * 2 * 2 * 3);
    }

    /// A session that goes on past the end of an epoch keeps its pseudonym as long as the key lives; a session that
    /// began earlier, in the future, or in the same epoch changes nothing.
    #[test]
    fn a_session_survives_the_change_of_epochs_and_nothing_longer_does(
        serial in "[A-Z0-9]{1,24}",
        before_ms in 1_i64..DAY_MS,
        after_ms in 0_i64..2 * DAY_MS,
    ) {
        let world = World::new();
        let (gate, family) = (&world.bench.gate, DEVICES);
        let change = epoch_start(743, EPOCH_DAYS);
        let begun = change.plus(-before_ms);
        let first = row(&world, gate, family, &serial, at(begun));
        let on = RawEvent { session: Some(begun), ..at(change.plus(after_ms)) };
        prop_assert_eq!(row(&world, gate, family, &serial, on), first.clone());

        let alone = row(&world, gate, family, &serial, at(change.plus(after_ms)));
        prop_assert_eq!(alone.2, 743);
        prop_assert_ne!(&alone.0, &first.0);
        let later = change.plus(after_ms);
        let two_back = epoch_start(742, EPOCH_DAYS).plus(-1);
        for session in [change, later, later.plus(60 * DAY_MS), two_back, Millis(0), Millis(i64::MIN)] {
            let sent = RawEvent { session: Some(session), ..at(later) };
            prop_assert_eq!(row(&world, gate, family, &serial, sent), alone.clone(), "{}", session);
        }
        // The epoch's rows die after the grace, and the session's with them: it does not keep the key.
        let over = epoch_end(&world.bench.package.families[family], 742).plus(48 * HOUR_MS + 1);
        let sent = RawEvent { session: Some(begun), ..at(over) };
        prop_assert_eq!(row(&world, gate, family, &serial, sent).2, 743);
    }
}

#[test]
fn a_session_does_not_bring_back_a_destroyed_key_nor_make_one() {
    let world = World::new();
    let gate = &world.bench.gate;
    let change = epoch_start(743, EPOCH_DAYS);
    let sent = RawEvent { session: Some(change.plus(-HOUR_MS)), ..at(change.plus(HOUR_MS)) };
    // No event of that epoch was ever stored: there is no pseudonym to keep.
    assert_eq!(row(&world, gate, DEVICES, "X1", sent).2, 743);
    row(&world, gate, DEVICES, "X1", at(change.plus(-HOUR_MS)));
    assert_eq!(row(&world, gate, DEVICES, "X1", sent).2, 742);
    let name = KeyName::Pseudonym { family: "devices".into(), epoch: 742 };
    world.bench.ring.destroy(&name, "test").unwrap();
    assert_eq!(row(&world, gate, DEVICES, "X1", sent).2, 743);
}
