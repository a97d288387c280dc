//! What a change of a package starts and stops: to collect, for what, for whom, for how long, and for whose eyes.
//!
//! Input: two checked packages. Output: a [`Diff`], a list of changes in plain words, each judged by itself. A change is
//! **wider** if under the new package somebody could learn more, keep it longer, or say less against it; **narrower** if
//! less; **neither** if it is about words alone. What cannot be compared counts as wider, and says so: who reviews a
//! change must not miss one because we were not able to judge it. For the same reason nothing is set off against
//! anything else: a change that widens one thing and narrows ten is wider.
//!
//! The model is taken apart without `..`, so that whatever a package learns to say does not compile until it is judged.

mod family;
mod field;
mod kind;
mod pattern;
mod policy;
mod purpose;
mod recipient;
mod statistic;

use std::cmp::Ordering;
use std::fmt::Write;

use serde::Serialize;

use crate::model::Package;

/// The new against the old: `Greater` is wider, none cannot be compared.
pub(crate) type Order = Option<Ordering>;

/// Wider.
const WIDER: Order = Some(Ordering::Greater);
/// Narrower.
const NARROWER: Order = Some(Ordering::Less);
/// Neither.
const NEITHER: Order = Some(Ordering::Equal);

/// What a change does to those who are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// More is collected, kept longer, seen by more, or can be refused less.
    Wider,
    /// Not to be judged, hence taken for wider.
    Incomparable,
    /// Less.
    Narrower,
    /// Other words for the same.
    Neither,
}

impl Direction {
    /// Whether somebody has to look at it.
    #[must_use]
    pub fn is_wider(self) -> bool {
        matches!(self, Self::Wider | Self::Incomparable)
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it does.
    pub direction: Direction,
    /// Where it is: `purpose website`, `web.country`, `statistic visitors`.
    pub place: String,
    /// What is different, in plain words.
    pub says: String,
    /// Why it is wider; empty if it is not.
    pub why: &'static str,
}

/// Which package it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Version of the published policy.
    pub version: String,
    /// Fingerprint, hexadecimal.
    pub digest: String,
}

/// All differences of two packages. As JSON it is what `quorate policy diff --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What the whole change does: [`Direction::Wider`] if any does, else narrower if any does.
    pub result: Direction,
    /// Before.
    pub old: Side,
    /// After.
    pub new: Side,
    /// Everything that differs.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Compares two packages.
    #[must_use]
    pub fn between(old: &Package, new: &Package) -> Self {
        let mut changes = Changes::default();
        policy::compare(old, new, &mut changes);
        let changes = changes.found;
        let any = |wanted: fn(&Change) -> bool| changes.iter().any(wanted);
        let result = if any(|change| change.direction.is_wider()) {
            Direction::Wider
        } else if any(|change| change.direction == Direction::Narrower) {
            Direction::Narrower
        } else {
            Direction::Neither
        };
        let side = |package: &Package| Side {
            version: package.version.clone(),
            digest: package.digest.to_string(),
        };
        Self { result, old: side(old), new: side(new), changes }
    }

    /// Lines of text: what is wider first.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "From policy {} ({})\nto policy   {} ({})\n",
            visible(&self.old.version),
            short(&self.old.digest),
            visible(&self.new.version),
            short(&self.new.digest)
        );
        let part = |wanted: fn(Direction) -> bool| -> Vec<&Change> {
            self.changes.iter().filter(|change| wanted(change.direction)).collect()
        };
        let parts = [
            ("Wider", part(Direction::is_wider)),
            ("Narrower", part(|direction| direction == Direction::Narrower)),
            ("Neither", part(|direction| direction == Direction::Neither)),
        ];
        for (title, changes) in &parts {
            if changes.is_empty() {
                continue;
            }
            write_line(&mut text, format_args!("\n{title}"));
            for Change { direction, place, says, why } in changes {
                write_line(&mut text, format_args!("  {place}: {says}"));
                if *direction == Direction::Incomparable {
                    write_line(
                        &mut text,
                        format_args!("    why: {why}; cannot be compared, so it counts as wider"),
                    );
                } else if !why.is_empty() {
                    write_line(&mut text, format_args!("    why: {why}"));
                }
            }
        }
        let [wider, narrower, neither] = parts.map(|(_, changes)| changes.len());
        let result = match self.result {
            Direction::Wider | Direction::Incomparable => "The change is wider",
            Direction::Narrower => "The change is narrower",
            Direction::Neither if self.changes.is_empty() => "Nothing changes",
            Direction::Neither => "The change is neither wider nor narrower",
        };
        write_line(
            &mut text,
            format_args!("\n{result}: {wider} wider, {narrower} narrower, {neither} neither."),
        );
        text
    }
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string never fails");
}

/// On one line, whatever a package holds.
fn visible(text: &str) -> String {
    text.chars().map(crate::words::visible).collect()
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Differences as they are found.
#[derive(Default)]
struct Changes {
    found: Vec<Change>,
}

impl Changes {
    /// One difference; `why` is said where it is wider.
    fn add(&mut self, place: &str, order: Order, says: impl Into<String>, why: &'static str) {
        let direction = match order {
            Some(Ordering::Greater) => Direction::Wider,
            Some(Ordering::Less) => Direction::Narrower,
            Some(Ordering::Equal) => Direction::Neither,
            None => Direction::Incomparable,
        };
        let why = if direction.is_wider() { why } else { "" };
        let says = visible(&says.into());
        self.found.push(Change { direction, place: place.to_owned(), says, why });
    }

    /// `WHAT is NEW, was OLD`, unless the two are the same.
    fn value(
        &mut self,
        place: &str,
        what: &str,
        (old, new): (&str, &str),
        order: Order,
        why: &'static str,
    ) {
        if old != new {
            self.add(place, order, format!("{what} is {new}, was {old}"), why);
        }
    }

    /// Words alone, which change nothing that is enforced.
    fn wording(&mut self, place: &str, what: &str, old: Option<&str>, new: Option<&str>) {
        if old != new {
            self.add(place, NEITHER, format!("{what} is worded in another way"), "");
        }
    }

    /// What of two lists came and went. `came` is the order of one more.
    fn list(
        &mut self,
        place: &str,
        (old, new): (&[String], &[String]),
        (starts, stops): (&str, &str),
        came: Order,
        why: &'static str,
    ) {
        for word in new.iter().filter(|word| !old.contains(word)) {
            self.add(place, came, format!("{starts} {word}"), why);
        }
        for word in old.iter().filter(|word| !new.contains(word)) {
            self.add(place, came.map(Ordering::reverse), format!("{stops} {word}"), why);
        }
    }
}

/// A limit, of which none is as wide as can be.
fn limit<T: PartialOrd>(old: Option<&T>, new: Option<&T>) -> Order {
    match (old, new) {
        (None, None) => NEITHER,
        (None, Some(_)) => NARROWER,
        (Some(_), None) => WIDER,
        (Some(old), Some(new)) => new.partial_cmp(old),
    }
}

/// Rounding to steps: a multiple tells less; steps that do not fit into each other cannot be compared.
fn steps(old: f64, new: f64) -> Order {
    let fits = |small: f64, large: f64| small > 0.0 && (large / small).fract() == 0.0;
    match (fits(old, new), fits(new, old)) {
        (true, true) => NEITHER,
        (true, false) => NARROWER,
        (false, true) => WIDER,
        (false, false) => None,
    }
}

/// An inclusive range.
fn range<T: PartialOrd>(old: (T, T), new: (T, T)) -> Order {
    let (below, above) = (new.0 < old.0, new.1 > old.1);
    let (inside_below, inside_above) = (new.0 > old.0, new.1 < old.1);
    match (below || above, inside_below || inside_above) {
        (false, false) => NEITHER,
        (false, true) => NARROWER,
        // A range that is moved takes what it did not take before.
        (true, false | true) => WIDER,
    }
}

/// Days for people.
fn days(count: u32) -> String {
    format!("{count} day{}", if count == 1 { "" } else { "s" })
}

/// A limit in days for people.
fn days_or(count: Option<u32>, none: &str) -> String {
    count.map_or_else(|| none.to_owned(), days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_wider_where_they_are_finer_and_fit() {
        assert_eq!(steps(100.0, 50.0), WIDER);
        assert_eq!(steps(0.5, 1.0), NARROWER);
        assert_eq!(steps(10.0, 10.0), NEITHER);
        assert_eq!(steps(60.0, 90.0), None);
    }

    #[test]
    fn no_limit_is_the_widest() {
        assert_eq!(limit(None, Some(&1)), NARROWER);
        assert_eq!(limit(Some(&1), None), WIDER);
        assert_eq!(limit(Some(&1), Some(&2)), WIDER);
        assert_eq!(limit::<u32>(None, None), NEITHER);
    }

    #[test]
    fn a_range_is_wider_where_it_takes_more() {
        assert_eq!(range((0, 10), (0, 11)), WIDER);
        assert_eq!(range((0, 10), (1, 10)), NARROWER);
        assert_eq!(range((0, 10), (5, 15)), WIDER);
        assert_eq!(range((0.0, 10.0), (0.0, 10.0)), NEITHER);
    }
}
