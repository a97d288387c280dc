//! One field: what is taken, what is left of it, what for, and until when.

use std::cmp::Ordering;

use super::{Changes, NARROWER, NEITHER, Order, WIDER, kind, limit, steps};
use crate::model::{Category, Family, Field, Package, RouteSegment, Routes, Transform, Truncate};
use crate::words;

type Of<'a> = (&'a Package, &'a Family);

/// Fields by name.
pub(super) fn compare_all(old: Of<'_>, new: Of<'_>, changes: &mut Changes) {
    let ((_, family), (_, other)) = (old, new);
    for field in &other.fields {
        if family.field(&field.name).is_none() {
            let order = presence(other, field);
            changes.add(
                &place(other, field),
                order,
                starts(new, field),
                "a value that was not taken",
            );
        }
    }
    for field in &family.fields {
        match other.field(&field.name) {
            None => {
                let order = presence(family, field).map(Ordering::reverse);
                changes.add(&place(family, field), order, format!("stops: {}", field.about), "");
            }
            Some((_, now)) => compare((old, field), (new, now), changes),
        }
    }
}

fn place(family: &Family, field: &Field) -> String {
    format!("{}.{}", family.name, field.name)
}

/// A flag is read and protects; whatever else is sent lies at least sealed in the log, even if it is dropped.
fn presence(family: &Family, field: &Field) -> Order {
    let is_flag =
        |index: Option<usize>| index.is_some_and(|index| family.fields[index].name == field.name);
    if is_flag(family.flags.age) || is_flag(family.flags.location) { NEITHER } else { WIDER }
}

fn starts((package, family): Of<'_>, field: &Field) -> String {
    let kept = words::kept(family, field).unwrap_or_else(|| "used, not stored".to_owned());
    let purposes = words::and(&words::purposes(package, field.purposes));
    format!("starts: {} ({kept}), for {purposes}", field.about)
}

fn compare(
    ((package, family), old): (Of<'_>, &Field),
    ((new_package, new_family), new): (Of<'_>, &Field),
    changes: &mut Changes,
) {
    let Field { name: _, about, category, source: _, kind, transform, purposes, required, expires } =
        old;
    let place = &place(family, old);
    changes.wording(place, "what it is", Some(about), Some(&new.about));
    compare_category(*category, (new_family, new), place, changes);
    let sources = (words::source(family, old), words::source(new_family, new));
    changes.value(
        place,
        "where it comes from",
        (&sources.0, &sources.1),
        None,
        "another value is taken",
    );
    for (order, says, why) in kind::compare(kind, &new.kind) {
        changes.add(place, order, says, why);
    }
    if sources.0 == sources.1 {
        let none = || "nothing".to_owned();
        let (was, is) = (
            words::kept(family, old).unwrap_or_else(none),
            words::kept(new_family, new).unwrap_or_else(none),
        );
        match (transform, &new.transform) {
            (Transform::Path(old), Transform::Path(new)) => {
                compare_routes(old, new, place, changes)
            }
            // The epoch of a pseudonym and the values of a list are told by themselves.
            (Transform::Pseudonym, Transform::Pseudonym) | (Transform::Keep, Transform::Keep) => {}
            (old, new) => {
                let order = finer(old, new);
                changes.value(
                    place,
                    "what is kept",
                    (&was, &is),
                    order,
                    "a finer value tells more",
                );
            }
        }
    }
    let of = [words::purposes(package, *purposes), words::purposes(new_package, new.purposes)];
    let says = ("also serves the purpose", "no longer serves the purpose");
    changes.list(place, (&of[0], &of[1]), says, WIDER, "it serves a purpose that it did not serve");
    match (required, new.required) {
        (false, true) => {
            changes.add(place, WIDER, "an event without it is refused", "nobody can leave it out")
        }
        (true, false) => changes.add(place, NARROWER, "can be left out", ""),
        (true, true) | (false, false) => {}
    }
    let day = |end: Option<crate::Millis>| {
        end.map_or_else(|| "never".to_owned(), |end| end.to_string()[..10].to_owned())
    };
    let order = limit(expires.as_ref(), new.expires.as_ref());
    let why = "it is taken for longer";
    changes.value(
        place,
        "the day from which it is dropped",
        (&day(*expires), &day(new.expires)),
        order,
        why,
    );
}

/// Words, but where a flag leaves out what is a place.
fn compare_category(
    old: Category,
    (family, new): (&Family, &Field),
    place: &str,
    changes: &mut Changes,
) {
    let is_place = |category: Category| category == Category::Location;
    let order = match (family.flags.location, is_place(old), is_place(new.category)) {
        (Some(_), true, false) => WIDER,
        (Some(_), false, true) => NARROWER,
        (None, _, _) | (Some(_), true, true) | (Some(_), false, false) => NEITHER,
    };
    let why = "it is kept although places are switched off";
    changes.value(place, "what it is about", (old.name(), new.category.name()), order, why);
}

/// What is left of the same value.
fn finer(old: &Transform, new: &Transform) -> Order {
    match (old, new) {
        (Transform::Drop, Transform::Drop) => NEITHER,
        (Transform::Drop, _) | (_, Transform::Keep) => WIDER,
        (_, Transform::Drop) | (Transform::Keep, _) => NARROWER,
        (Transform::Bucket(old), Transform::Bucket(new)) => steps(*old, *new),
        (Transform::Truncate(old), Transform::Truncate(new)) => truncated(*old, *new),
        _ => None,
    }
}

fn truncated(old: Truncate, new: Truncate) -> Order {
    match (old, new) {
        (Truncate::Major, Truncate::Major) | (Truncate::MajorMinor, Truncate::MajorMinor) => {
            NEITHER
        }
        (Truncate::Major, Truncate::MajorMinor) => WIDER,
        (Truncate::MajorMinor, Truncate::Major) => NARROWER,
        #[expect(clippy::cast_precision_loss, reason = "at most a day of milliseconds")]
        (Truncate::Time(old), Truncate::Time(new)) => steps(old as f64, new as f64),
        (Truncate::Time(_), _) | (_, Truncate::Time(_)) => None,
    }
}

/// A route hides what varies, so one more is narrower, unless it tells one path from others that a route made alike.
fn compare_routes(old: &Routes, new: &Routes, place: &str, changes: &mut Changes) {
    let Routes { templates } = old;
    let added = missing(&new.templates, templates);
    let removed = missing(templates, &new.templates);
    for route in added {
        let told = templates.iter().any(|other| generalises(other, route));
        let order = if told { WIDER } else { NARROWER };
        let says = format!("paths like {} are kept as that", text(route));
        changes.add(place, order, says, "a path is told from others that were alike");
    }
    for route in removed {
        let told = new.templates.iter().any(|other| generalises(other, route));
        let order = if told { NARROWER } else { WIDER };
        let says = format!("paths like {} are not kept as that any more", text(route));
        changes.add(place, order, says, "what varies in a path is tidied by rule alone");
    }
    // The first that fits wins: in another order the same path may be told more exactly.
    let same = templates.len() == new.templates.len()
        && missing(templates, &new.templates).is_empty()
        && missing(&new.templates, templates).is_empty();
    let ordered = templates.iter().zip(&new.templates).all(|(one, other)| alike(one, other));
    if same && !ordered {
        changes.add(
            place,
            None,
            "routes are tried in another order",
            "another route may fit first",
        );
    }
}

type Route = [RouteSegment];

fn missing<'r>(of: &'r [Vec<RouteSegment>], within: &[Vec<RouteSegment>]) -> Vec<&'r Route> {
    let found = of.iter().filter(|route| !within.iter().any(|other| alike(route, other)));
    found.map(Vec::as_slice).collect()
}

/// The same but for the names of parameters.
fn alike(one: &Route, other: &Route) -> bool {
    covers(one, other) && covers(other, one)
}

/// Whether all that fits `route` fits `general` too, and more does.
fn generalises(general: &Route, route: &Route) -> bool {
    covers(general, route) && !covers(route, general)
}

fn covers(general: &Route, route: &Route) -> bool {
    general.len() == route.len()
        && general.iter().zip(route).all(|(one, other)| match (one, other) {
            (RouteSegment::Parameter(_), _) => true,
            (RouteSegment::Literal(one), RouteSegment::Literal(other)) => one == other,
            (RouteSegment::Literal(_), RouteSegment::Parameter(_)) => false,
        })
}

fn text(route: &Route) -> String {
    let segments = route.iter().map(|segment| match segment {
        RouteSegment::Literal(literal) => format!("/{literal}"),
        RouteSegment::Parameter(name) => format!("/:{name}"),
    });
    let text: String = segments.collect();
    if text.is_empty() { "/".to_owned() } else { text }
}
