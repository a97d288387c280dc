//! The gate itself: seals what came in, opens what was sealed, and makes rows that may be stored.

mod derived;
mod generation;
mod living;
mod narrowed;
mod suppressed;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Date32Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, SchemaRef, UInt8Type, UInt32Type};
use schemas::{Family, Millis, Note, Package, PurposeSet, Tally};

use self::derived::DerivedKeys;
use self::generation::Generations;
use self::living::Living;
use self::suppressed::{unwelcome, welcome};
use crate::anonymized::AnonymizedBatch;
use crate::archive::Archive;
use crate::error::Error;
use crate::keys::KeyRing;
use crate::layout;
use crate::nulled::Nulled;
use crate::operators::column::{pseudonyms, stands};
use crate::plan::{self, Masks, Plan};
use crate::pseudonym::RowKeys;
use crate::raw::{ClockSource, RawBatch};
use crate::seal::{Body, Header, Sealed};
use crate::shelf::{Folder, Shelf};
use crate::suppression::SuppressionList;

/// Where a batch stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Partition of the log.
    pub partition: u16,
    /// Position of the frame in it.
    pub position: u64,
    /// Whether it is history that an operator imports: old epochs are then no reason to leave rows out.
    pub import: bool,
}

/// Gate 1 for one package. Shared by threads; holds no event.
pub struct Gate {
    pub(crate) package: Arc<Package>,
    pub(crate) plans: Vec<Plan>,
    pub(crate) ring: Arc<KeyRing>,
    archive: Archive,
    keys: Mutex<DerivedKeys>,
    generations: Mutex<Generations>,
    /// The newest generation of an hour with more than one key, and since when this process knows it, by the steady clock.
    superseded_since: Mutex<HashMap<u32, (u32, Millis)>>,
    suppression: Option<Arc<SuppressionList>>,
}

impl Gate {
    /// Compiles the package's rules, and archives its raw columns in the folder `archive`, so that frames which
    /// are in the log when the policy changes can still be opened.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] if the package asks for a transform that cannot be made; [`Error::Io`].
    pub fn new(package: Arc<Package>, ring: Arc<KeyRing>, archive: PathBuf) -> Result<Self, Error> {
        Self::on(package, ring, Arc::new(Folder::new(archive)))
    }

    /// As [`Gate::new`], with the archive on a shelf that others may share.
    ///
    /// # Errors
    ///
    /// As [`Gate::new`].
    pub fn on(
        package: Arc<Package>,
        ring: Arc<KeyRing>,
        archive: Arc<dyn Shelf>,
    ) -> Result<Self, Error> {
        let plans = plan::of_package(&package)?;
        let archive = Archive::open(archive, &package)?;
        Ok(Self {
            package,
            plans,
            ring,
            archive,
            keys: Mutex::default(),
            generations: Mutex::default(),
            superseded_since: Mutex::default(),
            suppression: None,
        })
    }

    /// The same gate, which lets nobody in who is on `list`.
    #[must_use]
    pub fn with_suppression(mut self, list: Arc<SuppressionList>) -> Self {
        self.suppression = Some(list);
        self
    }

    /// Reads what other nodes did with ring and list: keys that are destroyed are forgotten, and all that was derived of
    /// them. To be called every [`crate::shared::REFRESH_EVERY_MS`] where many nodes share them.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::refresh`] and [`SuppressionList::refresh`]; both are tried.
    pub fn refresh(&self) -> Result<(), Error> {
        let ring = self.ring.refresh();
        let list = self.suppression.as_ref().map_or(Ok(()), |list| list.refresh());
        self.forget_derived();
        ring.and(list)
    }

    /// Whether what many nodes share was read lately enough to work by it: to take events, and to commit.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`], [`Error::Rotated`].
    pub fn usable(&self) -> Result<(), Error> {
        self.ring.usable()?;
        self.suppression.as_ref().map_or(Ok(()), |list| list.usable())
    }

    /// Counts who was entered in the suppression list, as far as this process knows: rows that were made under another
    /// count are not to be committed. To be compared after [`Gate::refresh`].
    #[must_use]
    pub fn list_version(&self) -> u64 {
        self.suppression.as_ref().map_or(0, |list| list.version())
    }

    /// Seals a batch under the key of the last hour in which one of its events was received, with what was
    /// refused beside it. Rows of suppressed contributors are left out and counted.
    ///
    /// # Errors
    ///
    /// If the key ring cannot give the hour's key, or the system cannot encrypt; [`Error::Stale`].
    pub fn seal(&self, batch: RawBatch, mut tally: Tally) -> Result<Sealed, Error> {
        self.usable()?;
        let RawBatch { family, digest, columns, nulled, suppressed } = batch;
        let received = numbers(&columns, layout::RECEIVED);
        let hour = received.iter().max().map_or(0, |received| Millis(*received).hour());
        let listed = self.listed(family, &columns, &suppressed);
        let (columns, taken) = self.narrowed(family, columns, listed.as_deref());
        let (columns, unwelcome) = welcome(columns, listed.as_deref());
        tally.suppressed += unwelcome;
        nulled.note(&self.package, &mut tally);
        taken.note(&self.package, &mut tally);
        let rows = u32::try_from(columns.num_rows()).map_err(|_| Error::Frame("too many rows"))?;
        let family = Some(self.family(family).name.clone());
        let body = if rows == 0 { Body::Empty } else { Body::of(&columns, 0)? };
        let (generation, key, in_flight) = self.sealing(hour)?;
        let header = Header { family, policy: digest, hour, generation, rows, tally };
        Ok(Sealed::seal(header, &body, &key)?.on_its_way(in_flight))
    }

    /// Seals refusals alone, received at `received`; of no family, if theirs are not known.
    ///
    /// # Errors
    ///
    /// As [`Gate::seal`].
    ///
    /// # Panics
    ///
    /// If the package has no such family.
    pub fn seal_tally(
        &self,
        family: Option<usize>,
        tally: Tally,
        received: Millis,
    ) -> Result<Sealed, Error> {
        self.usable()?;
        let hour = received.hour();
        let family = family.map(|family| self.family(family).name.clone());
        let (generation, key, in_flight) = self.sealing(hour)?;
        let policy = self.package.digest;
        let header = Header { family, policy, hour, generation, rows: 0, tally };
        Ok(Sealed::seal(header, &Body::Empty, &key)?.on_its_way(in_flight))
    }

    /// Opens a frame into today's raw columns.
    ///
    /// A frame sealed under another policy is read by that one's archive. Of its fields those survive which both
    /// policies declare alike, of its granted purposes those with the same name and basis.
    ///
    /// # Errors
    ///
    /// [`Error::Destroyed`] if the key of its hour is, [`Error::NoKey`] if there never was one;
    /// [`Error::Frame`] and [`Error::Rows`] if it is not as it was sealed; [`Error::UnknownPolicy`],
    /// [`Error::UnknownFamily`]; [`Error::Frame`] too for a frame of no family, which has no rows.
    pub fn open(&self, frame: Sealed) -> Result<RawBatch, Error> {
        let (header, body) = self.unseal(frame)?;
        let name =
            header.family.as_deref().ok_or(Error::Frame("it has no family, hence no rows"))?;
        let (family, _) =
            self.package.family(name).ok_or_else(|| Error::UnknownFamily(name.to_owned()))?;
        let today = &self.plans[family].layout;
        let digest = self.package.digest;
        if header.rows == 0 {
            let columns = RecordBatch::new_empty(Arc::clone(&today.schema));
            let (nulled, suppressed) = (Nulled::default(), Vec::new());
            return Ok(RawBatch { family, digest, columns, nulled, suppressed });
        }
        let count = |columns: &RecordBatch| {
            let found = columns.num_rows();
            let fits = u64::from(header.rows) == found as u64;
            if fits { Ok(()) } else { Err(Error::Rows { declared: header.rows, found }) }
        };
        let (columns, nulled) = if header.policy == digest {
            Body::read(body, &today.schema)?
        } else {
            let then = self.archive.policy(header.policy)?;
            let old = then.family(name).ok_or_else(|| Error::UnknownFamily(name.to_owned()))?;
            let (columns, nulled) = Body::read(body, &old.schema())?;
            (then.convert(old, &columns, &self.package, family, today)?, nulled)
        };
        count(&columns)?;
        // What was left out before is in the header, but for frames of earlier builds, which have its sum in here.
        let nulled = Nulled::sum(nulled);
        Ok(RawBatch { family, digest, columns, nulled, suppressed: Vec::new() })
    }

    /// Checks that a frame is as it was sealed, and gives its header: for frames without rows.
    ///
    /// # Errors
    ///
    /// [`Error::Destroyed`], [`Error::NoKey`], [`Error::Frame`], as [`Gate::open`].
    pub fn authenticate(&self, frame: Sealed) -> Result<Header, Error> {
        self.unseal(frame).map(|(header, _)| header)
    }

    /// Columns of a family as its frames hold them.
    pub(crate) fn raw_schema(&self, family: usize) -> &SchemaRef {
        &self.plans[family].layout.schema
    }

    fn unseal(&self, frame: Sealed) -> Result<(Header, Vec<u8>), Error> {
        let key = self.ring.get(&Self::seal_name(frame.header()))?;
        frame.open(&key)
    }

    /// Turns received events into rows that may be stored: the only way to obtain an [`AnonymizedBatch`].
    ///
    /// The raw batch is consumed either way; an error says which rule failed, never which value failed it.
    /// Events whose epoch ended longer than the family's grace before `now`, or whose key is destroyed, are
    /// counted as expired; those of an import only if the key is destroyed. Events of contributors on the suppression
    /// list are counted as suppressed.
    ///
    /// # Errors
    ///
    /// If the key ring cannot give a key; [`Error::UnknownPolicy`] for a batch built under another package.
    pub fn anonymize(
        &self,
        batch: RawBatch,
        origin: &Origin,
        now: Millis,
    ) -> Result<AnonymizedBatch, Error> {
        self.usable()?;
        let RawBatch { family, digest, columns, nulled, suppressed } = batch;
        if digest != self.package.digest {
            return Err(Error::UnknownPolicy(digest));
        }
        let declared = self.family(family);
        let version = || self.list_version();
        let (listed, unwelcome, living) = loop {
            let before = version();
            let listed = self.listed(family, &columns, &suppressed);
            let unwelcome = listed.as_deref().and_then(unwelcome);
            let living = self.living(family, &columns, unwelcome.as_ref(), origin, now)?;
            // The keys of these rows are made: who is entered from now on is entered with its pseudonyms under them.
            if version() == before {
                break (listed, unwelcome, living);
            }
        };
        let suppressed =
            unwelcome.as_ref().map_or(0, |unwelcome| unwelcome.count_set_bits()) as u64;
        let expired = (columns.num_rows() - living.rows.len()) as u64 - suppressed;
        let (columns, taken) = self.narrowed(family, columns, listed.as_deref());
        let columns = living.columns(columns);
        let mut batch = self.rows(family, &columns, &living)?;
        let keys = self.event_keys(family, &columns, &living)?;
        let hashes: BinaryArray = keys.iter().map(|key| key.map(|key| key.hash)).collect();
        let position = i64::try_from(origin.position).unwrap_or(i64::MAX);
        let rows = living.rows.len();
        let ends: [ArrayRef; 6] = [
            Arc::new(hashes),
            Arc::new(clock_names(&columns)),
            Arc::new(Int32Array::from_value(i32::from(origin.partition), rows)),
            Arc::new(Int64Array::from_value(position, rows)),
            Arc::new(Int32Array::from(living.rows)),
            Arc::new(purposes(&self.package, declared, &columns)),
        ];
        batch.columns.extend(ends);
        let mut tally = batch.tally;
        tally.suppressed = suppressed;
        nulled.note(&self.package, &mut tally);
        taken.note(&self.package, &mut tally);
        tally.note(Note::ClockUnknown, clock_unknown(&columns));
        let schema = Arc::clone(&self.plans[family].schema);
        let rows = RecordBatch::try_new(schema, batch.columns).map_err(|_| Error::Field {
            family: declared.name.clone(),
            field: String::new(),
            what: "its columns do not fit the stored schema",
        })?;
        Ok(AnonymizedBatch { family, rows, keys, tally, expired })
    }

    /// Everything of the stored rows but the columns that begin with `_`.
    fn rows(&self, family: usize, columns: &RecordBatch, living: &Living) -> Result<Rows, Error> {
        let keys = self.row_keys(family, &living.epochs)?;
        Ok(self.rows_with(family, columns, &living.epochs, &keys))
    }

    /// As above, with keys of whoever asks.
    pub(crate) fn rows_with(
        &self,
        family: usize,
        columns: &RecordBatch,
        epochs: &[i32],
        keys: &RowKeys,
    ) -> Rows {
        let declared = self.family(family);
        let plan = &self.plans[family];
        let granted = columns.column(layout::GRANTED).as_primitive::<UInt32Type>().values();
        let clocks = columns.column(layout::CLOCK).as_primitive::<UInt8Type>().values();
        let mut masks = Masks::new(granted, numbers(columns, layout::RECEIVED), clocks);
        let mut tally = Tally::default();

        let contributor = &plan.contributor;
        let allowed = masks.of(contributor.purposes, contributor.expires);
        if let Some(allowed) = &allowed {
            let without = allowed.len() - allowed.count_set_bits();
            tally.note(Note::WithoutContributor, without as u64);
        }
        let contributors = match (contributor.raw, contributor.field) {
            (Some(raw), Some(field)) => {
                pseudonyms(columns.column(raw), allowed.as_ref(), keys.of(field))
            }
            _ => visits(columns, allowed.as_ref()),
        };

        let grain_ms = declared.grain_ms.max(1);
        let times = numbers(columns, layout::TIME);
        let truncated = |time: &i64| Millis(*time).truncate(grain_ms);
        let days: Date32Array = times.iter().map(|time| Some(truncated(time).day())).collect();
        let micros = times.iter().map(|time| Some(truncated(time).0.saturating_mul(1_000)));
        let micros = micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC");

        let (fields, nulled) = plan.apply(columns, &mut masks, keys);
        nulled.note(&self.package, &mut tally);
        let mut stored: Vec<ArrayRef> = vec![
            Arc::new(days),
            Arc::new(micros),
            contributors,
            Arc::new(Int32Array::from(epochs.to_vec())),
        ];
        stored.extend(fields);
        Rows { columns: stored, tally }
    }

    pub(crate) fn family(&self, family: usize) -> &Family {
        &self.package.families[family]
    }
}

/// Stored columns up to the last field, and what was counted.
pub(crate) struct Rows {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) tally: Tally,
}

/// A column of whole numbers.
fn numbers(columns: &RecordBatch, index: usize) -> &[i64] {
    columns.column(index).as_primitive::<Int64Type>().values()
}

/// Pseudonyms of visits, where they are allowed.
fn visits(columns: &RecordBatch, allowed: Option<&BooleanBuffer>) -> ArrayRef {
    let visits: &BinaryArray = columns.column(layout::VISIT).as_binary();
    let mut out = BinaryBuilder::with_capacity(visits.len(), 16 * visits.len());
    for row in 0..visits.len() {
        out.append_option(stands(visits, allowed, row).then(|| visits.value(row)));
    }
    Arc::new(out.finish())
}

fn clock_names(columns: &RecordBatch) -> StringArray {
    let clocks = columns.column(layout::CLOCK).as_primitive::<UInt8Type>().values();
    clocks.iter().map(|code| Some(ClockSource::of_code(*code).name())).collect()
}

/// The granted purposes by name, as far as anything of the family is kept for them: what was granted beside would only tell
/// people apart. The text is made once for each set, of which a batch has a few.
fn purposes(package: &Package, family: &Family, columns: &RecordBatch) -> StringArray {
    let kept = family.all_purposes().0;
    let mut texts = HashMap::new();
    let granted = columns.column(layout::GRANTED).as_primitive::<UInt32Type>().values();
    for granted in granted {
        let set = PurposeSet(granted & kept);
        texts.entry(set.0).or_insert_with(|| package.purposes_text(set));
    }
    granted.iter().map(|granted| texts.get(&(granted & kept))).collect()
}

fn clock_unknown(columns: &RecordBatch) -> u64 {
    let clocks = columns.column(layout::CLOCK).as_primitive::<UInt8Type>().values();
    let received = |code: &&u8| ClockSource::of_code(**code) == ClockSource::Received;
    clocks.iter().filter(received).count() as u64
}

#[cfg(test)]
mod left_out;
#[cfg(test)]
mod linkability;
#[cfg(test)]
mod tests;
