//! A family's rules, compiled once: which operator makes which stored column of which raw one.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use schemas::model::{Category, ContributorSource, Family, Kind, Source};
use schemas::{Millis, Package, PurposeSet};

use crate::error::Error;
use crate::layout::Layout;
use crate::nulled::Nulled;
use crate::operators::column::{Input, Operator, cuts};
use crate::operators::url::Cut;
use crate::pseudonym::RowKeys;
use crate::raw::is_location_off;

/// What gate 1 does with the events of one family.
pub(crate) struct Plan {
    pub(crate) layout: Layout,
    pub(crate) schema: SchemaRef,
    pub(crate) contributor: ContributorPlan,
    /// One a stored field, in order of the stored columns.
    pub(crate) fields: Vec<FieldPlan>,
}

/// Where contributors come from, and under which purposes.
pub(crate) struct ContributorPlan {
    /// The raw column of the identifier; none where visits are counted.
    pub(crate) raw: Option<usize>,
    /// Index of the field; none where visits are counted.
    pub(crate) field: Option<usize>,
    pub(crate) purposes: PurposeSet,
    pub(crate) expires: Option<Millis>,
}

/// One stored field.
pub(crate) struct FieldPlan {
    /// Its index in the family.
    pub(crate) index: usize,
    /// The raw column it is made of.
    pub(crate) raw: usize,
    pub(crate) purposes: PurposeSet,
    pub(crate) expires: Option<Millis>,
    /// Whether it is about location.
    pub(crate) location: bool,
    pub(crate) operator: Operator,
}

impl Plan {
    /// Compiles the plan of `family`.
    pub(crate) fn of(family: &Family) -> Result<Self, Error> {
        let layout = Layout::of(family);
        let mut fields = Vec::new();
        for (index, field, _) in family.stored_fields() {
            let (raw, kind) = source_of(family, &layout, index)?;
            let operator = Operator::of(&family.name, field, kind)?;
            let (purposes, expires) = (field.purposes, field.expires);
            let location = field.category == Category::Location;
            fields.push(FieldPlan { index, raw, purposes, expires, location, operator });
        }
        let contributor = match family.contributor.source {
            ContributorSource::Visit => {
                ContributorPlan { raw: None, field: None, purposes: family.purposes, expires: None }
            }
            ContributorSource::Field(index) => {
                let field = &family.fields[index];
                let (raw, kind) = source_of(family, &layout, index)?;
                if !matches!(kind, Kind::String { .. }) {
                    return Err(Error::Field {
                        family: family.name.clone(),
                        field: field.name.clone(),
                        what: "a contributor is told by a string",
                    });
                }
                let (purposes, expires) = (field.purposes, field.expires);
                ContributorPlan { raw: Some(raw), field: Some(index), purposes, expires }
            }
        };
        Ok(Self { layout, schema: family.stored_schema(), contributor, fields })
    }

    /// The fields that need keys, by index.
    pub(crate) fn pseudonymous(&self) -> impl Iterator<Item = usize> {
        let fields = self.fields.iter().filter(|field| field.operator.is_pseudonym());
        fields.map(|field| field.index).chain(self.contributor.field)
    }

    /// Makes every stored field's column; counts the values that no purpose allowed, or that tell where it was although
    /// location is off.
    pub(crate) fn apply(
        &self,
        raw: &RecordBatch,
        masks: &mut Masks<'_>,
        keys: &RowKeys,
    ) -> (Vec<ArrayRef>, Nulled) {
        let mut nulled = Nulled::default();
        // One URL gives several fields: it is cut once.
        let mut cut: Vec<(usize, Vec<Option<Cut<'_>>>)> = Vec::new();
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let column = raw.column(field.raw);
            let mut allowed = masks.of(field.purposes, field.expires);
            if let Some(allowed) = &allowed {
                nulled.fallen(field.purposes, forbidden(column, allowed));
            }
            if field.location
                && let Some(on) = masks.location()
            {
                let both = allowed.map_or_else(|| on.clone(), |allowed| &allowed & &on);
                nulled.location(forbidden(column, &on));
                allowed = Some(both);
            }
            if field.operator.cuts() && cut.iter().all(|(raw, _)| *raw != field.raw) {
                cut.push((field.raw, cuts(column)));
            }
            let cuts = cut.iter().find(|(raw, _)| *raw == field.raw);
            columns.push(field.operator.apply(&Input {
                raw: column,
                cuts: cuts.map_or(&[], |(_, cuts)| cuts),
                allowed: allowed.as_ref(),
                keys: keys.of(field.index),
            }));
        }
        (columns, nulled)
    }
}

/// The raw column and the kind of the value that a field is made of.
fn source_of<'a>(
    family: &'a Family,
    layout: &Layout,
    index: usize,
) -> Result<(usize, &'a Kind), Error> {
    let field = &family.fields[index];
    let source = match field.source {
        Source::Field(source) => source,
        Source::Body | Source::Address | Source::UserAgent | Source::AcceptLanguage => index,
    };
    let raw = layout.fields.get(source).copied().flatten().ok_or_else(|| Error::Field {
        family: family.name.clone(),
        field: field.name.clone(),
        what: "its source is itself made of another field",
    })?;
    Ok((raw, &family.fields[source].kind))
}

/// How many values `allowed` takes away.
fn forbidden(column: &ArrayRef, allowed: &BooleanBuffer) -> u64 {
    let taken = match column.nulls() {
        Some(nulls) => &(!allowed) & nulls.inner(),
        None => !allowed,
    };
    taken.count_set_bits() as u64
}

/// For a set of purposes, the rows whose granted purposes meet it.
pub(crate) struct Masks<'a> {
    granted: &'a [u32],
    received: &'a [i64],
    clocks: &'a [u8],
    known: Vec<(PurposeSet, Option<Millis>, Option<BooleanBuffer>)>,
}

impl<'a> Masks<'a> {
    pub(crate) fn new(granted: &'a [u32], received: &'a [i64], clocks: &'a [u8]) -> Self {
        Self { granted, received, clocks, known: Vec::new() }
    }

    /// The rows that do not say that location is off; none if no row says so.
    fn location(&self) -> Option<BooleanBuffer> {
        let is_off = self.clocks.iter().any(|clock| is_location_off(*clock));
        let on = |row: usize| !is_location_off(self.clocks[row]);
        is_off.then(|| BooleanBuffer::collect_bool(self.clocks.len(), on))
    }

    /// The rows for which a field of these purposes stands; none if it does for all.
    pub(crate) fn of(
        &mut self,
        purposes: PurposeSet,
        end: Option<Millis>,
    ) -> Option<BooleanBuffer> {
        let known = self.known.iter().find(|known| known.0 == purposes && known.1 == end);
        if let Some((_, _, mask)) = known {
            return mask.clone();
        }
        let stands = |row: usize| {
            PurposeSet(self.granted[row]).meets(purposes)
                && end.is_none_or(|end| self.received[row] < end.0)
        };
        let mask = BooleanBuffer::collect_bool(self.granted.len(), stands);
        let mask = (mask.count_set_bits() < mask.len()).then_some(mask);
        self.known.push((purposes, end, mask.clone()));
        mask
    }
}

/// The plans of all families, in order.
pub(crate) fn of_package(package: &Package) -> Result<Vec<Plan>, Error> {
    package.families.iter().map(Plan::of).collect()
}
