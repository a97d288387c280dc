//! Rows of contributors who must not come in, or not for all purposes: found by identifier or pseudonym, kept out, blanked
//! where they lie.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, PrimitiveArray, RecordBatch, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Int64Type, SchemaRef, UInt8Type, UInt32Type};
use schemas::time::HOUR_MS;
use schemas::{Millis, PurposeSet};

use super::Gate;
use crate::error::Error;
use crate::keys::KeyName;
use crate::layout;
use crate::pseudonym::Canonical;
use crate::raw::ERASED;
use crate::seal::{Body, Header, Sealed};
use crate::subject::Subject;
use crate::suppression::{FamilyList, Listed};

impl Gate {
    /// What the list says of the rows of today's raw columns; none if of no row anything.
    pub(super) fn listed(
        &self,
        family: usize,
        columns: &RecordBatch,
        marked: &[usize],
    ) -> Option<Vec<Listed>> {
        let list = self.suppression.as_ref();
        let list = list.and_then(|list| list.of_family(&self.family(family).name));
        let clocks = columns.column(layout::CLOCK).as_primitive::<UInt8Type>().values();
        let blank = clocks.contains(&ERASED);
        if list.is_none() && !blank && marked.is_empty() {
            return None;
        }
        let mut found = vec![Listed::default(); columns.num_rows()];
        if let Some(list) = &list {
            let contributor = self.plans[family].contributor.raw;
            self.find(list, columns, contributor, &mut found);
        }
        for (found, clock) in found.iter_mut().zip(clocks) {
            found.whole |= *clock == ERASED;
        }
        for &row in marked {
            found[row].whole = true;
        }
        Some(found)
    }

    /// Whether a frame holds a row of anybody on the suppression list that is not blank yet, or that still has what rests on
    /// purposes which were taken from it.
    ///
    /// # Errors
    ///
    /// As [`Gate::open`]; a frame that cannot be opened holds nothing that anybody could read.
    pub fn holds_suppressed(&self, frame: Sealed) -> Result<bool, Error> {
        let list = self.suppression.as_ref();
        let name = frame.header().family.clone();
        let Some(list) = name.and_then(|name| list?.of_family(&name)) else { return Ok(false) };
        let Some((header, columns, contributor, _)) = self.as_sealed(frame)? else {
            return Ok(false);
        };
        let mut found = vec![Listed::default(); columns.num_rows()];
        self.find(&list, &columns, contributor, &mut found);
        let granted = columns.column(layout::GRANTED);
        let granted = match header.policy == self.package.digest {
            true => Arc::clone(granted),
            false => self.archive.policy(header.policy)?.granted(granted, &self.package),
        };
        let granted = granted.as_primitive::<UInt32Type>().values();
        let holds = |(found, granted): (&Listed, &u32)| {
            found.whole || found.taken.meets(PurposeSet(*granted))
        };
        Ok(found.iter().zip(granted).any(holds))
    }

    /// Whether a frame holds a row of `subject`.
    ///
    /// # Errors
    ///
    /// As [`Gate::open`].
    pub fn holds_subject(&self, frame: Sealed, subject: &Subject) -> Result<bool, Error> {
        if frame.header().family.as_deref() != Some(subject.family_name()) {
            return Ok(false);
        }
        let Some((_, columns, _, _)) = self.as_sealed(frame)? else { return Ok(false) };
        let pseudonyms = self.pseudonyms(subject)?;
        let visits: &BinaryArray = columns.column(layout::VISIT).as_binary();
        let visited = visits
            .iter()
            .flatten()
            .any(|visit| pseudonyms.iter().any(|(_, pseudonym)| pseudonym == visit));
        let mut scratch = Vec::new();
        let named = columns.columns().iter().filter_map(|column| column.as_string_opt::<i32>());
        let named = named.flat_map(|column| column.iter().flatten()).any(|text| {
            scratch.clear();
            Canonical::of(text).is_some_and(|canonical| {
                canonical.write(&mut scratch);
                scratch == subject.canonical()
            })
        });
        Ok(visited || named)
    }

    /// Seals a frame again under the newest key of its hour, rows of suppressed contributors blanked, and counts those; of
    /// others goes what rests on purposes that were taken from them. Their places stay, so that other rows keep their numbers and the header's count holds: whoever reads the frame
    /// finds as many rows as before, and counts the blank ones as suppressed.
    ///
    /// None if the frame is under the newest key already.
    ///
    /// # Errors
    ///
    /// As [`Gate::open`], and as [`Gate::seal`].
    pub fn reseal(&self, frame: Sealed) -> Result<Option<(Sealed, u64)>, Error> {
        let hour = frame.header().hour;
        let (generation, key, in_flight) = self.sealing(hour)?;
        if frame.header().generation >= generation {
            return Ok(None);
        }
        let list = self.suppression.as_ref();
        let name = frame.header().family.clone();
        let list = name.and_then(|name| list?.of_family(&name));
        let (header, body, blanked) = match list {
            Some(list) if frame.header().rows > 0 => match self.as_sealed(frame)? {
                None => return Err(Error::Frame("its family is not declared")),
                Some((header, columns, contributor, nulled)) => {
                    let mut found = vec![Listed::default(); columns.num_rows()];
                    self.find(&list, &columns, contributor, &mut found);
                    let (header, columns) = match found.iter().any(|found| found.taken.0 != 0) {
                        true => self.narrowed_again(header, columns, &found)?,
                        false => (header, columns),
                    };
                    let count = found.iter().filter(|found| found.whole).count() as u64;
                    let columns = blank(columns, &found, hour)?;
                    (header, Body::of(&columns, nulled)?, count)
                }
            },
            Some(_) | None => {
                let (header, body) = self.unseal(frame)?;
                (header, Body::Again(body), 0)
            }
        };
        let sealed = Sealed::seal(Header { generation, ..header }, &body, &key)?;
        Ok(Some((sealed.on_its_way(in_flight), blanked)))
    }

    /// Opens a frame into the columns it was sealed with: its header, them, the contributor's one, fields nulled. None
    /// for a frame without rows or of a family that is not declared.
    #[expect(clippy::type_complexity, reason = "four things that are taken apart at once")]
    fn as_sealed(
        &self,
        frame: Sealed,
    ) -> Result<Option<(Header, RecordBatch, Option<usize>, u64)>, Error> {
        let (header, body) = self.unseal(frame)?;
        let declared = header.family.as_deref().and_then(|name| self.package.family(name));
        let Some((family, declared)) = declared.filter(|_| header.rows > 0) else {
            return Ok(None);
        };
        let today = &self.plans[family];
        let schema: SchemaRef = if header.policy == self.package.digest {
            Arc::clone(&today.layout.schema)
        } else {
            let then = self.archive.policy(header.policy)?;
            let old = then.family(&declared.name);
            old.ok_or_else(|| Error::UnknownFamily(declared.name.clone()))?.schema()
        };
        let contributor = today.contributor.raw.and_then(|raw| {
            let name = today.layout.schema.field(raw).name();
            let index = schema.index_of(name).ok()?;
            (*schema.field(index).data_type() == DataType::Utf8).then_some(index)
        });
        let (columns, nulled) = Body::read(body, &schema)?;
        Ok(Some((header, columns, contributor, nulled)))
    }

    /// Notes what the list says of each row, by its identifier and its visit.
    fn find(
        &self,
        list: &FamilyList,
        columns: &RecordBatch,
        contributor: Option<usize>,
        found: &mut [Listed],
    ) {
        let package = &self.package;
        let mut scratch = Vec::new();
        if let Some(raw) = contributor {
            let texts = columns.column(raw).as_string::<i32>();
            let mut last: Option<(&str, Listed)> = None;
            for (text, found) in texts.iter().zip(found.iter_mut()) {
                let Some(text) = text else { continue };
                if last.is_none_or(|(known, _)| known != text) {
                    scratch.clear();
                    let stop = Canonical::of(text).and_then(|canonical| {
                        canonical.write(&mut scratch);
                        list.identifier(&scratch)
                    });
                    last = Some((text, stop.map_or_else(Listed::default, |stop| stop.of(package))));
                }
                if let Some((_, listed)) = last {
                    found.add(listed);
                }
            }
        }
        let visits: &BinaryArray = columns.column(layout::VISIT).as_binary();
        for (visit, found) in visits.iter().zip(found.iter_mut()) {
            let stop = visit.and_then(|visit| list.pseudonym(visit, &mut scratch));
            if let Some(stop) = stop {
                found.add(stop.of(package));
            }
        }
    }

    pub(super) fn seal_name(header: &Header) -> KeyName {
        KeyName::Seal { hour: header.hour, generation: header.generation }
    }
}

/// The rows that must not be stored; none if all may.
pub(super) fn unwelcome(listed: &[Listed]) -> Option<BooleanBuffer> {
    let whole: BooleanBuffer = listed.iter().map(|listed| listed.whole).collect();
    (whole.count_set_bits() > 0).then_some(whole)
}

/// The columns without the rows that must not be stored, and how many those were.
pub(super) fn welcome(columns: RecordBatch, listed: Option<&[Listed]>) -> (RecordBatch, u64) {
    let Some(unwelcome) = listed.and_then(unwelcome) else { return (columns, 0) };
    let count = unwelcome.count_set_bits() as u64;
    let kept = filter_record_batch(&columns, &BooleanArray::from(!&unwelcome));
    (kept.expect("one flag a row"), count)
}

/// The columns with nothing left in the rows of `found` but that they were there.
fn blank(columns: RecordBatch, found: &[Listed], hour: u32) -> Result<RecordBatch, Error> {
    if !found.iter().any(|found| found.whole) {
        return Ok(columns);
    }
    // Taking, where nulling would only hide: what is not taken is not copied.
    let kept: UInt32Array = (0..)
        .zip(found)
        .map(|(row, found): (u32, &Listed)| (!found.whole).then_some(row))
        .collect();
    let start = Millis(i64::from(hour).saturating_mul(HOUR_MS)).0;
    let cleared = columns.columns().iter().enumerate().map(|(index, column)| {
        let taken = take(column, &kept, None).ok()?;
        Some(match index {
            layout::TIME | layout::RECEIVED => filled::<Int64Type>(&taken, start),
            layout::CLOCK => filled::<UInt8Type>(&taken, ERASED),
            layout::GRANTED => filled::<UInt32Type>(&taken, 0),
            _ => taken,
        })
    });
    let cleared: Option<Vec<ArrayRef>> = cleared.collect();
    cleared
        .and_then(|cleared| RecordBatch::try_new(columns.schema(), cleared).ok())
        .ok_or(Error::Frame("its columns do not fit its policy"))
}

/// The column with a value where it has none.
fn filled<T: ArrowPrimitiveType>(column: &ArrayRef, value: T::Native) -> ArrayRef {
    let numbers = column.as_primitive::<T>().iter().map(|number| number.unwrap_or(value));
    Arc::new(PrimitiveArray::<T>::from_iter_values(numbers))
}
