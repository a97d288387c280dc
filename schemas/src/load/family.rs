//! A family's file: whom it counts, for how long, and its fields.

use super::field::{self, Surroundings};
use super::flags;
use super::purpose::read_stated;
use super::source::{SourceFile, Span};
use super::table::{Item, Table};
use super::transform::read_routes;
use super::words::{NAME_FORM, is_name, span_ms, span_text};
use crate::model::{
    Contributor, ContributorSource, Family, Field, Purpose, PurposeSet, Refused, Routes, Transform,
};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// A family as far as it could be read.
pub(super) struct FamilyDraft<'a> {
    pub(super) family: Family,
    /// For each field, whether it is as written; of the others nothing more is said.
    pub(super) sound: Vec<bool>,
    /// Whether contributor, epoch and grain are as written.
    pub(super) timed: bool,
    file: &'a SourceFile,
    name_span: Span,
}

/// What a family that is silent about time gets.
struct Defaults {
    epoch_days: u32,
    late_ms: i64,
    dedupe_ms: i64,
}

/// Pages answer at once, and a visitor is one for a day.
const VISITS: Defaults = Defaults { epoch_days: 1, late_ms: 2 * HOUR_MS, dedupe_ms: 2 * DAY_MS };
/// Devices come back to their network after days, and retry what nobody acknowledged.
const DEVICES: Defaults = Defaults { epoch_days: 28, late_ms: 7 * DAY_MS, dedupe_ms: 28 * DAY_MS };

const CONTRIBUTOR: &str = "`contributor = { field = \"serial_number\", called = \"devices\" }` or \
                           `contributor = { from = \"visit\", called = \"visitors\" }`";
const ABOUT: &str = "`about = \"..\"`, one phrase that says what one event is";
const EPOCH_DAYS_MAX: i64 = 366;

/// Reads one family; none if the file declares no name for it.
pub(super) fn read<'a>(
    table: &Table<'a>,
    purposes: Option<&[Purpose]>,
    refused: &Refused,
) -> Option<FamilyDraft<'a>> {
    let names = "`family = \"device_usage\"`, the `type` of its events";
    let name = table.need("family", "the file", names);
    let about = table.get("about").and_then(|item| item.text(ABOUT).map(str::to_owned));
    let fields = table.need("fields", "the family", "`[fields]` with one line for each field");
    let contributor = table.need("contributor", "the family", CONTRIBUTOR);
    let list = "`purposes = [\"..\"]`, names from `[purposes]` of the policy";
    let family_purposes = table
        .need("purposes", "the family", list)
        .map_or(PurposeSet::default(), |item| field::read_purposes(&item, purposes));
    let routes = table.get("routes").map_or_else(Routes::default, |item| read_routes(&item));
    let grain = table.get("grain");
    let grain_ms = grain.as_ref().map_or(Some(HOUR_MS), read_grain);
    let entries = fields.and_then(|item| item.table("`[fields]`")).map(|fields| fields.entries());
    let entries = entries.unwrap_or_default();
    let around = Surroundings {
        purposes,
        refused,
        family_purposes,
        routes,
        grain_ms: grain_ms.unwrap_or(HOUR_MS),
        names: entries.iter().map(|item| item.key).collect(),
    };
    let drafts: Vec<(Field, bool)> =
        entries.iter().map(|item| field::read(item, &around)).collect();
    for (item, (field, sound)) in entries.iter().zip(&drafts) {
        if *sound {
            field::check_source(item, field, &drafts);
        }
    }
    let (contributor, counted) = read_contributor(contributor.as_ref(), &around, &drafts);
    let (times, timed) = read_times(table, contributor.source);
    let flags = table.get("flags").map(|item| flags::read(&item, &around.names, &drafts));
    let kept_source = read_stated(table, "kept_source");
    table.finish();
    let name = name?;
    let text = name.text(names)?;
    if !is_name(text) {
        name.wrong(format!("`{text}` cannot name a family"), NAME_FORM);
    }
    let (fields, sound) = drafts.into_iter().unzip();
    let family = Family {
        name: text.to_owned(),
        about,
        contributor,
        epoch_days: times.epoch_days,
        grain_ms: around.grain_ms,
        late_ms: times.late_ms,
        dedupe_window_ms: times.dedupe_ms,
        purposes: family_purposes,
        flags: flags.unwrap_or_default(),
        kept_source,
        fields,
    };
    let timed = timed && counted && grain_ms.is_some();
    Some(FamilyDraft { family, sound, timed, file: table.file, name_span: name.span })
}

/// Reports families that share a name, and puts all in order of it. Gives the names that are shared.
pub(super) fn check_names(families: &mut [FamilyDraft<'_>]) -> Vec<String> {
    let mut shared = Vec::new();
    families.sort_by(|left, right| left.family.name.cmp(&right.family.name));
    for pair in families.windows(2) {
        if pair[0].family.name == pair[1].family.name {
            let message = format!(
                "family `{}` is declared in {} too",
                pair[1].family.name, pair[0].file.name
            );
            pair[1].file.wrong(&pair[1].name_span, message, "another name");
            shared.push(pair[1].family.name.clone());
        }
    }
    shared
}

/// The flag says whether it is as written.
fn read_contributor(
    item: Option<&Item<'_>>,
    around: &Surroundings<'_>,
    drafts: &[(Field, bool)],
) -> (Contributor, bool) {
    let mut contributor =
        Contributor { source: ContributorSource::Visit, called: "contributors".to_owned() };
    let Some(item) = item else { return (contributor, false) };
    let Some(table) = item.table(CONTRIBUTOR) else { return (contributor, false) };
    let (field, from, called) = (table.get("field"), table.get("from"), table.get("called"));
    table.finish();
    let source = match (&field, &from) {
        (Some(field), None) => contributor_field(field, around, drafts),
        (None, Some(from)) => from.word(&["visit"]).map(|_| ContributorSource::Visit),
        _ => {
            item.wrong("a contributor is told by a field, or from the visit", CONTRIBUTOR);
            None
        }
    };
    if from.is_some() {
        "visitors".clone_into(&mut contributor.called);
    }
    if let Some(called) = called {
        read_called(&called, around, &mut contributor.called);
    }
    let Some(source) = source else { return (contributor, false) };
    contributor.source = source;
    (contributor, true)
}

fn contributor_field(
    item: &Item<'_>,
    around: &Surroundings<'_>,
    drafts: &[(Field, bool)],
) -> Option<ContributorSource> {
    let text = item.text(CONTRIBUTOR)?;
    let Some(index) = around.names.iter().position(|name| *name == text) else {
        let instead = super::words::nearest(text, &around.names);
        item.wrong(format!("the contributor's field `{text}` is not declared"), instead);
        return None;
    };
    let (field, sound) = &drafts[index];
    if *sound && !matches!(field.transform, Transform::Pseudonym) {
        item.wrong(
            format!("the contributor's field `{text}` is not made a pseudonym"),
            "`transform = \"pseudonym\"` on that field, or another field",
        );
        return None;
    }
    Some(ContributorSource::Field(index))
}

fn read_called(item: &Item<'_>, around: &Surroundings<'_>, called: &mut String) {
    let example = "`called = \"devices\"`, a plural for people";
    let Some(text) = item.text(example) else { return };
    let taken = around.names.contains(&text) || field::is_reserved(text);
    if taken {
        item.wrong(format!("`{text}` is the name of something else"), example);
    } else if !is_name(text) {
        item.wrong(format!("`{text}` cannot name a column"), NAME_FORM);
    } else {
        text.clone_into(called);
    }
}

fn read_span(item: &Item<'_>, instead: &str) -> Option<i64> {
    let ms = span_ms(item.text(instead)?).filter(|ms| *ms > 0);
    if ms.is_none() {
        item.wrong(format!("`{}` is not a span of time", item.key), instead);
    }
    ms
}

fn read_grain(item: &Item<'_>) -> Option<i64> {
    let example = "`grain = \"1 hour\"`, from 1 minute to 1 day";
    let ms = read_span(item, example)?;
    if (MINUTE_MS..=DAY_MS).contains(&ms) && DAY_MS % ms == 0 {
        return Some(ms);
    }
    item.wrong("a day does not divide into such grains", example);
    None
}

/// Epoch, late and dedupe; the flag says whether the epoch is as written.
fn read_times(table: &Table<'_>, source: ContributorSource) -> (Defaults, bool) {
    let visit = source == ContributorSource::Visit;
    let mut times = if visit { VISITS } else { DEVICES };
    let mut timed = true;
    if let Some(item) = table.get("epoch") {
        match read_epoch(&item, visit) {
            Some(days) => times.epoch_days = days,
            None => timed = false,
        }
    }
    let epoch_ms = i64::from(times.epoch_days) * DAY_MS;
    times.late_ms = times.late_ms.min(epoch_ms);
    let late = "`late = \"7 days\"`, at most the epoch";
    if let Some(item) = table.get("late")
        && let Some(ms) = read_span(&item, late)
    {
        if ms > epoch_ms && timed {
            let (late, epoch) = (span_text(ms), span_text(epoch_ms));
            item.wrong(
                format!("late of {late} is longer than the epoch of {epoch}"),
                format!("`late = \"{epoch}\"` or less, or a longer `epoch`"),
            );
        }
        times.late_ms = ms;
    }
    let dedupe = "`dedupe = \"28 days\"`, whole days";
    if let Some(item) = table.get("dedupe")
        && let Some(ms) = read_span(&item, dedupe)
    {
        if ms % DAY_MS != 0 {
            item.wrong("`dedupe` is not a number of whole days", dedupe);
        } else if ms < times.late_ms {
            item.wrong(
                "`dedupe` is shorter than `late`: a second copy that comes late would count twice",
                format!("`dedupe = \"{}\"` or more", whole_days(times.late_ms)),
            );
        }
        times.dedupe_ms = ms;
    }
    (times, timed)
}

fn whole_days(ms: i64) -> String {
    span_text((ms + DAY_MS - 1).div_euclid(DAY_MS) * DAY_MS)
}

fn read_epoch(item: &Item<'_>, visit: bool) -> Option<u32> {
    let example = "`epoch = \"28 days\"`, whole days";
    let ms = read_span(item, example)?;
    let days = ms / DAY_MS;
    if ms % DAY_MS != 0 || days > EPOCH_DAYS_MAX {
        item.wrong(format!("an epoch is a span of 1 to {EPOCH_DAYS_MAX} whole days"), example);
        return None;
    }
    if visit && days != 1 {
        item.wrong(
            "the epoch of a family that counts visits is one day: a visitor without an id cannot be told longer",
            "`epoch = \"1 day\"`",
        );
        return None;
    }
    u32::try_from(days).ok()
}
