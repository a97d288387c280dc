//! What is at rest, where, since when; and every field with its purposes.

use schemas::model::ContributorSource;
use schemas::notice::{FamilyNotice, Notice};
use schemas::time::DAY_MS;
use schemas::{Family, Field, Package};
use storage::Root;

use super::keys::Keys;
use super::places::{Place, written};
use super::report::{AtRest, FieldAtRest, PurposeOf, ReleaseAtRest, RequestAtRest};
use super::tables::Table;
use crate::config::Config;
use crate::operator::LogHour;

/// What was looked at.
pub(super) struct Seen<'a> {
    pub(super) config: &'a Config,
    pub(super) package: &'a Package,
    pub(super) places: &'a [Place],
    pub(super) families: &'a [Table],
    pub(super) keys: &'a Keys,
    pub(super) hours: &'a [LogHour],
    pub(super) releases: &'a [ReleaseAtRest],
    pub(super) requests: &'a [RequestAtRest],
}

impl Seen<'_> {
    /// Every place, in the order of events: log, rows, statistics, ledgers, lists, keys, what is derived.
    pub(super) fn all(&self, events: &Root, released: &Root) -> Vec<AtRest> {
        let mut all = vec![self.log()];
        all.extend(self.families.iter().map(|table| self.family(table, events)));
        let statistics = released.join("statistics").to_string();
        all.extend([
            self.statistics(statistics),
            self.below(
                "ledgers",
                events,
                "ledger",
                "outcomes, requests, keys by commitment, releases",
                "kept",
            ),
            self.below(
                "policies",
                events,
                "policies",
                "names and types of declared fields, by policy",
                "kept",
            ),
            AtRest {
                count: self.requests.len() as u64,
                ..self.below(
                    "suppression list",
                    events,
                    "suppression",
                    "keyed hashes of people who objected or were erased",
                    "until the objection ends",
                )
            },
            self.keys(),
            self.below(
                "dedupe index",
                &self.data(),
                "index",
                "keyed hashes of events",
                "the window in which a second copy is recognised",
            ),
            self.below(
                "staging",
                &self.data(),
                "staging",
                "rows on their way to the tables",
                "until they are committed",
            ),
            self.below(
                "spill",
                &self.data(),
                "spill",
                "rows while statistics are computed",
                "the process",
            ),
            self.below(
                "kept apart",
                events,
                "apart",
                "rows of holds and restrictions, sealed under keys of their own",
                "until the hold ends",
            ),
            self.below(
                "exports",
                events,
                "exports",
                "answers to requests, encrypted to who asked",
                "7 days",
            ),
        ]);
        all
    }

    fn data(&self) -> Root {
        Root::folder(&self.config.data)
    }

    fn log(&self) -> AtRest {
        let hours = &self.config.log;
        let kept = format!(
            "{} hours, {} at most",
            hours.raw_retention_hours, hours.raw_retention_max_hours
        );
        let place = "raw log";
        if self.config.kafka.is_some() {
            let holds = "sealed frames, in Kafka: see `quorate kafka topics`".to_owned();
            let at = "brokers".to_owned();
            return AtRest { place: place.to_owned(), at, holds, kept, ..AtRest::default() };
        }
        AtRest {
            oldest: self.hours.first().map(|hour| hour.hour.clone()),
            newest: self.hours.last().map(|hour| hour.hour.clone()),
            count: self.hours.iter().map(|hour| hour.frames).sum(),
            ..self.below(place, &self.data(), "log", "sealed frames", &kept)
        }
    }

    fn family(&self, table: &Table, events: &Root) -> AtRest {
        let name = table.name.rsplit('/').next().unwrap_or_default();
        let family = self.package.family(name).map(|(_, family)| family);
        let days = table.days();
        AtRest {
            place: table.name.clone(),
            at: events.join(&table.name).to_string(),
            holds: "rows under pseudonyms".to_owned(),
            oldest: days.map(|(oldest, _)| oldest.to_owned()),
            newest: days.map(|(_, newest)| newest.to_owned()),
            files: table.files.len() as u64,
            count: table.files.iter().map(|file| file.rows).sum(),
            kept: family.map_or_else(|| "as its table says".to_owned(), row_life),
        }
    }

    fn statistics(&self, at: String) -> AtRest {
        AtRest {
            place: "statistics".to_owned(),
            at,
            holds: "groups that may be shown, by period".to_owned(),
            oldest: self.releases.iter().map(|release| release.oldest.clone()).min(),
            newest: self.releases.iter().map(|release| release.newest.clone()).max(),
            files: Place::below(self.places, "statistics").count() as u64,
            count: self.releases.iter().map(|release| release.groups).sum(),
            kept: "kept".to_owned(),
        }
    }

    fn keys(&self) -> AtRest {
        let (alive, oldest, newest) = self.keys.alive();
        AtRest {
            place: "key ring".to_owned(),
            at: self.config.keyring.dir.to_string(),
            holds: "keys, sealed under the key-encryption key".to_owned(),
            oldest: oldest.map(|time| time.to_string()),
            newest: newest.map(|time| time.to_string()),
            files: alive,
            count: alive,
            kept: "each until its rows or frames go; then overwritten and deleted".to_owned(),
        }
    }

    /// A folder by the times of its files.
    fn below(&self, place: &str, root: &Root, folder: &str, holds: &str, kept: &str) -> AtRest {
        let files = || Place::below(self.places, folder);
        let count = files().count() as u64;
        AtRest {
            place: place.to_owned(),
            at: root.join(folder).to_string(),
            holds: holds.to_owned(),
            oldest: files().min_by_key(|file| file.modified_ms).map(written),
            newest: files().max_by_key(|file| file.modified_ms).map(written),
            files: count,
            count,
            kept: kept.to_owned(),
        }
    }
}

fn days(count: u32) -> String {
    if count == 1 { "1 day".to_owned() } else { format!("{count} days") }
}

/// How long rows of a family live.
fn row_life(family: &Family) -> String {
    let grace = u32::try_from(family.grace_ms() / DAY_MS).unwrap_or(0);
    format!("its epoch of {} and {} more", days(family.epoch_days), days(grace))
}

/// Every field of every family, in order of the package.
pub(super) fn fields(package: &Package) -> Vec<FieldAtRest> {
    let told = Notice::of(package).families;
    let of = |(family, told): (&Family, FamilyNotice)| {
        let fields = family.fields.iter().enumerate().zip(told.fields);
        let fields = fields
            .map(|((index, field), told)| self::field(package, family, index, field, told.kept));
        fields.collect::<Vec<_>>()
    };
    package.families.iter().zip(told).flat_map(of).collect()
}

fn field(
    package: &Package,
    family: &Family,
    index: usize,
    field: &Field,
    stored: Option<String>,
) -> FieldAtRest {
    let contributor = family.contributor.source == ContributorSource::Field(index);
    let purposes = package.purposes.iter().enumerate();
    let purposes = purposes.filter(|(index, _)| field.purposes.has(*index));
    let purposes = purposes.map(|(_, purpose)| PurposeOf {
        purpose: purpose.name.clone(),
        basis: purpose.basis.name(),
        source: purpose.source.name(),
    });
    let kept = match package.kept_days(field.purposes) {
        _ if stored.is_none() => "not kept".to_owned(),
        Some(kept) if !contributor => format!("{} after the event's day", days(kept)),
        _ => row_life(family),
    };
    FieldAtRest {
        family: family.name.clone(),
        field: field.name.clone(),
        category: field.category.name(),
        stored,
        purposes: purposes.collect(),
        kept,
        expires: field.expires.map(|time| time.to_string()),
    }
}
