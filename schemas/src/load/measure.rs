//! Measures of a statistic.

use super::family::FamilyDraft;
use super::table::Item;
use super::types;
use super::words::{list, nearest};
use crate::model::{Clamp, Condition, ContributorSource, Kind, Measure, NumberField, Transform};

pub(super) const MEASURES: &str = "`measures = [\"events\", { mean = \"duration\" }]`";
const FORMS: &str = "`{ sum = \"..\" }`, `{ mean = \"..\" }`, `{ share = { error = \"present\" } }` or \
                     `{ quantiles = \"..\", at = [0.5, 0.95] }`";
const SHARE: &str =
    "`{ share = { error = \"present\" } }`, `\"absent\"`, a value or a list of values";
const AT: &str = "`at = [0.5, 0.95]`, ranks of whole percents between 0 and 1";
/// Steps of a quantile's histogram where the field declares no bucket.
const HISTOGRAM_STEPS: f64 = 200.0;
/// Most steps of a histogram: what one group of one period may cost in memory.
const HISTOGRAM_STEPS_MAX: f64 = 100_000.0;

/// Reads `measures`.
pub(super) fn read(item: &Item<'_>, draft: &FamilyDraft<'_>, clamp: &Clamp) -> Vec<Measure> {
    let items = item.array(MEASURES).unwrap_or_default();
    if items.is_empty() && item.as_array().is_some() {
        item.wrong("nothing is measured", MEASURES);
    }
    let mut columns: Vec<String> = Vec::new();
    let mut measures = Vec::new();
    for item in &items {
        let measure = match item.as_table() {
            Some(_) => read_table(item, draft, clamp),
            None => read_word(item, draft),
        };
        let Some(measure) = measure else { continue };
        for column in measure.columns() {
            if columns.contains(&column) {
                item.wrong(format!("column `{column}` is measured twice"), "each measure once");
            }
            columns.push(column);
        }
        measures.push(measure);
    }
    measures
}

fn read_word(item: &Item<'_>, draft: &FamilyDraft<'_>) -> Option<Measure> {
    let called = draft.family.contributor.called.as_str();
    let text = item.text(MEASURES)?;
    if text == called {
        return Some(Measure::Contributors { called: called.to_owned() });
    }
    match text {
        "events" => Some(Measure::Events),
        "unattributed_events" => Some(Measure::UnattributedEvents),
        _ => {
            if draft.timed {
                let near = nearest(text, &[called, "events", "unattributed_events"]);
                item.wrong(format!("unknown measure `{text}`"), format!("{near}, or {FORMS}"));
            }
            None
        }
    }
}

fn read_table(item: &Item<'_>, draft: &FamilyDraft<'_>, clamp: &Clamp) -> Option<Measure> {
    let table = item.table(FORMS)?;
    let (sum, mean, share) = (table.get("sum"), table.get("mean"), table.get("share"));
    let (quantiles, at) = (table.get("quantiles"), table.get("at"));
    table.finish();
    let measure = match (&sum, &mean, &share, &quantiles, &at) {
        (Some(name), None, None, None, None) => Measure::Sum(number(name, draft)?),
        (None, Some(name), None, None, None) => Measure::Mean(number(name, draft)?),
        (None, None, Some(share), None, None) => return read_share(share, draft),
        (None, None, None, Some(name), Some(at)) => {
            let field = number(name, draft);
            let at = read_ranks(at)?;
            Measure::Quantiles { field: stepped(name, field?)?, at }
        }
        (None, None, None, Some(_), None) => {
            item.wrong("`quantiles` does not say which", AT);
            return None;
        }
        _ => {
            item.wrong("a measure measures exactly one thing", FORMS);
            return None;
        }
    };
    check_clamp(item, &measure, clamp);
    Some(measure)
}

/// What one contributor may add must be bounded, or one device could move the number where it likes.
fn check_clamp(item: &Item<'_>, measure: &Measure, clamp: &Clamp) {
    let (field, sums_count) = match measure {
        Measure::Sum(field) | Measure::Mean(field) => (field, true),
        Measure::Quantiles { field, .. } => (field, false),
        Measure::Contributors { .. }
        | Measure::Events
        | Measure::UnattributedEvents
        | Measure::Share { .. } => return,
    };
    let summed = clamp.sums.iter().any(|(index, _)| *index == field.field);
    if clamp.events.is_none() && !(sums_count && summed) {
        item.wrong(
            format!("nothing bounds what one contributor adds to `{}`", field.name),
            "`clamp = { events = 60 }` in the statistic as well, the most events of one contributor in one period",
        );
    }
}

/// The index of the field called `text`, or a diagnostic at `item`.
pub(super) fn find(item: &Item<'_>, text: &str, draft: &FamilyDraft<'_>) -> Option<usize> {
    let found = draft.family.field(text).map(|(index, _)| index);
    if found.is_none() {
        let known: Vec<&str> =
            draft.family.fields.iter().map(|field| field.name.as_str()).collect();
        let message = format!("family `{}` has no field `{text}`", draft.family.name);
        item.wrong(message, nearest(text, &known));
    }
    found
}

/// The index of the number field that `item` names.
pub(super) fn find_number(item: &Item<'_>, draft: &FamilyDraft<'_>) -> Option<usize> {
    let text = item.name("the name of a number field")?;
    let index = find(item, text, draft)?;
    if !draft.sound[index] {
        return None;
    }
    let field = &draft.family.fields[index];
    let is_number =
        matches!(field.kind, Kind::Integer { .. } | Kind::Float { .. } | Kind::Duration { .. });
    if !is_number {
        let numbers: Vec<&str> = (draft.family.fields.iter())
            .filter(|field| bounds(&field.kind).is_some())
            .map(|field| field.name.as_str())
            .collect();
        let instead =
            if numbers.is_empty() { "another measure".to_owned() } else { list(&numbers) };
        item.wrong(format!("`{text}` is no number, but {}", types::name(&field.kind)), instead);
        return None;
    }
    if matches!(field.transform, Transform::Drop) {
        item.wrong(
            format!("`{text}` is dropped, and nothing of it can be measured"),
            "another field",
        );
        return None;
    }
    Some(index)
}

/// Smallest and largest value in units at rest, and the milliseconds of a unit.
#[expect(clippy::cast_precision_loss, reason = "ranges are within 2^53")]
fn bounds(kind: &Kind) -> Option<(f64, f64, f64)> {
    match kind {
        Kind::Integer { min, max } => Some((*min as f64, *max as f64, 1.0)),
        Kind::Float { min, max } => Some((*min, *max, 0.0)),
        Kind::Duration { unit_ms, min, max } => {
            let unit = *unit_ms as f64;
            Some((*min as f64 * unit, *max as f64 * unit, unit))
        }
        Kind::String { .. }
        | Kind::Enum { .. }
        | Kind::Boolean
        | Kind::Timestamp
        | Kind::Version
        | Kind::Url { .. } => None,
    }
}

/// A number in the unit of a field, in the unit at rest.
pub(super) fn at_rest(draft: &FamilyDraft<'_>, index: usize, number: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "1 or 1000")]
    if let Kind::Duration { unit_ms, .. } = draft.family.fields[index].kind {
        number * unit_ms as f64
    } else {
        number
    }
}

fn number(item: &Item<'_>, draft: &FamilyDraft<'_>) -> Option<NumberField> {
    let index = find_number(item, draft)?;
    let field = &draft.family.fields[index];
    let (min, max, unit) = bounds(&field.kind)?;
    let (min, max, bucket) = if let Transform::Bucket(width) = field.transform {
        ((min / width).floor() * width, (max / width).floor() * width, width)
    } else {
        (min, max, round_step((max - min) / HISTOGRAM_STEPS).max(unit))
    };
    Some(NumberField { field: index, name: field.name.clone(), min, max, bucket })
}

/// The next larger of 1, 2, 5, 10, 20, 50, ..: bounds that people can read.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * decade >= step);
    factor.unwrap_or(10.0) * decade
}

fn stepped(item: &Item<'_>, field: NumberField) -> Option<NumberField> {
    let steps = (field.max - field.min) / field.bucket;
    if steps <= HISTOGRAM_STEPS_MAX {
        return Some(field);
    }
    item.wrong(
        format!(
            "a histogram of `{}` has {steps:.0} steps, more than {HISTOGRAM_STEPS_MAX}",
            field.name
        ),
        "a wider `bucket` or a narrower `range` of the field",
    );
    None
}

fn read_ranks(item: &Item<'_>) -> Option<Vec<f64>> {
    let mut ranks = Vec::new();
    for item in item.array(AT)? {
        let rank = item.number(AT)?;
        let percent = rank * 100.0;
        if !(rank > 0.0 && rank < 1.0) || (percent - percent.round()).abs() > 1e-9 {
            item.wrong(format!("{rank} is no rank of a whole percent"), AT);
            return None;
        }
        ranks.push(rank);
    }
    if ranks.is_empty() {
        item.wrong("there is no rank", AT);
        return None;
    }
    Some(ranks)
}

fn read_share(item: &Item<'_>, draft: &FamilyDraft<'_>) -> Option<Measure> {
    let entries = item.table(SHARE)?.entries();
    let [condition] = entries.as_slice() else {
        item.wrong("a share has exactly one condition", SHARE);
        return None;
    };
    let index = find(&condition.field_name(), condition.key, draft)?;
    if !draft.sound[index] {
        return None;
    }
    let field = &draft.family.fields[index];
    let own = draft.family.contributor.source == ContributorSource::Field(index);
    if own || matches!(field.transform, Transform::Drop | Transform::Pseudonym) {
        let message =
            format!("`{}` is not kept as a value, so nothing of it can be shared out", field.name);
        item.wrong(message, "another field");
        return None;
    }
    let condition = match condition.as_text() {
        Some("present") => Condition::Present,
        Some("absent") => Condition::Absent,
        _ => Condition::Is(read_values(condition, &field.kind)?),
    };
    Some(Measure::Share { field: index, name: field.name.clone(), condition })
}

fn read_values(item: &Item<'_>, kind: &Kind) -> Option<Vec<String>> {
    let items = item.as_array().unwrap_or_else(|| vec![item.clone()]);
    if items.is_empty() {
        item.wrong("a share of no value", SHARE);
    }
    let values: Option<Vec<String>> = items.iter().map(|item| read_value(item, kind)).collect();
    values.filter(|values| !values.is_empty())
}

fn read_value(item: &Item<'_>, kind: &Kind) -> Option<String> {
    let boolean = item.as_boolean().map(|value| value.to_string());
    let text = match boolean {
        Some(text) => text,
        None => item.text(SHARE)?.to_owned(),
    };
    let instead = match kind {
        Kind::Enum { values, .. } if !values.contains(&text) => nearest(&text, values),
        Kind::Boolean if !["true", "false"].contains(&text.as_str()) => {
            "`true` or `false`".to_owned()
        }
        Kind::String { pattern: Some(pattern), .. } if !pattern.regex.is_match(&text) => {
            format!("a text of the form `{}`", pattern.source)
        }
        Kind::Integer { .. } | Kind::Float { .. } | Kind::Duration { .. } | Kind::Timestamp => {
            "`\"present\"` or `\"absent\"`, or `mean` and `quantiles` for numbers".to_owned()
        }
        Kind::Enum { .. }
        | Kind::Boolean
        | Kind::String { .. }
        | Kind::Version
        | Kind::Url { .. } => return Some(text),
    };
    item.wrong(format!("the field is never `{text}`"), instead);
    None
}

#[cfg(test)]
mod tests {
    use super::round_step;

    #[test]
    fn steps_are_round() {
        for (step, round) in
            [(1.0, 1.0), (18_000.0, 20_000.0), (0.3, 0.5), (6.0, 10.0), (500.0, 500.0)]
        {
            assert!((round_step(step) - round).abs() < 1e-9, "{step}");
        }
    }
}
