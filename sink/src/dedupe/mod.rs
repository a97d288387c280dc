//! Finds the second copy of an event: event keys of the dedupe window, and the place of the first copy.
//!
//! Keys of the rows since the last commit are in memory; those of committed rows are in fjall. The index on disk
//! holds nothing that the tables do not: it names the version of each table that it reflects, takes in
//! what was added since ([`catch_up`]), and is built anew if it is missing or cannot be read.
//!
//! ```text
//! keyspace            key                          value
//! meta                version/<family>             id of the table, its version, partitions: slashes between
//! <family>/day/<n>    day u32, hash (16 bytes)     partition u16, position u64, row u32
//! <family>/any/<n>    0 u32, hash (16 bytes)       the same
//! ```
//! The partitions, with commas between, are those whose keys are here; none are named where all are.
//! Numbers are big-endian. Keys of events whose own clock tells the day lie under that day, `n` counting spans of a few
//! days; all others lie under the span of one window in which they were committed. Both go by whole keyspaces.

pub(crate) mod catch_up;
mod span;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::path::Path;

use anonymizer::EventKey;
use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use schemas::{Family, Millis, Package};
use storage::Journals;

use self::span::Spans;
use crate::error::SinkError;

/// Blocks of keys are read at random; filters answer most questions before.
const CACHE_BYTES: u64 = 16 << 20;
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// Keys of one keyspace that wait in memory.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Keys a batch.
const BATCH_KEYS: usize = 4096;
/// What a key takes in memory until its commit, with its share of an empty half.
pub(crate) const PENDING_BYTES: u64 = 80;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) partition: u16,
    pub(crate) position: u64,
    pub(crate) row: u32,
}

impl Place {
    fn encode(self) -> [u8; 14] {
        let mut bytes = [0; 14];
        bytes[..2].copy_from_slice(&self.partition.to_be_bytes());
        bytes[2..10].copy_from_slice(&self.position.to_be_bytes());
        bytes[10..].copy_from_slice(&self.row.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (partition, rest) = bytes.split_first_chunk()?;
        let (position, row) = rest.split_first_chunk()?;
        Some(Self {
            partition: u16::from_be_bytes(*partition),
            position: u64::from_be_bytes(*position),
            row: u32::from_be_bytes(row.try_into().ok()?),
        })
    }
}

/// Day (or 0) and hash of an event key, as they lie in the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    bucket: u32,
    hash: [u8; 16],
}

impl Key {
    /// The key that a row has in the index.
    pub(crate) fn own(key: &EventKey) -> Self {
        Self { bucket: key.bucket, hash: key.hash }
    }

    /// Every key under which a first copy may lie.
    pub(crate) fn all(key: &EventKey) -> impl Iterator<Item = Self> + use<> {
        let before = key.alternate.map(|hash| Self { bucket: 0, hash });
        let in_time = key.in_time.map(|(bucket, hash)| Self { bucket, hash });
        [Some(Self::own(key)), before, in_time].into_iter().flatten()
    }

    fn encode(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&self.bucket.to_be_bytes());
        bytes[4..].copy_from_slice(&self.hash);
        bytes
    }
}

/// The hash is a keyed hash already, which nobody outside can steer: a part of it serves.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (part, _) = self.hash.split_first_chunk().expect("16 bytes hold 8");
        state.write_u64(u64::from_le_bytes(*part));
    }
}

/// Passes on the one number it is given.
#[derive(Default)]
struct Through(u64);

impl Hasher for Through {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Some partitions; none for all.
type Partitions = Option<BTreeSet<u16>>;

/// The index of every family.
pub(crate) struct Index {
    database: Database,
    meta: Keyspace,
    families: Vec<Known>,
    /// The partitions whose duplicates are looked for.
    own: Partitions,
}

/// The keys of one family.
struct Known {
    name: String,
    pending: HashMap<Key, Place, BuildHasherDefault<Through>>,
    /// Under their day.
    days: Spans,
    /// Days with committed keys: in any other nothing is looked up.
    held: HashSet<u32>,
    /// Under the time of their commit.
    any: Spans,
    dedupe_window_ms: i64,
    late_ms: i64,
}

/// A table's id and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reflected {
    pub(crate) table: String,
    pub(crate) version: u64,
}

impl Index {
    /// Opens the index in folder `dir`; one that cannot be read is deleted and begun anew.
    pub(crate) fn open(dir: &Path, package: &Package, own: Partitions) -> Result<Self, SinkError> {
        match Self::load(dir, package, own.clone()) {
            Err(SinkError::Index(error)) if storage::is_damage(&error) => {
                tracing::warn!(%error, "the dedupe index cannot be read and is built anew");
                std::fs::remove_dir_all(dir).map_err(SinkError::io("remove", dir))?;
                Self::load(dir, package, own)
            }
            loaded => loaded,
        }
    }

    /// Opens the index; a damaged one is refused.
    fn load(dir: &Path, package: &Package, own: Partitions) -> Result<Self, SinkError> {
        let look = |result| SinkError::io("read", dir)(result);
        let journals = Journals::measure(dir).map_err(look)?;
        if let Some(manifest) = storage::damaged_manifest(dir).map_err(look)? {
            tracing::warn!(path = %manifest.display(), "not as it was written");
            return Err(fjall::Error::Unrecoverable.into());
        }
        let database = storage::guarded(|| open(dir))?;
        // Keys in what was cut are gone, while later ones may say that all are there.
        if journals.were_cut().map_err(look)? {
            return Err(fjall::Error::InvalidTrailer.into());
        }
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default)?;
        let families = package
            .families
            .iter()
            .map(|family| Known::load(&database, family))
            .collect::<Result<Vec<_>, _>>()?;
        let index = Self { database, meta, families, own };
        index.drop_strays()?;
        Ok(index)
    }

    /// Deletes keyspaces of families that are gone, and of windows that were changed; what is kept of their
    /// family no longer counts as whole, so that it is built anew.
    fn drop_strays(&self) -> Result<(), SinkError> {
        for name in self.database.list_keyspace_names() {
            let known = self
                .families
                .iter()
                .any(|known| [&known.days, &known.any].iter().any(|spans| spans.owns(&name)));
            if let Some((family, _)) = name.split_once('/')
                && !known
            {
                self.meta.remove(version_key(family))?;
                self.database.persist(PersistMode::SyncData)?;
                let stray = self.database.keyspace(&name, options)?;
                self.database.delete_keyspace(stray)?;
            }
        }
        Ok(())
    }

    /// Whether a row with that key, at another place, is known. If not, it is from now on, at `place`.
    pub(crate) fn is_duplicate(
        &mut self,
        family: usize,
        key: &EventKey,
        place: Place,
    ) -> Result<bool, SinkError> {
        let known = &self.families[family];
        if Key::all(key).any(|key| known.pending.contains_key(&key))
            || self.is_elsewhere(family, key, place)?
        {
            return Ok(true);
        }
        self.families[family].pending.insert(Key::own(key), place);
        Ok(false)
    }

    /// Whether a committed row with that key is known at another place.
    pub(crate) fn is_elsewhere(
        &self,
        family: usize,
        key: &EventKey,
        place: Place,
    ) -> Result<bool, SinkError> {
        let known = &self.families[family];
        let committed = |key: Key| -> Result<bool, SinkError> {
            let found = match key.bucket {
                0 => known.any.find(&key.encode())?,
                day if !known.held.contains(&day) => None,
                day => {
                    let span = span::of_day(day, known.days.length());
                    known.days.find_in(span, &key.encode())?
                }
            };
            // A frame that is read again is no copy of itself.
            Ok(found.is_some_and(|found| Place::decode(&found) != Some(place)))
        };
        for key in Key::all(key) {
            if committed(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets the keys since the last commit.
    #[cfg(test)]
    pub(crate) fn forget_pending(&mut self) {
        self.families.iter_mut().for_each(|known| known.pending.clear());
    }

    /// The place of every committed key.
    #[cfg(test)]
    pub(crate) fn places(&self, family: usize) -> Vec<Place> {
        let known = &self.families[family];
        let values = known.days.values().chain(known.any.values());
        values.map(|value| Place::decode(&value).expect("as it was encoded")).collect()
    }

    /// Number of keys since the last commit.
    pub(crate) fn pending(&self) -> u64 {
        self.families.iter().map(|known| known.pending.len() as u64).sum()
    }

    /// Writes down the keys since the last commit, which `reflected` has made part of the table.
    pub(crate) fn commit(
        &mut self,
        family: usize,
        reflected: &Reflected,
        now: Millis,
    ) -> Result<(), SinkError> {
        let pending = std::mem::take(&mut self.families[family].pending);
        let mut keys = pending.into_iter().collect::<Vec<_>>();
        // In order, neighbours in the tree are written together.
        keys.sort_unstable_by_key(|(key, _)| *key);
        for keys in keys.chunks(BATCH_KEYS) {
            self.insert(family, keys, now)?;
        }
        self.reflect(family, reflected)
    }

    /// Records that the index holds the keys of that version.
    pub(crate) fn reflect(&self, family: usize, reflected: &Reflected) -> Result<(), SinkError> {
        // Before the version, so that no crash leaves a version whose keys are missing.
        self.database.persist(PersistMode::SyncData)?;
        let mut value = format!("{}/{}", reflected.table, reflected.version);
        if let Some(own) = &self.own {
            let own = own.iter().map(u16::to_string).collect::<Vec<_>>();
            value = format!("{value}/{}", own.join(","));
        }
        self.meta.insert(version_key(&self.families[family].name), value.as_bytes())?;
        Ok(())
    }

    /// The version that the index reflects, and the partitions whose keys it has, if not all; none if it was begun anew.
    pub(crate) fn reflected(
        &self,
        family: usize,
    ) -> Result<Option<(Reflected, Partitions)>, SinkError> {
        let value = self.meta.get(version_key(&self.families[family].name))?;
        Ok(value.and_then(|value| {
            let mut parts = std::str::from_utf8(&value).ok()?.splitn(3, '/');
            let (table, version) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
            let partitions = parts.next().map(|partitions| {
                partitions.split(',').filter_map(|partition| partition.parse().ok()).collect()
            });
            Some((Reflected { table, version }, partitions))
        }))
    }

    /// Takes in the keys of rows that came in without [`Index::is_duplicate`].
    pub(crate) fn remember(
        &mut self,
        family: usize,
        keys: &[(Key, Place)],
        now: Millis,
    ) -> Result<(), SinkError> {
        keys.chunks(BATCH_KEYS).try_for_each(|keys| self.insert(family, keys, now))
    }

    /// Writes keys; `committed` tells when a key without a day of its own came in.
    fn insert(
        &mut self,
        family: usize,
        keys: &[(Key, Place)],
        committed: Millis,
    ) -> Result<(), SinkError> {
        let known = &mut self.families[family];
        let mut batch = self.database.batch();
        for (key, place) in keys {
            let keyspace = match key.bucket {
                0 => {
                    let span = span::of_day(span::day(committed), known.any.length());
                    known.any.get_or_create(&self.database, span)?
                }
                day => {
                    known.held.insert(day);
                    let span = span::of_day(day, known.days.length());
                    known.days.get_or_create(&self.database, span)?
                }
            };
            batch.insert(keyspace, &key.encode()[..], &place.encode()[..]);
        }
        batch.commit()?;
        Ok(())
    }

    /// Forgets these keys of committed rows, as far as they still stand for the row at that place.
    pub(crate) fn forget(&mut self, family: usize, keys: &[(Key, Place)]) -> Result<(), SinkError> {
        let known = &self.families[family];
        let mut batch = self.database.batch();
        for (key, place) in keys {
            let spans = if key.bucket == 0 { &known.any } else { &known.days };
            let encoded = key.encode();
            for keyspace in spans.holding(span::of_day(key.bucket, spans.length()), key.bucket == 0)
            {
                let found = keyspace.get(encoded)?;
                if found.is_some_and(|found| Place::decode(&found) == Some(*place)) {
                    batch.remove(keyspace, &encoded[..]);
                }
            }
        }
        batch.commit()?;
        Ok(())
    }

    /// Forgets every key of a family.
    fn clear(&mut self, family: usize) -> Result<(), SinkError> {
        let known = &mut self.families[family];
        self.meta.remove(version_key(&known.name))?;
        known.held.clear();
        known.days.retain(&self.database, |_| false)?;
        known.any.retain(&self.database, |_| false)?;
        Ok(())
    }

    /// Forgets keys that no retry is looked for under any more, and counts the keyspaces that went.
    pub(crate) fn expire(&mut self, now: Millis) -> Result<u64, SinkError> {
        let mut expired = 0;
        for known in &mut self.families {
            // A retry bears the day of its first copy for as long as that day counts as the event's time.
            let lookback = known.dedupe_window_ms.max(known.late_ms);
            let oldest = span::day(now.plus(-lookback));
            let length = known.days.length();
            expired +=
                known.days.retain(&self.database, |span| span::last_day(span, length) >= oldest)?;
            known.held.retain(|&day| span::last_day(span::of_day(day, length), length) >= oldest);
            let oldest = span::day(now.plus(-known.dedupe_window_ms));
            let length = known.any.length();
            expired +=
                known.any.retain(&self.database, |span| span::last_day(span, length) >= oldest)?;
        }
        Ok(expired)
    }
}

impl Known {
    fn load(database: &Database, family: &Family) -> Result<Self, SinkError> {
        let window_days = span::days(family.dedupe_window_ms);
        let name = &family.name;
        // A quarter of the window: keys go soon after it, and not in too many pieces.
        let days = Spans::load(database, &format!("{name}/day/"), window_days.div_ceil(4))?;
        let any = Spans::load(database, &format!("{name}/any/"), window_days)?;
        let held = days.buckets()?;
        Ok(Self {
            name: name.clone(),
            pending: HashMap::default(),
            days,
            held,
            any,
            dedupe_window_ms: family.dedupe_window_ms,
            late_ms: family.late_ms,
        })
    }
}

fn open(dir: &Path) -> Result<Database, fjall::Error> {
    Database::builder(dir)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .journal_compression(CompressionType::None)
        .manual_journal_persist(true)
        .worker_threads(1)
        .open()
}

/// Hashes do not compress.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
}

fn version_key(family: &str) -> String {
    format!("version/{family}")
}
