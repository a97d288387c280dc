//! `flags` of a family: fields that decide about the whole event, or about its place.

use super::table::Item;
use super::words::nearest;
use crate::model::{Field, Flags, Kind, Source, Transform};

const FORM: &str = "`flags = { age = \"under_13\", location = \"geolocation\" }`, names of boolean fields that are dropped";

/// Reads it; `drafts` are the family's fields, with whether each is as written.
pub(super) fn read(item: &Item<'_>, names: &[&str], drafts: &[(Field, bool)]) -> Flags {
    let Some(table) = item.table(FORM) else { return Flags::default() };
    let find = |key| table.get(key).and_then(|item| flag(&item, names, drafts));
    let flags = Flags { age: find("age"), location: find("location") };
    table.finish();
    flags
}

fn flag(item: &Item<'_>, names: &[&str], drafts: &[(Field, bool)]) -> Option<usize> {
    let text = item.text(FORM)?;
    let Some(index) = names.iter().position(|name| *name == text) else {
        item.wrong(format!("the flag's field `{text}` is not declared"), nearest(text, names));
        return None;
    };
    let (field, sound) = &drafts[index];
    let read_only = field.source == Source::Body
        && matches!((&field.kind, &field.transform), (Kind::Boolean, Transform::Drop));
    if *sound && !read_only {
        item.wrong(
            format!("the flag's field `{text}` is not a boolean that is dropped"),
            "`type = \"boolean\", transform = \"drop\"` on that field: a flag is read and not kept",
        );
        return None;
    }
    Some(index)
}
