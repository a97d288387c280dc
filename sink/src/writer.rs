//! Rows on their way into files: one open file for each family, day and key epoch, in bounded number and memory.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Date32Type, Int32Type};
use schemas::columns;

use crate::error::SinkError;
use crate::files::{CHUNK_ROWS, DataFile, Label, OpenFile, Order, Shape};

/// Rows of one family that wait to be sorted into files: enough that a month of history, 31 days at once, still goes
/// into the encoders in runs of a thousand.
const WAITING_ROWS_MAX: usize = 32 * 1024;
/// Waiting rows are sorted earlier if they take this many bytes.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Files open at once over all families; the one longest unused is closed for another.
const OPEN_MAX: usize = 96;
/// Memory of all encoders together; beyond it the largest ends its row group.
const MEMORY_MAX: usize = 96 << 20;
/// A file is closed at this size: what one request brings to an object store in its time.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where a row belongs: family, day, epoch.
type Place = (usize, i32, i32);

/// Batch and row of each.
type Group = Vec<(usize, usize)>;

/// All open files.
pub(crate) struct Writers {
    shapes: Vec<Shape>,
    waiting: Vec<Waiting>,
    open: BTreeMap<Place, Open>,
    closed: Vec<(usize, DataFile)>,
    closed_bytes: u64,
    memory: usize,
    uses: u64,
}

struct Open {
    file: OpenFile,
    memory: usize,
    bytes: u64,
    used: u64,
}

/// Rows of one family that are not in a file yet.
#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    /// Batch and row, by day and epoch. Few at a time, so a list is searched.
    groups: Vec<((i32, i32), Group)>,
    rows: usize,
    bytes: usize,
}

impl Waiting {
    fn group(&mut self, key: (i32, i32), hint: usize) -> usize {
        if self.groups.get(hint).is_some_and(|(known, _)| *known == key) {
            return hint;
        }
        self.groups.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
            self.groups.push((key, Vec::new()));
            self.groups.len() - 1
        })
    }
}

impl Writers {
    /// `shapes`: one a family.
    pub(crate) fn new(shapes: Vec<Shape>) -> Self {
        let waiting = shapes.iter().map(|_| Waiting::default()).collect();
        Self {
            shapes,
            waiting,
            open: BTreeMap::new(),
            closed: Vec::new(),
            closed_bytes: 0,
            memory: 0,
            uses: 0,
        }
    }

    /// Takes the rows of `rows` whose numbers are in `kept`, all without it.
    pub(crate) fn push(
        &mut self,
        family: usize,
        rows: &RecordBatch,
        kept: Option<&[usize]>,
    ) -> Result<(), SinkError> {
        let table = &self.shapes[family].table;
        let days =
            rows.column_by_name(columns::DAY).and_then(|day| day.as_primitive_opt::<Date32Type>());
        let epochs = rows
            .column_by_name(columns::EPOCH)
            .and_then(|epoch| epoch.as_primitive_opt::<Int32Type>());
        let (Some(days), Some(epochs)) = (days, epochs) else {
            return Err(SinkError::damaged(table, "a batch"));
        };
        let inside = (0..rows.num_columns())
            .filter(|&column| rows.schema_ref().field(column).name() != columns::DAY);
        let inside = rows.project(&inside.collect::<Vec<_>>()).map_err(SinkError::arrow(table))?;

        let waiting = &mut self.waiting[family];
        let batch = waiting.batches.len();
        let mut hint = 0;
        let mut sort = |row: usize| {
            hint = waiting.group((days.value(row), epochs.value(row)), hint);
            waiting.groups[hint].1.push((batch, row));
        };
        let count = match kept {
            Some(kept) => {
                kept.iter().copied().for_each(&mut sort);
                kept.len()
            }
            None => {
                (0..rows.num_rows()).for_each(&mut sort);
                rows.num_rows()
            }
        };
        waiting.rows += count;
        waiting.bytes += inside.get_array_memory_size();
        waiting.batches.push(inside);
        if waiting.rows >= WAITING_ROWS_MAX || waiting.bytes >= WAITING_BYTES_MAX {
            self.sort(family)?;
        }
        Ok(())
    }

    /// Puts the waiting rows of a family into its files.
    fn sort(&mut self, family: usize) -> Result<(), SinkError> {
        let Waiting { batches, groups, .. } = std::mem::take(&mut self.waiting[family]);
        let batches = batches.iter().collect::<Vec<_>>();
        for ((day, epoch), rows) in groups {
            let place = (family, day, epoch);
            for chunk in rows.chunks(CHUNK_ROWS) {
                let run = chunk
                    .windows(2)
                    .all(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 == pair[1].1);
                // Rows that lie together already are not copied.
                let chunk = if run {
                    batches[chunk[0].0].slice(chunk[0].1, chunk.len())
                } else {
                    interleave_record_batch(&batches, chunk)
                        .map_err(SinkError::arrow(&self.shapes[family].table))?
                };
                self.write(place, &chunk)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, place: Place, rows: &RecordBatch) -> Result<(), SinkError> {
        self.uses += 1;
        if !self.open.contains_key(&place) {
            if self.open.len() >= OPEN_MAX {
                let oldest =
                    self.open.iter().min_by_key(|(_, open)| open.used).map(|(place, _)| *place);
                self.close(oldest.expect("as many as OPEN_MAX are open"))?;
            }
            let (family, day, epoch) = place;
            let label = Label { order: Order::Fresh, epoch };
            let file = OpenFile::create(&self.shapes[family], Some(day), label)?;
            self.open.insert(place, Open { file, memory: 0, bytes: 0, used: 0 });
        }
        let open = self.open.get_mut(&place).expect("just made");
        open.file.write(rows)?;
        open.used = self.uses;
        self.memory = self.memory - open.memory + measure(open);
        if open.bytes >= FILE_BYTES_MAX {
            self.close(place)?;
        }
        while self.memory > MEMORY_MAX {
            let largest = self.open.values_mut().max_by_key(|open| open.memory);
            let largest = largest.expect("something takes the memory");
            largest.file.flush()?;
            let before = largest.memory;
            self.memory = self.memory - before + measure(largest);
            if largest.memory >= before {
                break;
            }
        }
        Ok(())
    }

    fn close(&mut self, place: Place) -> Result<(), SinkError> {
        if let Some(open) = self.open.remove(&place) {
            self.memory -= open.memory;
            let file = open.file.close()?;
            self.closed_bytes += file.bytes;
            self.closed.push((place.0, file));
        }
        Ok(())
    }

    /// Bytes in files that no commit has named, and of rows that wait for theirs; an estimate.
    pub(crate) fn bytes(&self) -> u64 {
        let open = self.open.values().map(|open| open.bytes).sum::<u64>();
        let waiting = self.waiting.iter().map(|waiting| waiting.bytes as u64).sum::<u64>();
        self.closed_bytes + open + waiting
    }

    /// Finishes every file; they come by family.
    pub(crate) fn finish(&mut self) -> Result<Vec<Vec<DataFile>>, SinkError> {
        for family in 0..self.waiting.len() {
            self.sort(family)?;
        }
        while let Some(place) = self.open.keys().next().copied() {
            self.close(place)?;
        }
        let mut files = vec![Vec::new(); self.shapes.len()];
        for (family, file) in self.closed.drain(..) {
            files[family].push(file);
        }
        self.closed_bytes = 0;
        Ok(files)
    }
}

/// Takes stock of a file, and gives its memory.
fn measure(open: &mut Open) -> usize {
    open.memory = open.file.memory();
    open.bytes = open.file.bytes();
    open.memory
}
