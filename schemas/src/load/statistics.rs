//! `statistics.toml`: what may leave.

use super::family::FamilyDraft;
use super::measure;
use super::period;
use super::table::{Item, Table};
use super::words::{NAME_FORM, is_name, nearest, span_text};
use crate::model::{
    Clamp, ContributorSource, Every, Family, Field, Kind, Measure, Mechanism, Purpose, Statistic,
    Transform,
};
use crate::time::DAY_MS;

/// Fewest contributors of a visible group, if nobody says otherwise.
const MIN_CONTRIBUTORS: u64 = 10;
/// With one contributor a group is a person; with two, each of them learns about the other. Below this no
/// package is accepted; whether two are enough is for the controller to argue.
const MIN_CONTRIBUTORS_MIN: u64 = 2;
/// Counts are rounded to it, if nobody says otherwise.
const ROUNDING: u64 = 5;
/// A number field with more values than this is no grouping: most groups would be hidden.
const GROUP_VALUES_MAX: f64 = 1000.0;

const STATISTIC: &str = "`[statistics.active_devices]` with `from`, `measures`, `every` and `by`";
const EVERY: [(&str, Every); 4] =
    [("hour", Every::Hour), ("day", Every::Day), ("week", Every::Week), ("epoch", Every::Epoch)];

/// What statistics take over that do not say otherwise.
#[derive(Clone, Copy)]
struct Protection {
    min_contributors: u64,
    rounding: u64,
}

/// What statistics can be computed from.
pub(super) struct Declared<'a> {
    pub(super) families: &'a [FamilyDraft<'a>],
    /// Names that several families have: of those nothing is said here.
    pub(super) shared: &'a [String],
    /// False where a family could not be read at all: a name which is not found may well be its.
    pub(super) all_read: bool,
    /// Declared purposes; none where `policy.toml` could not be read.
    pub(super) purposes: Option<&'a [Purpose]>,
}

/// Reads the file.
pub(super) fn read(table: &Table<'_>, declared: &Declared<'_>) -> Vec<Statistic> {
    let mut protection = Protection { min_contributors: MIN_CONTRIBUTORS, rounding: ROUNDING };
    if let Some(defaults) = table.get("defaults").and_then(|item| item.table("`[defaults]`")) {
        protection = read_protection(&defaults, protection);
        defaults.finish();
    }
    let statistics = table.get("statistics").and_then(|item| item.table(STATISTIC));
    table.finish();
    let entries = statistics.map(|table| table.entries()).unwrap_or_default();
    let mut found: Vec<Statistic> =
        entries.iter().filter_map(|item| read_statistic(item, declared, protection)).collect();
    found.sort_by(|left, right| left.name.cmp(&right.name));
    found
}

/// Mechanism, k and rounding: of one statistic, or of all that are silent.
fn read_protection(table: &Table<'_>, from: Protection) -> Protection {
    let mut protection = from;
    let gaussian = match table.get("mechanism").and_then(|item| Some((item.text(THRESHOLD)?, item)))
    {
        Some(("gaussian", item)) => {
            item.wrong(
                "mechanism `gaussian` (differential privacy, for publication) is not in this build",
                "`mechanism = \"threshold\"`, whose answers are for staff only, or leave the statistic out",
            );
            true
        }
        Some((_, item)) => {
            item.word(&["threshold", "gaussian"]);
            false
        }
        None => false,
    };
    if let Some(item) = table.get("rho")
        && !gaussian
    {
        item.file.wrong(
            &item.key_span,
            "`rho` belongs to mechanism `gaussian`, which is not in this build",
            "the statistic without it",
        );
    }
    let at_least = |item: Item<'_>, least: u64, example: &str| {
        let number = item.integer(example)?;
        let number = u64::try_from(number).ok().filter(|number| *number >= least);
        if number.is_none() {
            item.wrong(format!("`{}` is less than {least}", item.key), example);
        }
        number
    };
    if let Some(number) = table
        .get("min_contributors")
        .and_then(|item| at_least(item, MIN_CONTRIBUTORS_MIN, "`min_contributors = 10`"))
    {
        protection.min_contributors = number;
    }
    if let Some(number) =
        table.get("rounding").and_then(|item| at_least(item, 1, "`rounding = 5`, or 1 for none"))
    {
        protection.rounding = number;
    }
    protection
}

const THRESHOLD: &str = "`mechanism = \"threshold\"`";

fn read_statistic(
    item: &Item<'_>,
    declared: &Declared<'_>,
    defaults: Protection,
) -> Option<Statistic> {
    if !is_name(item.key) {
        let message = format!("`{}` cannot name a statistic", item.key);
        item.file.wrong(&item.key_span, message, NAME_FORM);
    }
    let table = item.table(STATISTIC)?;
    table.know(&["title", "from", "purposes", "measures", "every", "by", "clamp"]);
    let protection = read_protection(&table, defaults);
    table.finish();
    let title = table.get("title").map(|title| title.text("`title = \"Active devices\"`"));
    let what = format!("statistic `{}`", item.key);
    let from = table.need("from", &what, "`from = \"..\"`, the name of a family");
    let every =
        table.need("every", &what, "`every = \"hour\"`, `\"day\"`, `\"week\"` or `\"epoch\"`");
    let measures = table.need("measures", &what, measure::MEASURES);
    let family = find_family(&from?, declared)?;
    let draft = &declared.families[family];
    let every = every.and_then(|item| read_every(&item, draft));
    let clamp = table.get("clamp").and_then(|item| read_clamp(&item, draft)).unwrap_or_default();
    let measures = measures.map(|item| measure::read(&item, draft, &clamp)).unwrap_or_default();
    let by =
        table.get("by").map_or_else(|| vec![Vec::new()], |item| read_by(&item, draft, &measures));
    let purposes = table.get("purposes");
    let purposes = purposes.map(|item| super::field::read_purposes(&item, declared.purposes));
    let every = every?;
    if let Some(all) = declared.purposes
        && draft.timed
    {
        period::check(item, every, &draft.family, all, (&measures, &by));
    }
    Some(Statistic {
        name: item.key.to_owned(),
        title: title.flatten().unwrap_or(item.key).to_owned(),
        family,
        purposes,
        measures,
        every,
        by,
        clamp,
        mechanism: Mechanism::Threshold {
            min_contributors: protection.min_contributors,
            rounding: protection.rounding,
        },
    })
}

fn find_family(from: &Item<'_>, declared: &Declared<'_>) -> Option<usize> {
    let families = declared.families;
    let text = from.text("`from = \"..\"`, the name of a family")?;
    let found = families.iter().position(|draft| draft.family.name == text);
    if declared.shared.iter().any(|shared| shared == text) {
        return None;
    }
    if found.is_none() && declared.all_read {
        let known: Vec<&str> = families.iter().map(|draft| draft.family.name.as_str()).collect();
        from.wrong(format!("unknown family `{text}`"), nearest(text, &known));
    }
    found
}

fn read_every(item: &Item<'_>, draft: &FamilyDraft<'_>) -> Option<Every> {
    let every = EVERY[item.word(&EVERY.map(|(word, _)| word))?].1;
    let Family { name, epoch_days, grain_ms, .. } = &draft.family;
    let length_ms = every.length_ms(*epoch_days);
    if !draft.timed {
        return Some(every);
    }
    if length_ms < *grain_ms {
        item.wrong(
            format!(
                "every {} is shorter than the grain of `{name}`, {}",
                every.name(),
                span_text(*grain_ms)
            ),
            "`every = \"day\"`, or a finer `grain` of the family",
        );
    } else if length_ms > i64::from(*epoch_days) * DAY_MS {
        item.wrong(
            format!(
                "every {} is longer than the epoch of `{name}`, {}: nobody can be told apart that long",
                every.name(),
                span_text(i64::from(*epoch_days) * DAY_MS)
            ),
            "`every = \"day\"`, or a longer `epoch` of the family where there may be one",
        );
    } else if every == Every::Week && epoch_days % 7 != 0 {
        item.wrong(
            format!("weeks do not fit into the epoch of `{name}`, {epoch_days} days"),
            format!("`every = \"epoch\"`, or an epoch of {} days", (epoch_days / 7).max(1) * 7),
        );
    }
    Some(every)
}

fn read_clamp(item: &Item<'_>, draft: &FamilyDraft<'_>) -> Option<Clamp> {
    let example = "`clamp = { events = 60 }` or `clamp = { sums = { duration = 600_000 } }`, of one contributor in one period";
    let table = item.table(example)?;
    let (events, sums) = (table.get("events"), table.get("sums"));
    table.finish();
    let events = events.and_then(|item| {
        let number = u64::try_from(item.integer(example)?).ok().filter(|number| *number > 0);
        if number.is_none() {
            item.wrong("a clamp is at least 1", example);
        }
        number
    });
    let mut clamp = Clamp { events, sums: Vec::new() };
    let sums = sums.and_then(|item| item.table(example)).map(|table| table.entries());
    for item in sums.unwrap_or_default() {
        let Some(index) = measure::find_number(&item.field_name(), draft) else { continue };
        match item.number(example).filter(|largest| *largest > 0.0) {
            Some(largest) => clamp.sums.push((index, measure::at_rest(draft, index, largest))),
            None => item.wrong("a clamp is positive", example),
        }
    }
    Some(clamp)
}

fn read_by(item: &Item<'_>, draft: &FamilyDraft<'_>, measures: &[Measure]) -> Vec<Vec<usize>> {
    let example = "`by = [[], [\"country\"]]`, a list of groupings";
    let mut groupings: Vec<Vec<usize>> = Vec::new();
    let columns: Vec<String> = measures.iter().flat_map(Measure::columns).collect();
    let items = item.array(example).unwrap_or_default();
    if items.is_empty() && item.as_array().is_some() {
        item.wrong("there is no grouping", example);
    }
    for list in items {
        let Some(words) = list.array(example) else { continue };
        let mut grouping = Vec::new();
        for word in words {
            let Some(text) = word.text(example) else { continue };
            let Some(index) = measure::find(&word, text, draft) else { continue };
            if grouping.contains(&index) {
                word.wrong(format!("`{text}` is in the grouping twice"), "each field once");
            } else if columns.iter().any(|column| column == text) {
                word.wrong(
                    format!("`{text}` would name two columns"),
                    "another name for the field",
                );
            } else if draft.sound[index] {
                check_grouping(&word, &draft.family, index);
            }
            grouping.push(index);
        }
        grouping.sort_unstable();
        if groupings.contains(&grouping) {
            list.wrong("the grouping is declared twice", "each grouping once");
        }
        groupings.push(grouping);
    }
    groupings
}

/// Reports fields that would make a group of each contributor or of each event.
fn check_grouping(item: &Item<'_>, family: &Family, index: usize) {
    let field = &family.fields[index];
    let name = &field.name;
    let own = family.contributor.source == ContributorSource::Field(index);
    if own || matches!(field.transform, Transform::Pseudonym) {
        item.wrong(
            format!("`{name}` is a pseudonym: each group would be one contributor"),
            "a grouping without it",
        );
    } else if matches!(field.transform, Transform::Drop) {
        item.wrong(format!("`{name}` is dropped, and no group can be made of it"), "another field");
    } else if matches!(field.kind, Kind::Timestamp) {
        item.wrong(
            format!("`{name}` is a point in time: groups by it would single out events"),
            "`every`, which groups by periods",
        );
    } else if let Some(values) = count_values(field).filter(|count| *count > GROUP_VALUES_MAX) {
        let values = if values.is_finite() { format!("{values:.0}") } else { "endless".to_owned() };
        item.wrong(
            format!(
                "`{name}` has {values} values, too many to group by (at most {GROUP_VALUES_MAX})"
            ),
            "a wider `transform = { bucket = .. }` on the field, or `quantiles` of it",
        );
    }
}

/// How many values a number field can have; none for other fields.
#[expect(clippy::cast_precision_loss, reason = "ranges are within 2^53")]
fn count_values(field: &Field) -> Option<f64> {
    let width = if let Transform::Bucket(width) = field.transform { width } else { 1.0 };
    match field.kind {
        Kind::Integer { min, max } => Some((max - min) as f64 / width + 1.0),
        Kind::Duration { unit_ms, min, max } => {
            Some((max - min) as f64 * unit_ms as f64 / width.max(unit_ms as f64) + 1.0)
        }
        Kind::Float { .. } => Some(f64::INFINITY),
        Kind::String { .. }
        | Kind::Enum { .. }
        | Kind::Boolean
        | Kind::Timestamp
        | Kind::Version
        | Kind::Url { .. } => None,
    }
}
