use proptest::prelude::*;

use super::*;

fn key(controller: &str, family: &str, field: &str, epoch: i32) -> FieldKey {
    FieldKey::of(&Key::apart([1; 32]), controller, family, field, epoch)
}

fn of(key: &FieldKey, text: &str) -> Option<String> {
    key.text(text, &mut Vec::new()).map(hexadecimal)
}

fn hexadecimal(hash: Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pinned for good: pseudonyms of one epoch must be the same whichever build makes them. Computed with Python's
/// `blake3` package by the formula at the head of the module, not with this code.
#[test]
fn known_answers() {
    let key = key("Copenhagen Imaging ApS", "device_usage", "serial_number", 736);
    let serial = of(&key, "X1-2031-000417").unwrap();
    let mac = of(&key, "00:1B:44:11:3A:B7").unwrap();
    let uuid = of(&key, "{3FA85F64-5717-4562-B3FC-2C963F66AFA6}").unwrap();
    let number = hexadecimal(key.integer(417, &mut Vec::new()));
    let visits = super::FieldKey::of(&Key::apart([2; 32]), "Example ApS", "web", "", -1);
    let visit = hexadecimal(visits.visit("example.com", "192.0.2.1".parse().unwrap(), "Firefox"));
    let events = EventsKey::of(&Key::apart([3; 32]), "Example ApS", "web", 10_300);
    let id = hexadecimal(events.id("a-1", &mut Vec::new()));
    let count = hexadecimal(events.count("X1", 57, 8812, &mut Vec::new()).unwrap());
    let answers = [serial, mac, uuid, number, visit, id, count];
    assert_eq!(answers, KNOWN);
}

const KNOWN: [&str; 7] = [
    "3ff769d90ca3d276b877f548fbba9f1a",
    "2ca23318a776c06f9fe44f80afc25cce",
    "c94546097fdc4d4c3e062c1211f9e731",
    "65bcbeb43937eb7d82cbc47a4c4e2420",
    "847f4465ef08a4bff78d328b79eb67fc",
    "265cb61e381bb68bd46bc1c41762ab08",
    "544d78783456c25a1df6709c5f2dee4f",
];

#[test]
fn one_thing_has_one_canonical_form() {
    let key = key("c", "f", "serial", 0);
    for same in [
        vec!["00:1b:44:11:3a:b7", "00-1B-44-11-3A-B7", " 001b.4411.3ab7\n", "001B44113AB7"],
        vec!["3fa85f64-5717-4562-b3fc-2c963f66afa6", "{3FA85F64-5717-4562-B3FC-2C963F66AFA6}"],
        vec!["X1-2031-000417", "  X1-2031-000417\u{a0}"],
    ] {
        let first = of(&key, same[0]);
        assert!(first.is_some());
        for text in &same {
            assert_eq!(of(&key, text), first, "{text}");
        }
    }
    assert_ne!(of(&key, "x1-2031-000417"), of(&key, "X1-2031-000417"), "serials keep their case");
    assert_ne!(of(&key, "X12031000417"), of(&key, "X1-2031-000417"), "and their hyphens");
}

#[test]
fn what_must_not_be_hashed_is_not() {
    let key = key("c", "f", "serial", 0);
    for text in ["", "  \t ", "jens@example.com", "@jens", "a@b"] {
        assert_eq!(of(&key, text), None, "{text}");
    }
}

#[test]
fn an_address_is_one_in_either_form() {
    let key = key("c", "web", "", 0);
    let visit = |address: &str| key.visit("site", address.parse().unwrap(), "agent");
    assert_eq!(visit("192.0.2.1"), visit("::ffff:192.0.2.1"));
    assert_ne!(visit("192.0.2.1"), visit("192.0.2.2"));
}

/// Two ways to cut the same bytes into two parts.
fn two_cuts() -> impl Strategy<Value = (String, usize, usize)> {
    "a{2,24}|[a-z0-9]{2,24}".prop_flat_map(|text| {
        let length = text.len();
        (Just(text), 0..=length, 0..=length)
    })
}

proptest! {
    #[test]
    fn equal_values_elsewhere_are_unrelated(value in "[A-Z0-9-]{1,40}", name in "[a-z]{1,8}", epoch in -5_i32..5) {
        let here = key("controller", "family", &name, epoch);
        let others = [
            key("controller2", "family", &name, epoch),
            key("controller", "family2", &name, epoch),
            key("controller", "family", &format!("{name}2"), epoch),
            key("controller", "family", &name, epoch + 1),
            FieldKey::of(&Key::apart([9; 32]), "controller", "family", &name, epoch),
        ];
        let hash = of(&here, &value);
        prop_assert!(hash.is_some());
        for other in others {
            prop_assert_ne!(&of(&other, &value), &hash);
        }
    }

    #[test]
    fn names_cut_elsewhere_give_other_keys((names, one, other) in two_cuts()) {
        prop_assume!(one != other);
        let cut = |at: usize| {
            let (family, field) = names.split_at(at);
            of(&key("c", family, field, 0), "value")
        };
        prop_assert_ne!(cut(one), cut(other));
    }

    #[test]
    fn parts_cut_elsewhere_give_other_visits((text, one, other) in two_cuts()) {
        prop_assume!(one != other);
        let key = key("c", "web", "", 0);
        let cut = |at: usize| {
            // The address reads `aaaa`, so that the bytes around it could be its own.
            let (site, agent) = text.split_at(at);
            key.visit(site, "97.97.97.97".parse().unwrap(), agent)
        };
        prop_assert_ne!(cut(one), cut(other));
    }

    #[test]
    fn counts_of_other_devices_differ(serial in "[A-Z]{1,4}", boot in 0_u64..1_000, seq in 0_u64..1_000) {
        let events = EventsKey::of(&Key::apart([3; 32]), "c", "f", 0);
        let of = |serial: &str, boot, seq| events.count(serial, boot, seq, &mut Vec::new());
        let hash = of(&serial, boot, seq);
        prop_assert_ne!(of(&format!("{serial}A"), boot, seq), hash);
        prop_assert_ne!(of(&serial, boot + 1, seq), hash);
        prop_assert_ne!(of(&serial, boot, seq + 1), hash);
        prop_assert_eq!(of(&format!(" {serial} "), boot, seq), hash, "white space is none");
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,80}") {
        of(&key("c", "f", "x", 0), &text);
    }
}
