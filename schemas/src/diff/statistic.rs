//! What readers see.

use super::{Changes, NARROWER, WIDER, limit};
use crate::model::{Clamp, Family, Measure, Mechanism, Package, PurposeSet, Statistic};
use crate::words;

type Of<'a> = (&'a Family, &'a Statistic);

/// Statistics by name.
pub(super) fn compare_all(old: &Package, new: &Package, changes: &mut Changes) {
    for statistic in &new.statistics {
        if old.statistic(&statistic.name).is_none() {
            let family = &new.families[statistic.family];
            let says = starts((family, statistic));
            changes.add(&place(statistic), WIDER, says, "readers see what they did not see");
        }
    }
    for statistic in &old.statistics {
        match new.statistic(&statistic.name) {
            None => {
                changes.add(&place(statistic), NARROWER, format!("stops: {}", statistic.title), "")
            }
            Some(other) => {
                let of_old = (&old.families[statistic.family], statistic);
                let of_new = (&new.families[other.family], other);
                compare(of_old, of_new, changes);
                let named =
                    |package, set: Option<PurposeSet>| set.map(|set| words::purposes(package, set));
                let (was, is) = (named(old, statistic.purposes), named(new, other.purposes));
                compare_purposes((was, is), &place(statistic), changes);
            }
        }
    }
}

fn place(statistic: &Statistic) -> String {
    format!("statistic {}", statistic.name)
}

fn starts((family, statistic): Of<'_>) -> String {
    format!(
        "starts: {}; {} every {}, by {}",
        statistic.title,
        words::and(&measures((family, statistic))),
        words::every(statistic.every, family),
        groupings((family, statistic)).join("; "),
    )
}

fn measures((family, statistic): Of<'_>) -> Vec<String> {
    let called = &family.contributor.called;
    // A quantile more is one number more.
    let each = |measure: &Measure| {
        let Measure::Quantiles { field, at } = measure else { return vec![measure.clone()] };
        let one = |rank: &f64| Measure::Quantiles { field: field.clone(), at: vec![*rank] };
        at.iter().map(one).collect()
    };
    let all = statistic.measures.iter().flat_map(each);
    all.map(|one| words::measure(&one, called)).collect()
}

/// Each in one order of its fields, so that the same grouping is the same text.
fn groupings((family, statistic): Of<'_>) -> Vec<String> {
    let sorted = |grouping: &Vec<usize>| {
        let mut names: Vec<&str> =
            grouping.iter().map(|index| family.fields[*index].name.as_str()).collect();
        names.sort_unstable();
        if names.is_empty() { "all".to_owned() } else { names.join(" and ") }
    };
    statistic.by.iter().map(sorted).collect()
}

/// None: every event counts, whatever it was taken for.
fn compare_purposes(
    (old, new): (Option<Vec<String>>, Option<Vec<String>>),
    place: &str,
    changes: &mut Changes,
) {
    let why = "events count that were taken for something else";
    match (old, new) {
        (None, None) => {}
        (Some(_), None) => changes.add(place, WIDER, "counts events whatever they are for", why),
        (None, Some(new)) => {
            let says = format!("counts events alone that are for {}", words::and(&new));
            changes.add(place, NARROWER, says, why);
        }
        (Some(old), Some(new)) => {
            let says = ("also counts events for", "no longer counts events for");
            changes.list(place, (&old, &new), says, WIDER, why);
        }
    }
}

fn compare(old: Of<'_>, new: Of<'_>, changes: &mut Changes) {
    let ((family, statistic), (other_family, other)) = (old, new);
    // Measures are told by their words, and the bounds of a number by the field that it is of.
    let Statistic {
        name: _,
        title,
        family: _,
        purposes: _,
        measures: _,
        every,
        by: _,
        clamp: _,
        mechanism,
    } = statistic;
    let place = &place(statistic);
    changes.wording(place, "its heading", Some(title), Some(&other.title));
    let families = (family.name.as_str(), other_family.name.as_str());
    changes.value(place, "what it is made of", families, None, "it tells of other events");
    let says = ("also tells", "no longer tells");
    let why = "readers see one number more";
    changes.list(place, (&measures(old), &measures(new)), says, WIDER, why);
    let says = ("is also told by", "is no longer told by");
    let why = "readers see smaller groups";
    changes.list(place, (&groupings(old), &groupings(new)), says, WIDER, why);
    let (was, is) =
        (every.length_ms(family.epoch_days), other.every.length_ms(other_family.epoch_days));
    changes.value(
        place,
        "its period",
        (&words::every(*every, family), &words::every(other.every, other_family)),
        was.partial_cmp(&is),
        "shorter periods say more exactly when",
    );
    compare_clamp(old, new, place, changes);
    let Mechanism::Threshold { min_contributors, rounding } = *mechanism;
    let Mechanism::Threshold { min_contributors: fewer, rounding: finer } = other.mechanism;
    changes.value(
        place,
        "the fewest contributors of a group",
        (&min_contributors.to_string(), &fewer.to_string()),
        min_contributors.partial_cmp(&fewer),
        "smaller groups are shown",
    );
    changes.value(
        place,
        "what counts are rounded to",
        (&rounding.to_string(), &finer.to_string()),
        rounding.partial_cmp(&finer),
        "counts are shown more exactly",
    );
}

/// Bounds of what both tell: what one of them does not tell, it does not bound either.
fn compare_clamp(
    (family, old): Of<'_>,
    (other_family, new): Of<'_>,
    place: &str,
    changes: &mut Changes,
) {
    let Clamp { events, sums } = &old.clamp;
    let why = "one contributor weighs more, and shows more";
    let text = |bound: Option<String>| bound.unwrap_or_else(|| "not bounded".to_owned());
    if tells_events(old) && tells_events(new) {
        let most = new.clamp.events;
        changes.value(
            place,
            "the most events of one contributor",
            (&text(events.map(|one| one.to_string())), &text(most.map(|one| one.to_string()))),
            limit(events.as_ref(), most.as_ref()),
            why,
        );
    }
    let named = |family: &Family, statistic: &Statistic, sums: &[(usize, f64)]| {
        let fields = statistic.measures.iter().filter_map(Measure::field);
        let bound = |field: usize| sums.iter().find(|(index, _)| *index == field);
        let found: std::collections::BTreeMap<String, Option<f64>> = fields
            .map(|field| (family.fields[field].name.clone(), bound(field).map(|(_, most)| *most)))
            .collect();
        found
    };
    let is = named(other_family, new, &new.clamp.sums);
    for (name, old) in named(family, old, sums) {
        let Some(new) = is.get(&name) else { continue };
        changes.value(
            place,
            &format!("the largest sum of {name} of one contributor"),
            (&text(old.map(|most| most.to_string())), &text(new.map(|most| most.to_string()))),
            limit(old.as_ref(), new.as_ref()),
            why,
        );
    }
}

/// Whether more is told than how many contributors there are.
fn tells_events(statistic: &Statistic) -> bool {
    !statistic.measures.iter().all(|measure| matches!(measure, Measure::Contributors { .. }))
}
