//! Names and types of the columns of an events table: the same for every family, fixed for good.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef, TimeUnit};

use crate::model::{ContributorSource, Family, Field, Kind, Transform};

/// Day of the event, UTC (`Date32`); the partition column.
pub const DAY: &str = "day";
/// Event time at the family's grain (`Timestamp`, microseconds, UTC).
pub const TIME: &str = "time";
/// Pseudonym of the contributor (`Binary`, 16 bytes); null where there is none.
pub const CONTRIBUTOR: &str = "contributor";
/// Key epoch of the received time (`Int32`), as [`crate::time::epoch_of`] counts.
pub const EPOCH: &str = "epoch";
/// Keyed hash by which a second copy is known (`Binary`, 16 bytes); null where the event has no key.
pub const EVENT_KEY: &str = "_key";
/// How the event time was found (`Utf8`): `device`, `uptime` or `received`.
pub const CLOCK: &str = "_clock";
/// Partition of the log that the row came through (`Int32`).
pub const PARTITION: &str = "_partition";
/// Position of the row's frame in that partition (`Int64`).
pub const POSITION: &str = "_position";
/// Number of the row in its frame (`Int32`).
pub const ROW: &str = "_row";

/// Names of the purposes that stand for the row (`Utf8`), sorted, with commas between: of those for which anything of its
/// family is kept. Null in rows from before there was this column.
pub const PURPOSES: &str = "_purposes";

/// Every column of an events table that is no declared field; a declared field may have none of these names.
pub const ALL: &[&str] =
    &[DAY, TIME, CONTRIBUTOR, EPOCH, EVENT_KEY, CLOCK, PARTITION, POSITION, ROW, PURPOSES];

/// Columns that every statistics table has beside groups and measures; a declared field or a plural of
/// contributors may have none of these names either.
pub const OF_STATISTICS: &[&str] = &[
    "period_start",
    "period_end",
    "every",
    "grouping",
    "hidden",
    "mechanism",
    "min_contributors",
    "rounding",
    "policy_version",
    "released_at",
];

/// The type of every point in time at rest.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl Field {
    /// The type of this field at rest; none for what is dropped.
    ///
    /// Texts of any kind are `Utf8`, whole numbers and durations `Int64` (durations in milliseconds), floats
    /// `Float64`, points in time microseconds in UTC, pseudonyms `Binary` of 16 bytes.
    #[must_use]
    pub fn stored_type(&self) -> Option<DataType> {
        match &self.transform {
            Transform::Drop => return None,
            Transform::Pseudonym => return Some(DataType::Binary),
            Transform::Country
            | Transform::Domain
            | Transform::Path(_)
            | Transform::Utm(_)
            | Transform::Browser
            | Transform::Os
            | Transform::DeviceClass
            | Transform::Language => return Some(DataType::Utf8),
            Transform::Keep | Transform::Truncate(_) | Transform::Bucket(_) => {}
        }
        Some(match self.kind {
            Kind::String { .. } | Kind::Enum { .. } | Kind::Version | Kind::Url { .. } => {
                DataType::Utf8
            }
            Kind::Integer { .. } | Kind::Duration { .. } => DataType::Int64,
            Kind::Float { .. } => DataType::Float64,
            Kind::Boolean => DataType::Boolean,
            Kind::Timestamp => timestamp(),
        })
    }
}

impl Family {
    /// The fields that have a column of their own at rest, with their indices, in order of the package:
    /// all but those that are dropped and the contributor's own.
    pub fn stored_fields(&self) -> impl Iterator<Item = (usize, &Field, DataType)> {
        self.fields.iter().enumerate().filter_map(|(index, field)| {
            let own = self.contributor.source == ContributorSource::Field(index);
            let stored = field.stored_type().filter(|_| !own)?;
            Some((index, field, stored))
        })
    }

    /// The columns of this family's events table, in order: [`DAY`], [`TIME`], [`CONTRIBUTOR`], [`EPOCH`], each
    /// stored field, then those that begin with `_`.
    #[must_use]
    pub fn stored_schema(&self) -> SchemaRef {
        let mut columns = vec![
            Column::new(DAY, DataType::Date32, false),
            Column::new(TIME, timestamp(), false),
            Column::new(CONTRIBUTOR, DataType::Binary, true),
            Column::new(EPOCH, DataType::Int32, false),
        ];
        columns.extend(
            self.stored_fields().map(|(_, field, stored)| Column::new(&field.name, stored, true)),
        );
        columns.extend([
            Column::new(EVENT_KEY, DataType::Binary, true),
            Column::new(CLOCK, DataType::Utf8, true),
            Column::new(PARTITION, DataType::Int32, false),
            Column::new(POSITION, DataType::Int64, false),
            Column::new(ROW, DataType::Int32, false),
            Column::new(PURPOSES, DataType::Utf8, true),
        ]);
        Arc::new(Schema::new(columns))
    }
}
