//! Whether what a statistic needs is still there when its period closes.

use super::table::Item;
use super::words::span_text;
use crate::model::{ContributorSource, Every, Family, Measure, Purpose, kept_days};
use crate::time::DAY_MS;

/// Reports a field of measures or groupings that may be nulled before the period of a statistic has closed.
pub(super) fn check(
    item: &Item<'_>,
    every: Every,
    family: &Family,
    purposes: &[Purpose],
    (measures, by): (&[Measure], &[Vec<usize>]),
) {
    let contributor = match family.contributor.source {
        ContributorSource::Field(field) => Some(field),
        ContributorSource::Visit => None,
    };
    let mut fields: Vec<usize> = measures.iter().filter_map(Measure::field).collect();
    fields.extend(by.iter().flatten().chain(&contributor));
    fields.sort_unstable();
    fields.dedup();
    let own = fields.iter().filter_map(|field| family.fields.get(*field));
    let rests = own.map(|field| (field.name.as_str(), field.purposes));
    let needed = every.length_ms(family.epoch_days).saturating_add(family.late_ms);
    for (name, rests_on) in rests.chain([(family.contributor.called.as_str(), family.purposes)]) {
        let Some(days) = kept_days(purposes, rests_on) else { continue };
        if i64::from(days) * DAY_MS < needed {
            item.file.wrong(
                &item.key_span,
                format!(
                    "`{name}` is kept for {days} days, and every {} closes {} after it began",
                    every.name(),
                    span_text(needed)
                ),
                "a longer `keep` of a purpose, a shorter `every`, or a shorter `late` of the family",
            );
            return;
        }
    }
}
