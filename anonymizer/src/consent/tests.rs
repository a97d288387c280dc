use super::*;
use crate::fixture::{ALL, package};

const SILENT: Signals = Signals { gpc: false, dnt: false };
/// What stands whatever is said: the contract.
const ALWAYS: PurposeSet = PurposeSet(4);

fn of(signals: Signals, stated: &[(&str, bool)]) -> PurposeSet {
    let grants: Vec<Grant<'_>> =
        stated.iter().map(|(purpose, granted)| Grant { purpose, granted: *granted }).collect();
    granted(&package(), signals, &grants)
}

#[test]
fn silence_grants_nothing_and_objects_to_nothing() {
    assert_eq!(of(SILENT, &[]), PurposeSet(6));
    assert_eq!(of(SILENT, &[("agreed", true)]), ALL);
    assert_eq!(of(SILENT, &[("unheard of", true)]), PurposeSet(6));
}

#[test]
fn a_refusal_beats_a_grant() {
    assert_eq!(of(SILENT, &[("agreed", true), ("agreed", false)]), PurposeSet(6));
    assert_eq!(of(SILENT, &[("agreed", false), ("agreed", true)]), PurposeSet(6));
    assert_eq!(
        of(SILENT, &[("improve", true), ("improve", false), ("agreed", true)]),
        PurposeSet(5)
    );
}

#[test]
fn a_signal_beats_a_grant() {
    for signals in [Signals { gpc: true, dnt: false }, Signals { gpc: false, dnt: true }] {
        assert_eq!(of(signals, &[("agreed", true), ("improve", true)]), ALWAYS);
    }
}

#[test]
fn a_contract_stands() {
    assert_eq!(of(SILENT, &[("service", false), ("improve", false)]), ALWAYS);
}
