//! The fate of every field of one event, and why: nothing stored, no key made, pseudonyms masked.

use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use schemas::Package;
use schemas::model::{Category, ContributorSource, Field, Source, Transform, Truncate, Utm};
use schemas::time::epoch_of;

use crate::connection::Resolved;
use crate::crypto::random;
use crate::error::Error;
use crate::gate::Gate;
use crate::keys::Key;
use crate::pseudonym::{FieldKey, RowKeys};
use crate::raw::{RawBuilder, RawEvent};

/// What stands for a pseudonym.
const MASKED: &str = "(pseudonym)";
/// Columns before those of the fields: day, time, contributor, epoch.
const LEADING: usize = 4;
/// Index of the contributor's column.
const CONTRIBUTOR: usize = 2;

/// What becomes of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// Its name; for visits, what the family calls its contributors.
    pub field: String,
    /// What is stored of it; pseudonyms are masked. None if nothing is.
    pub kept: Option<String>,
    /// Why, in words of the package.
    pub why: String,
}

impl Gate {
    /// Tells what would be stored of an event of the family of this index, field by field. Nothing is stored, and
    /// no key of the ring is used.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] if the system gives no random bytes for a key to throw away.
    ///
    /// # Panics
    ///
    /// If the package has no such family.
    pub fn explain(
        &self,
        family: usize,
        event: &RawEvent<'_>,
        resolved: &Resolved,
    ) -> Result<Vec<Fate>, Error> {
        let declared = self.family(family);
        let mut builder = RawBuilder::new(&self.package, family);
        builder.append(event, resolved);
        let raw = builder.finish();
        let thrown_away = Key::apart(random()?);
        let epoch = epoch_of(event.received, declared.epoch_days);
        let key = Arc::new(FieldKey::of(&thrown_away, "", "", "", epoch));
        let fields = self.plans[family].pseudonymous();
        let keys = fields.map(|field| (field, vec![Arc::clone(&key)])).collect();
        let keys = RowKeys::new(keys, vec![0]);
        let rows = self.rows_with(family, &raw.columns, &[epoch], &keys);

        let shown = |column: usize| {
            let array = rows.columns[column].as_ref();
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(array, &options).ok()?;
            array.is_valid(0).then(|| format.value(0).to_string())
        };
        let mut fates = Vec::new();
        if declared.contributor.source == ContributorSource::Visit {
            let kept = shown(CONTRIBUTOR).map(|_| MASKED.to_owned());
            let why = if kept.is_some() {
                format!(
                    "site, address and user agent under the key of {} days",
                    declared.epoch_days
                )
            } else {
                "no visit: its purposes do not stand, or the address is not known".to_owned()
            };
            fates.push(Fate { field: declared.contributor.called.clone(), kept, why });
        }
        for (index, field) in declared.fields.iter().enumerate() {
            let own = declared.contributor.source == ContributorSource::Field(index);
            let place = self.plans[family].fields.iter().position(|plan| plan.index == index);
            let column = if own { Some(CONTRIBUTOR) } else { place.map(|place| LEADING + place) };
            let kept = column.and_then(shown);
            let masked = matches!(field.transform, Transform::Pseudonym);
            let why = why(&self.package, field, kept.is_some(), event);
            let kept = if masked { kept.map(|_| MASKED.to_owned()) } else { kept };
            fates.push(Fate { field: field.name.clone(), kept, why });
        }
        Ok(fates)
    }
}

/// Why a field is kept or not.
fn why(package: &Package, field: &Field, kept: bool, event: &RawEvent<'_>) -> String {
    if field.expires.is_some_and(|end| event.received >= end) {
        return "its declaration has expired".to_owned();
    }
    if event.location_off && field.category == Category::Location {
        return "the event says that location is off".to_owned();
    }
    let purposes = package.purposes.iter().enumerate();
    let named = purposes.filter(|(index, _)| field.purposes.has(*index));
    let names: Vec<&str> = named.map(|(_, purpose)| purpose.name.as_str()).collect();
    if !event.granted.meets(field.purposes) {
        return format!("no purpose of it stands: {}", names.join(", "));
    }
    let rule = rule(field);
    if kept {
        return format!("{rule}; for {}", names.join(", "));
    }
    if matches!(field.transform, Transform::Drop) {
        return rule;
    }
    format!("nothing to keep: not sent, or not in the declared form ({rule})")
}

/// What the package says is made of a field.
fn rule(field: &Field) -> String {
    let source = match field.source {
        Source::Body | Source::Field(_) => "",
        Source::Address => " of the address, which is then forgotten",
        Source::UserAgent => " of the user agent",
        Source::AcceptLanguage => " of the accepted languages",
    };
    let rule = match &field.transform {
        Transform::Keep => "kept as declared",
        Transform::Country => "country",
        Transform::Pseudonym => "pseudonym under the key of the epoch",
        Transform::Truncate(Truncate::Major) => "major version",
        Transform::Truncate(Truncate::MajorMinor) => "major and minor version",
        Transform::Truncate(Truncate::Time(ms)) => return format!("time to {ms} ms"),
        Transform::Bucket(width) => return format!("rounded down to a multiple of {width}"),
        Transform::Domain => "host of the URL",
        Transform::Path(_) => "path of the URL, templated",
        Transform::Utm(Utm::Source) => "utm_source where the pattern fits",
        Transform::Utm(Utm::Medium) => "utm_medium where the pattern fits",
        Transform::Utm(Utm::Campaign) => "utm_campaign where the pattern fits",
        Transform::Browser => "family and major version",
        Transform::Os => "system family",
        Transform::DeviceClass => "device class",
        Transform::Language => "primary language",
        Transform::Drop => "used, never stored",
    };
    format!("{rule}{source}")
}

#[cfg(test)]
mod tests;
