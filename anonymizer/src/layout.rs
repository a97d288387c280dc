//! The columns of a raw batch: fixed ones for what every event has, then one a field that brings a value.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef};
use schemas::model::{Family, Kind, Source, Transform};

/// Event time, milliseconds (`Int64`).
pub(crate) const TIME: usize = 0;
/// [`crate::ClockSource`] as a number, and whether the session began an epoch earlier (`UInt8`).
pub(crate) const CLOCK: usize = 1;
/// Received time, milliseconds (`Int64`).
pub(crate) const RECEIVED: usize = 2;
/// The event's own id (`Utf8`, nullable).
pub(crate) const ID: usize = 3;
/// Boot count of the device (`UInt64`, nullable).
pub(crate) const BOOT: usize = 4;
/// Number within the boot (`UInt64`, nullable).
pub(crate) const SEQ: usize = 5;
/// Granted purposes (`UInt32`).
pub(crate) const GRANTED: usize = 6;
/// Pseudonym of the visit (`Binary`, 16 bytes, nullable).
pub(crate) const VISIT: usize = 7;
/// Event time by the sender's own clock, believed or not, milliseconds (`Int64`, nullable).
pub(crate) const SAID: usize = 8;
/// How many columns are fixed.
pub(crate) const FIXED: usize = 9;

/// Where the columns of one family's raw batches are.
#[derive(Clone)]
pub(crate) struct Layout {
    /// The whole of it, fixed columns first.
    pub(crate) schema: SchemaRef,
    /// For each declared field, the index of its raw column; none for what is made of another field.
    pub(crate) fields: Vec<Option<usize>>,
}

impl Layout {
    /// The layout of `family`.
    pub(crate) fn of(family: &Family) -> Self {
        let mut columns = fixed();
        let fields = family
            .fields
            .iter()
            .map(|field| {
                let data_type = raw_type(field.source, &field.kind)?;
                columns.push(Column::new(&field.name, data_type, true));
                Some(columns.len() - 1)
            })
            .collect();
        Self { schema: Arc::new(Schema::new(columns)), fields }
    }
}

/// The columns that every event has, in order of their indices above.
pub(crate) fn fixed() -> Vec<Column> {
    vec![
        Column::new("#time", DataType::Int64, false),
        Column::new("#clock", DataType::UInt8, false),
        Column::new("#received", DataType::Int64, false),
        Column::new("#id", DataType::Utf8, true),
        Column::new("#boot", DataType::UInt64, true),
        Column::new("#seq", DataType::UInt64, true),
        Column::new("#granted", DataType::UInt32, false),
        Column::new("#visit", DataType::Binary, true),
        Column::new("#said", DataType::Int64, true),
    ]
}

/// The raw type of a field; none for what is made of another field.
pub(crate) fn raw_type(source: Source, kind: &Kind) -> Option<DataType> {
    match source {
        Source::Field(_) => None,
        Source::Address | Source::UserAgent | Source::AcceptLanguage => Some(DataType::Utf8),
        Source::Body => Some(match kind {
            Kind::String { .. } | Kind::Version | Kind::Url { .. } => DataType::Utf8,
            Kind::Enum { .. } => DataType::UInt16,
            Kind::Integer { .. } | Kind::Duration { .. } | Kind::Timestamp => DataType::Int64,
            Kind::Float { .. } => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
        }),
    }
}

/// What of the connection a field takes, by its transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FromConnection {
    Country,
    Browser,
    Os,
    DeviceClass,
    Language,
}

impl FromConnection {
    /// What `transform` takes; none for transforms of other things.
    pub(crate) fn of(transform: &Transform) -> Option<Self> {
        match transform {
            Transform::Country => Some(Self::Country),
            Transform::Browser => Some(Self::Browser),
            Transform::Os => Some(Self::Os),
            Transform::DeviceClass => Some(Self::DeviceClass),
            Transform::Language => Some(Self::Language),
            Transform::Keep
            | Transform::Pseudonym
            | Transform::Truncate(_)
            | Transform::Bucket(_)
            | Transform::Domain
            | Transform::Path(_)
            | Transform::Utm(_)
            | Transform::Drop => None,
        }
    }
}
