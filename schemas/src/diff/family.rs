//! Kinds of event: whom they count, for how long, and how finely.

use std::cmp::Ordering;

use super::{Changes, NARROWER, NEITHER, Order, WIDER, field, steps};
use crate::load::words::span_text;
use crate::model::{ContributorSource, Family, Flags, Package};
use crate::words::{self, and};

/// Families by name.
pub(super) fn compare_all(old: &Package, new: &Package, changes: &mut Changes) {
    for family in &new.families {
        if old.family(&family.name).is_none() {
            changes.add(&place(family), WIDER, starts(new, family), "events that were not taken");
        }
    }
    for family in &old.families {
        match new.family(&family.name) {
            None => changes.add(&place(family), NARROWER, "stops to be collected", ""),
            Some((_, other)) => compare((old, family), (new, other), changes),
        }
    }
}

fn place(family: &Family) -> String {
    format!("family {}", family.name)
}

fn starts(package: &Package, family: &Family) -> String {
    let about = family.about.as_deref().unwrap_or("events of a new kind");
    let fields: Vec<&str> = family.fields.iter().map(|field| field.about.as_str()).collect();
    format!(
        "starts to be collected ({about}): {}; of {}, for {}, for up to {}",
        and(&fields),
        family.contributor.called.replace('_', " "),
        and(&words::purposes(package, family.purposes)),
        span_text(words::gone_after_ms(family)),
    )
}

fn compare(old: (&Package, &Family), new: (&Package, &Family), changes: &mut Changes) {
    let ((_, family), (_, other)) = (old, new);
    let Family {
        name: _,
        about,
        contributor,
        epoch_days,
        kept_source,
        grain_ms,
        late_ms,
        dedupe_window_ms,
        purposes: _,
        flags,
        fields: _,
    } = family;
    let place = &place(family);
    changes.wording(place, "what an event is", about.as_deref(), other.about.as_deref());
    let crate::model::Contributor { source: _, called } = contributor;
    changes.value(
        place,
        "how contributors are told apart",
        (&told(family), &told(other)),
        None,
        "others are told apart, or by something else",
    );
    changes.value(
        place,
        "what contributors are called",
        (called, &other.contributor.called),
        NEITHER,
        "",
    );
    let mut time = |what: &str, old: i64, new: i64, order: Order, why: &'static str| {
        changes.value(place, what, (&span_text(old), &span_text(new)), order, why);
    };
    time(
        "how long a pseudonym holds",
        words::epoch_ms(family),
        words::epoch_ms(other),
        other.epoch_days.partial_cmp(epoch_days),
        "one can be followed for longer, and rows live longer",
    );
    #[expect(clippy::cast_precision_loss, reason = "a grain is at most a day of milliseconds")]
    let grain = steps(*grain_ms as f64, other.grain_ms as f64);
    let why = "times say more exactly when somebody did something";
    time("what times are rounded to", *grain_ms, other.grain_ms, grain, why);
    // What comes later than that is not turned away, but gets the time at which it came.
    let why = "an event keeps its own time for longer, and periods wait for it";
    time(
        "how late an event counts",
        *late_ms,
        other.late_ms,
        other.late_ms.partial_cmp(late_ms),
        why,
    );
    time(
        "how long a second copy is known",
        *dedupe_window_ms,
        other.dedupe_window_ms,
        other.dedupe_window_ms.partial_cmp(dedupe_window_ms),
        "marks of events are kept longer",
    );
    let of_kept = "where its retention is stated";
    changes.value(place, of_kept, (kept_source.name(), other.kept_source.name()), NEITHER, "");
    compare_purposes(old, new, place, changes);
    compare_flags((family, flags), other, place, changes);
    field::compare_all(old, new, changes);
}

fn told(family: &Family) -> String {
    match family.contributor.source {
        ContributorSource::Field(index) => format!("by {}", family.fields[index].name),
        ContributorSource::Visit => "by site, address and browser".to_owned(),
    }
}

fn compare_purposes(
    (old, family): (&Package, &Family),
    (new, other): (&Package, &Family),
    place: &str,
    changes: &mut Changes,
) {
    let of = [words::purposes(old, family.purposes), words::purposes(new, other.purposes)];
    let words = ("its events also serve the purpose", "its events no longer serve the purpose");
    changes.list(
        place,
        (&of[0], &of[1]),
        words,
        WIDER,
        "events serve a purpose that they did not serve",
    );
}

fn compare_flags(
    (family, flags): (&Family, &Flags),
    other: &Family,
    place: &str,
    changes: &mut Changes,
) {
    let Flags { age, location } = flags;
    let name = |family: &Family, index: Option<usize>| {
        index.map(|index| family.fields[index].name.clone())
    };
    let flags = [
        (
            "age",
            "refuses events of children by",
            age,
            other.flags.age,
            "events of children are taken",
        ),
        (
            "location",
            "leaves out places by",
            location,
            other.flags.location,
            "places are kept of those who switched them off",
        ),
    ];
    for (what, does, old, new, why) in flags {
        match (name(family, *old), name(other, new)) {
            (None, None) => {}
            (Some(old), None) => changes.add(place, WIDER, format!("no longer {does} {old}"), why),
            (None, Some(new)) => changes.add(place, NARROWER, format!("{does} {new}"), why),
            (Some(old), Some(new)) => {
                let order = if old == new { Some(Ordering::Equal) } else { None };
                changes.value(place, &format!("the flag of {what}"), (&old, &new), order, why);
            }
        }
    }
}
