use proptest::prelude::*;
use schemas::model::Honoured;

use super::*;
use crate::fixture::{ALL, NOW, package};
use crate::fuzzing::tc_string;

const SILENT: Signals = Signals { gpc: false, dnt: false };
const GPC: Signals = Signals { gpc: true, dnt: false };
const DNT: Signals = Signals { gpc: false, dnt: true };
/// What stands whatever is said: the contract.
const ALWAYS: PurposeSet = PurposeSet(4);
/// Index of the purpose that is based on consent.
const AGREED: usize = 0;

fn said(granted: bool) -> Decision<'static> {
    Decision { granted, version: None, at: Decided::Unsaid }
}

fn statement(package: &Package, signals: Signals, stated: &[(&str, bool)]) -> Statement {
    let mut statement = Statement::default();
    statement.signals(signals);
    for (purpose, granted) in stated {
        if let Some((index, _)) = package.purpose(purpose) {
            statement.decision(package, index, &said(*granted));
        }
    }
    statement
}

fn of(signals: Signals, stated: &[(&str, bool)]) -> PurposeSet {
    let package = package();
    statement(&package, signals, stated).resolve(&package, NOW).granted
}

/// What stands, and how often each note is made that is.
fn resolved(package: &Package, statement: &Statement) -> (PurposeSet, Vec<(Note, u64)>) {
    let consent = statement.resolve(package, NOW);
    (consent.granted, consent.notes().filter(|(_, count)| *count > 0).collect())
}

#[test]
fn silence_grants_nothing_and_objects_to_nothing() {
    assert_eq!(of(SILENT, &[]), PurposeSet(6));
    assert_eq!(of(SILENT, &[("agreed", true)]), ALL);
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
    for signals in [GPC, DNT] {
        assert_eq!(of(signals, &[("agreed", true), ("improve", true)]), ALWAYS);
    }
}

#[test]
fn a_contract_stands() {
    assert_eq!(of(SILENT, &[("service", false), ("improve", false)]), ALWAYS);
}

#[test]
fn an_ignored_signal_takes_nothing_and_is_counted() {
    let mut package = package();
    package.signals = Honoured { gpc: true, dnt: false };
    let both = Signals { gpc: true, dnt: true };
    let heard = |signals| resolved(&package, &statement(&package, signals, &[("agreed", true)]));
    let stated = (Note::StatedConsent, 1);
    assert_eq!(heard(DNT), (ALL, vec![(Note::IgnoredDnt, 1), stated]));
    assert_eq!(heard(both), (ALWAYS, vec![(Note::SignalGpc, 1), (Note::IgnoredDnt, 1), stated]));
    package.signals = Honoured { gpc: false, dnt: true };
    assert_eq!(
        resolved(&package, &statement(&package, both, &[])),
        (ALWAYS, vec![(Note::SignalDnt, 1), (Note::IgnoredGpc, 1)])
    );
}

#[test]
fn a_grant_counts_for_the_versions_that_are_asked_for() {
    let mut package = package();
    package.purposes[AGREED].consent_versions = vec!["2024-05".into(), "2024-06".into()];
    for (version, counts) in
        [(Some("2024-05"), true), (Some("2024-06"), true), (Some("2023"), false), (None, false)]
    {
        let mut statement = Statement::default();
        let decision = Decision { granted: true, version, at: Decided::Unsaid };
        statement.decision(&package, AGREED, &decision);
        let (granted, notes) = resolved(&package, &statement);
        assert_eq!(granted.has(AGREED), counts, "{version:?}");
        assert_eq!(notes.contains(&(Note::GrantOtherVersion, 1)), !counts);
        statement.decision(&package, AGREED, &Decision { granted: false, ..decision });
        assert!(!resolved(&package, &statement).0.has(AGREED), "a refusal of any version counts");
    }
}

#[test]
fn a_grant_counts_from_its_time_on_and_as_long_as_is_asked_for() {
    let day = |days: i64| Decided::At(NOW.plus(days * DAY_MS));
    for (lasts, at, counts) in [
        (None, Decided::Unsaid, true),
        (None, Decided::Unreadable, false),
        (None, day(0), true),
        (None, day(-10_000), true),
        (None, Decided::At(NOW.plus(1)), false),
        (Some(30), Decided::Unsaid, false),
        (Some(30), day(-30), true),
        (Some(30), Decided::At(NOW.plus(-30 * DAY_MS - 1)), false),
        (Some(30), Decided::At(Millis(i64::MIN)), false),
        (Some(30), Decided::At(Millis(i64::MAX)), false),
    ] {
        let mut package = package();
        package.purposes[AGREED].consent_days = lasts;
        let mut statement = Statement::default();
        let decision = Decision { granted: true, version: None, at };
        statement.decision(&package, AGREED, &decision);
        let (granted, notes) = resolved(&package, &statement);
        assert_eq!(granted.has(AGREED), counts, "{lasts:?} {at:?}");
        assert_eq!(notes.contains(&(Note::GrantOutOfTime, 1)), !counts);
        let refusal = Decision { granted: false, ..decision };
        statement.decision(&package, AGREED, &refusal);
        assert!(!resolved(&package, &statement).0.has(AGREED), "a refusal of any time counts");
    }
}

#[test]
fn of_several_grants_one_that_counts_is_enough() {
    let mut package = package();
    package.purposes[AGREED].consent_days = Some(30);
    let mut statement = Statement::default();
    for at in [Decided::At(NOW.plus(1)), Decided::At(NOW), Decided::Unsaid] {
        statement.decision(&package, AGREED, &Decision { granted: true, version: None, at });
    }
    let expected = (ALL, vec![(Note::StatedConsent, 1)]);
    assert_eq!(resolved(&package, &statement), expected);
}

#[test]
fn consent_managers_of_google_grant_and_refuse_what_heeds_their_types() {
    let mut package = package();
    package.purposes[AGREED].google = Some(GoogleConsent::AnalyticsStorage);
    package.purposes[1].google = Some(GoogleConsent::AdStorage);
    let of = |states: &[(GoogleConsent, bool)]| {
        let mut statement = Statement::default();
        states.iter().for_each(|(kind, granted)| statement.google(&package, *kind, *granted));
        resolved(&package, &statement)
    };
    let heard = vec![(Note::SignalGoogle, 1)];
    assert_eq!(of(&[(GoogleConsent::AnalyticsStorage, true)]), (ALL, heard.clone()));
    assert_eq!(of(&[(GoogleConsent::AnalyticsStorage, false)]), (PurposeSet(6), heard.clone()));
    assert_eq!(of(&[(GoogleConsent::AdStorage, false)]), (ALWAYS, heard));
    assert_eq!(of(&[(GoogleConsent::SecurityStorage, false)]), (PurposeSet(6), vec![]));
    package.purposes[AGREED].consent_versions = vec!["1".into()];
    let mut statement = Statement::default();
    statement.google(&package, GoogleConsent::AnalyticsStorage, true);
    let told = resolved(&package, &statement);
    assert!(!told.0.has(AGREED), "it does not say to which text");
    assert!(told.1.contains(&(Note::GrantOtherVersion, 1)));
}

#[test]
fn a_tc_string_grants_what_all_its_purposes_cover_and_refuses_the_rest() {
    let mut package = package();
    package.purposes[AGREED].tcf = vec![1, 8];
    package.purposes[1].tcf = vec![10];
    let of = |text: &str| {
        let mut statement = Statement::default();
        statement.tcf(&package, text);
        resolved(&package, &statement)
    };
    let heard = vec![(Note::SignalTcf, 1)];
    assert_eq!(of(&tc_string(&[1, 8, 10], NOW, true)), (ALL, heard.clone()));
    assert_eq!(of(&tc_string(&[1, 8], NOW, true)), (PurposeSet(5), heard.clone()));
    assert_eq!(of(&tc_string(&[1, 10], NOW, false)), (PurposeSet(6), heard));
    assert_eq!(of("nonsense"), (ALWAYS, vec![(Note::TcfUnreadable, 1)]));
    let later = of(&tc_string(&[1, 8, 10], NOW.plus(DAY_MS), true));
    assert!(!later.0.has(AGREED), "it was made after the event");
    assert!(later.1.contains(&(Note::GrantOutOfTime, 1)));
    // Of a package that does not ask for one nothing is read, and nothing counted.
    let plain = crate::fixture::package();
    let mut statement = Statement::default();
    statement.tcf(&plain, "nonsense");
    assert_eq!(resolved(&plain, &statement), (PurposeSet(6), vec![]));
}

#[test]
fn what_took_a_purpose_is_told() {
    let mut package = package();
    package.purposes[AGREED].tcf = vec![1];
    package.purposes[AGREED].consent_versions = vec!["2".into()];
    package.purposes[AGREED].consent_days = Some(30);
    let why = |change: &dyn Fn(&mut Statement)| {
        let mut statement = Statement::default();
        change(&mut statement);
        let fates = statement.explain(&package, NOW);
        let stands = statement.resolve(&package, NOW).granted;
        for (index, fate) in fates.iter().enumerate() {
            assert_eq!(fate.stands, stands.has(index), "{}", fate.purpose);
        }
        fates.iter().map(|fate| fate.why.clone()).collect::<Vec<_>>()
    };
    let decide = |granted, version, at| Decision { granted, version, at };
    let silent = why(&|_| {});
    assert_eq!(
        silent,
        [
            "not granted",
            "legitimate interest: nobody objected",
            "contract: it stands whatever is said"
        ]
    );
    let granted = decide(true, Some("2"), Decided::At(NOW));
    assert_eq!(why(&|statement| statement.decision(&package, AGREED, &granted))[0], "granted");
    let old = decide(true, Some("1"), Decided::At(NOW));
    assert_eq!(
        why(&|statement| statement.decision(&package, AGREED, &old))[0],
        "granted for another version: expected 2"
    );
    let undated = decide(true, Some("2"), Decided::Unsaid);
    assert_eq!(
        why(&|statement| statement.decision(&package, AGREED, &undated))[0],
        "granted at no time that counts: expected one that is not after the event, and at most 30 days before it"
    );
    let refused = why(&|statement| {
        statement.signals(Signals { gpc: true, dnt: true });
        statement.decision(&package, AGREED, &granted);
        statement.decision(&package, AGREED, &said(false));
        statement.tcf(&package, "nonsense");
    });
    assert_eq!(
        refused[..2],
        [
            "taken by Sec-GPC, taken by DNT, refused by the event, refused: the TC string cannot be read",
            "taken by Sec-GPC, taken by DNT"
        ]
    );
}

/// The notice tells visitors which signals are heeded and what they end: exactly what they end here, on every basis.
#[test]
fn the_notice_says_what_signals_do() {
    let honoured = [(true, true), (true, false), (false, true), (false, false)];
    for (gpc, dnt) in honoured {
        for (_, basis) in Basis::WORDS {
            let mut package = package();
            package.signals = Honoured { gpc, dnt };
            for purpose in &mut package.purposes {
                purpose.basis = basis;
            }
            let name = package.purposes[0].name.clone();
            package.families[0].purposes = PurposeSet(1);
            for field in &mut package.families[0].fields {
                field.purposes = PurposeSet(1);
            }
            let notice = schemas::notice::Notice::of(&package);
            let effect = &notice.families[0].under_signal;
            for (signals, told) in [GPC, DNT].into_iter().zip(&notice.signals) {
                let statement = statement(&package, signals, &[(&name, true)]);
                let stands = statement.resolve(&package, NOW).granted.has(0);
                let ends = told.honoured && effect.ends.contains(&name);
                assert_eq!(ends, !stands, "{} {gpc} {dnt}", basis.name());
                assert_ne!(effect.ends.contains(&name), effect.stands.contains(&name));
            }
        }
    }
}

/// Something that an event may come with.
#[derive(Clone, Debug)]
enum Word {
    Signals(bool, bool),
    Decision { purpose: usize, granted: bool, version: Option<u8>, at: Option<Option<i64>> },
    Google(usize, bool),
    Tcf(Option<Vec<u8>>, i64),
}

impl Word {
    fn add(&self, package: &Package, statement: &mut Statement) {
        match self {
            Self::Signals(gpc, dnt) => statement.signals(Signals { gpc: *gpc, dnt: *dnt }),
            Self::Decision { purpose, granted, version, at } => {
                let version = version.map(|version| version.to_string());
                let at = match at {
                    None => Decided::Unsaid,
                    Some(None) => Decided::Unreadable,
                    Some(Some(days)) => Decided::At(NOW.plus(days * DAY_MS)),
                };
                let decision = Decision { granted: *granted, version: version.as_deref(), at };
                statement.decision(package, *purpose, &decision);
            }
            Self::Google(kind, granted) => {
                statement.google(package, GoogleConsent::WORDS[*kind].1, *granted);
            }
            Self::Tcf(None, _) => statement.tcf(package, "nonsense"),
            Self::Tcf(Some(purposes), days) => {
                let text = tc_string(purposes, NOW.plus(days * DAY_MS), false);
                statement.tcf(package, &text);
            }
        }
    }

    /// Whether it can only take away, of every purpose.
    fn takes(&self, package: &Package) -> bool {
        match self {
            Self::Signals(..) => true,
            Self::Decision { granted, .. } | Self::Google(_, granted) => !granted,
            Self::Tcf(None, _) => true,
            Self::Tcf(Some(purposes), _) => package
                .purposes
                .iter()
                .all(|purpose| purpose.tcf.iter().any(|needed| !purposes.contains(needed))),
        }
    }
}

fn word() -> impl Strategy<Value = Word> {
    let days = -50_i64..3;
    prop_oneof![
        any::<(bool, bool)>().prop_map(|(gpc, dnt)| Word::Signals(gpc, dnt)),
        (
            0_usize..5,
            any::<bool>(),
            proptest::option::of(0_u8..3),
            proptest::option::of(proptest::option::of(days.clone()))
        )
            .prop_map(|(purpose, granted, version, at)| Word::Decision {
                purpose,
                granted,
                version,
                at
            }),
        (0_usize..7, any::<bool>()).prop_map(|(kind, granted)| Word::Google(kind, granted)),
        (proptest::option::of(proptest::collection::vec(1_u8..12, 0..6)), days)
            .prop_map(|(purposes, days)| Word::Tcf(purposes, days)),
    ]
}

/// A package whose purposes are of any basis and ask for anything.
fn demanding() -> impl Strategy<Value = Package> {
    let purpose = (
        0_usize..6,
        any::<bool>(),
        any::<bool>(),
        proptest::collection::vec(1_u8..12, 0..3),
        proptest::option::of(0_usize..7),
    );
    (proptest::collection::vec(purpose, 3), any::<(bool, bool)>()).prop_map(
        |(purposes, (gpc, dnt))| {
            let mut package = package();
            package.signals = Honoured { gpc, dnt };
            for (own, (basis, versions, days, tcf, google)) in
                package.purposes.iter_mut().zip(purposes)
            {
                own.basis = Basis::WORDS[basis].1;
                own.consent_versions = if versions { vec!["1".into()] } else { vec![] };
                own.consent_days = days.then_some(30);
                own.tcf = tcf;
                own.google = google.map(|kind| GoogleConsent::WORDS[kind].1);
            }
            package
        },
    )
}

fn heard(package: &Package, words: &[Word]) -> Statement {
    let mut statement = Statement::default();
    words.iter().for_each(|word| word.add(package, &mut statement));
    statement
}

proptest! {
    /// Whatever was said before: a signal or a refusal, wherever it comes in, grants nothing more.
    #[test]
    fn a_signal_or_refusal_never_grants_more(
        package in demanding(),
        words in proptest::collection::vec(word(), 0..6),
        more in word(),
        place in 0_usize..7,
    ) {
        let more = if more.takes(&package) { more } else { Word::Signals(true, true) };
        let before = heard(&package, &words).resolve(&package, NOW).granted;
        let mut words = words;
        words.insert(place.min(words.len()), more);
        let after = heard(&package, &words).resolve(&package, NOW).granted;
        prop_assert_eq!(after.0 & !before.0, 0, "{:?}", words);
    }

    /// What is based on consent stands only where somebody granted it; nothing that nobody could know of does.
    #[test]
    fn what_nobody_granted_does_not_stand(
        package in demanding(),
        words in proptest::collection::vec(word(), 0..6),
    ) {
        let stands = heard(&package, &words).resolve(&package, NOW).granted;
        for (index, purpose) in package.purposes.iter().enumerate() {
            let grants = |word: &Word| match word {
                Word::Signals(..) => false,
                Word::Decision { purpose, granted, .. } => *granted && *purpose == index,
                Word::Google(kind, granted) => {
                    *granted && purpose.google == Some(GoogleConsent::WORDS[*kind].1)
                }
                Word::Tcf(purposes, _) => purposes.is_some() && !purpose.tcf.is_empty(),
            };
            let is_granted = words.iter().any(grants);
            prop_assert!(purpose.basis != Basis::Consent || is_granted || !stands.has(index));
        }
        prop_assert!(stands.0 >> package.purposes.len() == 0);
    }

    /// In whatever parts and order it comes.
    #[test]
    fn parts_and_their_order_make_no_difference(
        package in demanding(),
        words in proptest::collection::vec(word(), 0..6),
        cut in 0_usize..6,
    ) {
        let whole = heard(&package, &words).resolve(&package, NOW);
        let (head, tail) = words.split_at(cut.min(words.len()));
        let mut parts = heard(&package, tail);
        parts.add(&heard(&package, head));
        prop_assert_eq!(parts.resolve(&package, NOW), whole);
        parts.clear();
        prop_assert!(parts == Statement::default());
    }
}
