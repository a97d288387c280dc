//! Raw columns of policies by digest: frames in the log when a policy changes are read by the one they were
//! sealed under, and carried over into the one in force.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, RecordBatch, UInt16Array, UInt32Array, new_null_array,
};
use arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef, UInt16Type, UInt32Type};
use schemas::model::{ContributorSource, Family, Field, Kind, Source};
use schemas::{Digest, Package};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::layout::{self, FIXED, Layout};
use crate::shelf::Shelf;

/// A shelf with one file a policy.
pub(crate) struct Archive {
    shelf: Arc<dyn Shelf>,
    read: Mutex<HashMap<Digest, Arc<Policy>>>,
}

/// What of a policy its frames are read by. Names and types only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// Name and basis of each purpose, in order.
    purposes: Vec<(String, String)>,
    families: Vec<RawFamily>,
}

/// The raw columns of one family.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFamily {
    name: String,
    /// Whether contributors were visits.
    visits: bool,
    columns: Vec<RawColumn>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawColumn {
    name: String,
    #[serde(rename = "type")]
    raw: RawType,
    /// Everything that must be equal for a value to be carried over.
    form: String,
    /// Declared words of an enum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawType {
    Text,
    Word,
    Integer,
    Float,
    Boolean,
}

impl RawType {
    fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Word => DataType::UInt16,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Boolean => DataType::Boolean,
        }
    }

    fn of(data_type: &DataType) -> Self {
        if *data_type == DataType::Utf8 {
            Self::Text
        } else if *data_type == DataType::UInt16 {
            Self::Word
        } else if *data_type == DataType::Float64 {
            Self::Float
        } else if *data_type == DataType::Boolean {
            Self::Boolean
        } else {
            Self::Integer
        }
    }
}

impl Archive {
    /// Enters `package` if it is new. Of several that do at once the first is enough: a digest is of one content.
    pub(crate) fn open(shelf: Arc<dyn Shelf>, package: &Package) -> Result<Self, Error> {
        let archive = Self { shelf, read: Mutex::default() };
        let name = file_name(package.digest);
        if archive.shelf.read(&name)?.is_none() {
            let text = serde_json::to_vec(&Policy::of(package)).expect("names are JSON");
            archive.shelf.create(&name, &text)?;
        }
        Ok(archive)
    }

    /// The policy of this digest.
    pub(crate) fn policy(&self, digest: Digest) -> Result<Arc<Policy>, Error> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = read.get(&digest) {
            return Ok(Arc::clone(policy));
        }
        // What cannot be read now is not unknown: nobody may count its frames as lost.
        let text = self.shelf.read(&file_name(digest))?.ok_or(Error::UnknownPolicy(digest))?;
        let policy = serde_json::from_slice(&text).map_err(|_| Error::UnknownPolicy(digest))?;
        let policy = Arc::new(policy);
        read.insert(digest, Arc::clone(&policy));
        Ok(policy)
    }
}

fn file_name(digest: Digest) -> String {
    format!("{digest}.json")
}

impl Policy {
    fn of(package: &Package) -> Self {
        let purposes = package.purposes.iter();
        Self {
            purposes: purposes.map(|p| (p.name.clone(), format!("{:?}", p.basis))).collect(),
            families: package.families.iter().map(RawFamily::of).collect(),
        }
    }

    pub(crate) fn family(&self, name: &str) -> Option<&RawFamily> {
        self.families.iter().find(|family| family.name == name)
    }

    /// Carries rows of `old` over into the columns of `family` of the package in force.
    pub(crate) fn convert(
        &self,
        old: &RawFamily,
        columns: &RecordBatch,
        package: &Package,
        family: usize,
        today: &Layout,
    ) -> Result<RecordBatch, Error> {
        let declared = &package.families[family];
        let new = RawFamily::of(declared);
        let mut out: Vec<ArrayRef> = columns.columns()[..FIXED].to_vec();
        out[layout::GRANTED] = self.granted(&columns.columns()[layout::GRANTED], package);
        if !(old.visits && new.visits) {
            let none: BinaryArray = (0..columns.num_rows()).map(|_| None::<&[u8]>).collect();
            out[layout::VISIT] = Arc::new(none);
        }
        for column in &new.columns {
            let before = old
                .columns
                .iter()
                .position(|old| old.name == column.name && old.form == column.form);
            out.push(match before {
                None => new_null_array(&column.raw.arrow(), columns.num_rows()),
                Some(index) => {
                    let values = columns.column(FIXED + index);
                    if let RawType::Word = column.raw {
                        let otherwise = otherwise(declared, &column.name);
                        reworded(values, &old.columns[index].words, &column.words, otherwise)
                    } else {
                        Arc::clone(values)
                    }
                }
            });
        }
        RecordBatch::try_new(Arc::clone(&today.schema), out)
            .map_err(|_| Error::Frame("its columns do not fit its policy"))
    }

    /// Granted purposes, renumbered; a purpose that got another basis is not granted.
    pub(crate) fn granted(&self, column: &ArrayRef, package: &Package) -> ArrayRef {
        let map: Vec<Option<usize>> = self
            .purposes
            .iter()
            .map(|(name, basis)| {
                let (index, purpose) = package.purpose(name)?;
                (format!("{:?}", purpose.basis) == *basis).then_some(index)
            })
            .collect();
        let renumber = |set: &u32| {
            let old = schemas::PurposeSet(*set);
            map.iter()
                .enumerate()
                .filter(|(index, _)| old.has(*index))
                .fold(schemas::PurposeSet::default(), |new, (_, index)| {
                    index.map_or(new, |index| new.with(index))
                })
        };
        let sets = column.as_primitive::<UInt32Type>().values().iter();
        Arc::new(sets.map(|set| Some(renumber(set).0)).collect::<UInt32Array>())
    }
}

impl RawFamily {
    fn of(family: &Family) -> Self {
        let layout = Layout::of(family);
        let columns = family.fields.iter().zip(&layout.fields).filter_map(|(field, column)| {
            let data_type = layout.schema.field((*column)?).data_type();
            Some(RawColumn {
                name: field.name.clone(),
                raw: RawType::of(data_type),
                form: form(field),
                words: words(field),
            })
        });
        Self {
            name: family.name.clone(),
            visits: family.contributor.source == ContributorSource::Visit,
            columns: columns.collect(),
        }
    }

    /// The schema of this family's raw batches.
    pub(crate) fn schema(&self) -> SchemaRef {
        let mut columns = layout::fixed();
        let own = self.columns.iter();
        columns.extend(own.map(|column| Column::new(&column.name, column.raw.arrow(), true)));
        Arc::new(Schema::new(columns))
    }
}

/// Where a value comes from and what is accepted: all of it but the words of an enum, which are carried over one
/// by one.
fn form(field: &Field) -> String {
    match (field.source, &field.kind) {
        (Source::Body, Kind::Enum { .. }) => "enum".to_owned(),
        (Source::Body, Kind::Duration { unit_ms, min, max }) => {
            format!("duration {unit_ms} {min} {max}")
        }
        (Source::Body, kind) => kind.expected(),
        (source, _) => format!("{source:?} {:?}", layout::FromConnection::of(&field.transform)),
    }
}

fn words(field: &Field) -> Vec<String> {
    match (field.source, &field.kind) {
        (Source::Body, Kind::Enum { values, .. }) => values.clone(),
        _ => Vec::new(),
    }
}

fn otherwise(family: &Family, name: &str) -> Option<u16> {
    let Kind::Enum { otherwise, .. } = family.field(name)?.1.kind else { return None };
    otherwise
}

/// Indices of declared words, renumbered; a word that is no longer declared becomes `otherwise`.
fn reworded(column: &ArrayRef, old: &[String], new: &[String], otherwise: Option<u16>) -> ArrayRef {
    let map: Vec<Option<u16>> = old
        .iter()
        .map(|word| {
            let found = new.iter().position(|new| new == word);
            found.and_then(|index| u16::try_from(index).ok()).or(otherwise)
        })
        .collect();
    let indices = column.as_primitive::<UInt16Type>();
    let renumber = |row| {
        let index = indices.is_valid(row).then(|| usize::from(indices.value(row)))?;
        map.get(index).copied().flatten()
    };
    Arc::new((0..indices.len()).map(renumber).collect::<UInt16Array>())
}

#[cfg(test)]
mod tests;
