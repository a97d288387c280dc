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

/// The notice tells visitors what a signal ends: exactly what it ends here, on every basis.
#[test]
fn the_notice_says_what_signals_do() {
    let mut package = package();
    for (_, basis) in Basis::WORDS {
        for purpose in &mut package.purposes {
            purpose.basis = basis;
        }
        let name = package.purposes[0].name.clone();
        package.families[0].purposes = PurposeSet(1);
        for field in &mut package.families[0].fields {
            field.purposes = PurposeSet(1);
        }
        let grants = [Grant { purpose: &name, granted: true }];
        let notice = schemas::notice::Notice::of(&package);
        let effect = &notice.families[0].under_signal;
        for signals in [Signals { gpc: true, dnt: false }, Signals { gpc: false, dnt: true }] {
            let stands = granted(&package, signals, &grants).has(0);
            assert_eq!(effect.stands.contains(&name), stands, "{}", basis.name());
            assert_eq!(effect.ends.contains(&name), !stands, "{}", basis.name());
        }
    }
}
