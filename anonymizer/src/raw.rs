//! Events as they were received: builders that anyone may fill, batches that only this crate can read.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch,
    StringBuilder, UInt8Builder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::DataType;
use schemas::model::{Category, ContributorSource, Field, Source};
use schemas::time::epoch_of;
use schemas::{Digest, Millis, Package, PurposeSet, Tally};

use crate::connection::Resolved;
use crate::layout::{FromConnection, Layout};
use crate::nulled::Nulled;

/// One value of an event, already validated against its field's declared kind.
///
/// Durations and points in time are whole numbers of milliseconds. There is no `Debug`: a value is as
/// personal as the event.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing was sent.
    Null,
    /// Of a string, a version or a URL.
    Text(&'a str),
    /// Of an integer, a duration (milliseconds) or a timestamp (milliseconds since 1970).
    Integer(i64),
    /// Of a float.
    Float(f64),
    /// Of a boolean.
    Boolean(bool),
    /// Of an enum: index of the declared value.
    Index(u16),
}

/// How an event's time was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClockSource {
    /// By the device's own clock.
    Device,
    /// By the device's uptime, counted back from the received time.
    Uptime,
    /// Not at all: the received time stands for it.
    Received,
}

/// Set in the code of the clock where the event's session began in the key epoch before its own.
const EARLIER_EPOCH: u8 = 0x80;

/// Set in the code of the clock where the event says that location is off.
const LOCATION_OFF: u8 = 0x40;

/// Whether an event says that location is off.
pub(crate) fn is_location_off(code: u8) -> bool {
    code & LOCATION_OFF != 0
}

/// How many epochs before its own an event's session began: none or one.
pub(crate) fn epochs_back(code: u8) -> i32 {
    i32::from(code & EARLIER_EPOCH != 0)
}

impl ClockSource {
    /// The name at rest.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Uptime => "uptime",
            Self::Received => "received",
        }
    }

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Device => 0,
            Self::Uptime => 1,
            Self::Received => 2,
        }
    }

    pub(crate) fn of_code(code: u8) -> Self {
        match code & !(EARLIER_EPOCH | LOCATION_OFF) {
            0 => Self::Device,
            1 => Self::Uptime,
            _ => Self::Received,
        }
    }
}

/// Stands for the clock of a row of which nothing is left, its contributor having been erased from a frame.
pub(crate) const ERASED: u8 = 3;

/// One event on its way into a [`RawBuilder`].
#[derive(Clone, Copy)]
pub struct RawEvent<'a> {
    /// One value a declared field, in order of the package; `Null` where the field is not from the body.
    pub values: &'a [Value<'a>],
    /// When it happened.
    pub time: Millis,
    /// How that was found.
    pub clock: ClockSource,
    /// When it happened by the sender's own clock, believed or not; a retry says the same.
    pub said: Option<Millis>,
    /// When it was received.
    pub received: Millis,
    /// When its session began, if the sender says so. A contributor who is a field keeps the pseudonym of that time's
    /// epoch, if it is at most one back; nothing else of it is kept.
    pub session: Option<Millis>,
    /// Its own id, if the sender gave one.
    pub id: Option<&'a str>,
    /// Boot count of the device, if given.
    pub boot: Option<u64>,
    /// Its number within the boot, if given.
    pub seq: Option<u64>,
    /// The purposes that stand for it; see [`crate::Statement::resolve`].
    pub granted: PurposeSet,
    /// Whether it says that location is off: then nothing is taken that is about location, of it or of its connection.
    pub location_off: bool,
}

/// Events as they were received, a row each: the declared fields, and what is left of the connection.
///
/// Anyone may build one with a [`RawBuilder`]; only this crate can look inside. There is no `Debug`,
/// `Display`, `Serialize` or `Clone`, so a stray log line or a second copy does not compile:
///
/// ```compile_fail,E0277
/// fn show(batch: anonymizer::RawBatch) {
///     println!("{batch:?}");
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn show(batch: anonymizer::RawBatch) {
///     println!("{batch}");
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn serializable<T: serde::Serialize>(_: T) {}
/// fn show(batch: anonymizer::RawBatch) {
///     serializable(batch);
/// }
/// ```
///
/// ```compile_fail,E0599
/// fn twice(batch: anonymizer::RawBatch) -> (anonymizer::RawBatch, anonymizer::RawBatch) {
///     (batch.clone(), batch)
/// }
/// ```
///
/// ```compile_fail,E0616
/// fn look(batch: anonymizer::RawBatch) {
///     drop(batch.columns);
/// }
/// ```
///
/// What all of them would have been without the line that fails:
///
/// ```
/// fn rows(batch: anonymizer::RawBatch) -> (usize, usize) {
///     (batch.family(), batch.rows())
/// }
/// ```
pub struct RawBatch {
    pub(crate) family: usize,
    pub(crate) digest: Digest,
    pub(crate) columns: RecordBatch,
    /// Values left out while appending.
    pub(crate) nulled: Nulled,
    /// Rows of visits that the suppression list knows by what they came over.
    pub(crate) suppressed: Vec<usize>,
}

impl RawBatch {
    /// How many events it holds.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// Index of their family in the package.
    #[must_use]
    pub fn family(&self) -> usize {
        self.family
    }

    /// What was left out of it while appending, and why.
    #[must_use]
    pub fn left_out(&self, package: &Package) -> Tally {
        let mut tally = Tally::default();
        self.nulled.note(package, &mut tally);
        tally
    }
}

/// Collects events of one family; outlives requests.
///
/// What an event's purposes do not allow is left out here already, before anything is written anywhere.
pub struct RawBuilder {
    family: usize,
    digest: Digest,
    layout: Layout,
    epoch_days: u32,
    /// Which of [`Resolved`]'s visits belongs to this family, and the purposes it needs.
    visit: Option<PurposeSet>,
    contributor: Option<usize>,
    slots: Vec<Slot>,
    time: Int64Builder,
    clock: UInt8Builder,
    received: Int64Builder,
    id: StringBuilder,
    boot: UInt64Builder,
    seq: UInt64Builder,
    granted: UInt32Builder,
    visits: BinaryBuilder,
    said: Int64Builder,
    rows: usize,
    texts: usize,
    row_bytes: usize,
    nulled: Nulled,
    suppressed: Vec<usize>,
}

/// A declared field's builder, and when it may be filled.
struct Slot {
    column: Column,
    purposes: PurposeSet,
    expires: Option<Millis>,
    from: Option<FromConnection>,
    /// Whether it is about location.
    location: bool,
}

enum Column {
    Text(StringBuilder),
    Index(UInt16Builder),
    Integer(Int64Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    /// Made of another field at the gate.
    Derived,
}

impl Slot {
    fn of(field: &Field) -> Self {
        let column = match crate::layout::raw_type(field.source, &field.kind) {
            None => Column::Derived,
            Some(DataType::Utf8) => Column::Text(StringBuilder::new()),
            Some(DataType::UInt16) => Column::Index(UInt16Builder::new()),
            Some(DataType::Float64) => Column::Float(Float64Builder::new()),
            Some(DataType::Boolean) => Column::Boolean(BooleanBuilder::new()),
            Some(_) => Column::Integer(Int64Builder::new()),
        };
        let from = match field.source {
            Source::Address | Source::UserAgent | Source::AcceptLanguage => {
                FromConnection::of(&field.transform)
            }
            Source::Body | Source::Field(_) => None,
        };
        let location = field.category == Category::Location;
        Self { column, purposes: field.purposes, expires: field.expires, from, location }
    }
}

impl Column {
    /// Appends a value; gives the bytes of text it took. A value of another type than the column's is a
    /// mistake of the caller, and left out.
    fn append(&mut self, value: Value<'_>) -> usize {
        match (self, value) {
            (Self::Derived, _) => {}
            (Self::Text(builder), Value::Text(text)) => {
                builder.append_value(text);
                return text.len();
            }
            (Self::Index(builder), Value::Index(index)) => builder.append_value(index),
            (Self::Integer(builder), Value::Integer(number)) => builder.append_value(number),
            (Self::Float(builder), Value::Float(number)) => builder.append_value(number),
            (Self::Boolean(builder), Value::Boolean(truth)) => builder.append_value(truth),
            (Self::Text(builder), _) => builder.append_null(),
            (Self::Index(builder), _) => builder.append_null(),
            (Self::Integer(builder), _) => builder.append_null(),
            (Self::Float(builder), _) => builder.append_null(),
            (Self::Boolean(builder), _) => builder.append_null(),
        }
        0
    }

    fn finish(&mut self) -> Option<ArrayRef> {
        Some(match self {
            Self::Derived => return None,
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Index(builder) => Arc::new(builder.finish()),
            Self::Integer(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Boolean(builder) => Arc::new(builder.finish()),
        })
    }

    fn width(&self) -> usize {
        match self {
            Self::Derived => 0,
            Self::Text(_) => 4,
            Self::Index(_) => 2,
            Self::Integer(_) | Self::Float(_) => 8,
            Self::Boolean(_) => 1,
        }
    }
}

impl RawBuilder {
    /// An empty builder for the family of this index.
    ///
    /// # Panics
    ///
    /// If the package has no such family.
    #[must_use]
    pub fn new(package: &Arc<Package>, family: usize) -> Self {
        let declared = &package.families[family];
        let mut slots: Vec<Slot> = declared.fields.iter().map(Slot::of).collect();
        if let Some(flag) = declared.flags.location {
            // It says whether, not where.
            slots[flag].location = false;
        }
        let (visit, contributor) = match declared.contributor.source {
            ContributorSource::Visit => (Some(declared.purposes), None),
            ContributorSource::Field(index) => (None, Some(index)),
        };
        // Three times, a clock, offsets of the id and the visit, boot, seq, purposes.
        let fixed = 8 + 8 + 8 + 1 + 4 + 4 + 8 + 8 + 4;
        let row_bytes = fixed + slots.iter().map(|slot| slot.column.width()).sum::<usize>();
        Self {
            family,
            digest: package.digest,
            layout: Layout::of(declared),
            epoch_days: declared.epoch_days,
            visit,
            contributor,
            slots,
            time: Int64Builder::new(),
            clock: UInt8Builder::new(),
            received: Int64Builder::new(),
            id: StringBuilder::new(),
            boot: UInt64Builder::new(),
            seq: UInt64Builder::new(),
            granted: UInt32Builder::new(),
            visits: BinaryBuilder::new(),
            said: Int64Builder::new(),
            rows: 0,
            texts: 0,
            row_bytes,
            nulled: Nulled::default(),
            suppressed: Vec::new(),
        }
    }

    /// Adds one event and what is left of its connection.
    ///
    /// A field none of whose purposes stands is left out, and counted, and so is one about location where that is off; only the contributor's own value is
    /// still taken where it is the sole key by which a second copy of the event can be known.
    pub fn append(&mut self, event: &RawEvent<'_>, resolved: &Resolved) {
        let listed = resolved.listed(self.family);
        let granted = listed.leaves(event.granted);
        let key_needs_contributor =
            event.id.is_none() && event.boot.is_some() && event.seq.is_some();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let value = match slot.from {
                None => event.values.get(index).copied().unwrap_or(Value::Null),
                Some(from) => resolved.text(from).map_or(Value::Null, Value::Text),
            };
            let expired = slot.expires.is_some_and(|end| event.received >= end);
            let stands = granted.meets(slot.purposes);
            let contributor = self.contributor == Some(index);
            let hidden = event.location_off && slot.location;
            let value = if !expired && !hidden && (stands || (contributor && key_needs_contributor))
            {
                value
            } else {
                let count = u64::from(!expired && !contributor && value != Value::Null);
                if hidden {
                    self.nulled.location(count);
                } else {
                    self.nulled.fallen(slot.purposes, count);
                }
                Value::Null
            };
            self.texts += slot.column.append(value);
        }
        self.time.append_value(event.time.0);
        let earlier = if self.began_earlier(event) { EARLIER_EPOCH } else { 0 };
        let location = if event.location_off { LOCATION_OFF } else { 0 };
        self.clock.append_value(event.clock.code() | earlier | location);
        self.received.append_value(event.received.0);
        self.id.append_option(event.id);
        self.texts += event.id.map_or(0, str::len);
        self.boot.append_option(event.boot);
        self.seq.append_option(event.seq);
        self.granted.append_value(granted.0);
        let visit = self
            .visit
            .filter(|purposes| granted.meets(*purposes))
            .and_then(|_| resolved.visit(self.family, epoch_of(event.received, self.epoch_days)));
        self.texts += visit.map_or(0, <[u8]>::len);
        self.visits.append_option(visit);
        self.said.append_option(event.said.map(|said| said.0));
        if listed.whole {
            self.suppressed.push(self.rows);
        }
        self.rows += 1;
    }

    /// Whether the session of an event began in the epoch before its own. A visit's pseudonym was made when it was
    /// received, and stays.
    fn began_earlier(&self, event: &RawEvent<'_>) -> bool {
        let epoch = |time| epoch_of(time, self.epoch_days);
        let before = |session| epoch(session) == epoch(event.received).saturating_sub(1);
        self.contributor.is_some() && event.session.is_some_and(before)
    }

    /// How many events it holds.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes they take, uncompressed. Constant time.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows * self.row_bytes + self.texts
    }

    /// Gives what was collected, and starts over.
    ///
    /// # Panics
    ///
    /// Never: every column gets one value a row.
    #[must_use]
    pub fn finish(&mut self) -> RawBatch {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.clock.finish()),
            Arc::new(self.received.finish()),
            Arc::new(self.id.finish()),
            Arc::new(self.boot.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.granted.finish()),
            Arc::new(self.visits.finish()),
            Arc::new(self.said.finish()),
        ];
        columns.extend(self.slots.iter_mut().filter_map(|slot| slot.column.finish()));
        let columns = RecordBatch::try_new(Arc::clone(&self.layout.schema), columns)
            .expect("append gives every column one value of its type");
        self.rows = 0;
        self.texts = 0;
        let nulled = std::mem::take(&mut self.nulled);
        let suppressed = std::mem::take(&mut self.suppressed);
        RawBatch { family: self.family, digest: self.digest, columns, nulled, suppressed }
    }
}

#[cfg(test)]
mod tests;
