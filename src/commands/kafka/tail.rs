//! `quorate kafka tail`: frames as they lie in the log, for the operator, who holds the keys.
//!
//! Headers are clear; with `--rows` gate 1 opens the frames with the keys that this machine has, and its rows are shown as
//! they would be stored, but for every pseudonym and event key, which is masked. Nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::{Error, Gate, Origin, Sealed};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::LineDelimitedWriter;
use schemas::{Clock, Millis};
use transport::LogError;
use transport::kafka::{Record, TopicReader};

use crate::commands::print;
use crate::config::Config;
use crate::store::kafka::client;
use crate::store::shared::gate_to_look;
use crate::store::{package, system_clock};

/// Bytes of frames read at once.
const READ_BYTES_MAX: usize = 4 << 20;
/// What stands in the place of a pseudonym.
const MASK: &str = "(masked)";
/// Between two looks at all partitions, if nothing is heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Options of `kafka tail`.
#[derive(clap::Args)]
pub struct Args {
    /// The partition; without it all.
    #[arg(long)]
    pub(super) partition: Option<u16>,
    /// Begins that many frames before the end of each partition.
    #[arg(long, value_name = "FRAMES", default_value_t = 10)]
    pub(super) last: u64,
    /// Goes on as frames come, until it is stopped.
    #[arg(long, short)]
    pub(super) follow: bool,
    /// Shows the rows too, with pseudonyms masked. They are personal data all the same.
    #[arg(long)]
    pub(super) rows: bool,
}

/// Prints frames, a JSON object a line.
///
/// # Errors
///
/// If brokers do not answer, or with `--rows` if the keys cannot be had.
pub async fn run(args: &Args, config: Config) -> anyhow::Result<()> {
    let client = client(&config)?;
    let over = BTreeMap::new();
    let reader = TopicReader::new(&client, &client.group(), &client.topic(), &over)?;
    let count = reader.partitions().await?;
    let partitions: BTreeSet<u16> = match args.partition {
        Some(partition) if partition < count => [partition].into(),
        Some(partition) => anyhow::bail!("no partition {partition}: there are {count}"),
        None => (0..count).collect(),
    };
    let rows = if args.rows { Some(Rows::new(&config)?) } else { None };
    let mut next = BTreeMap::new();
    for partition in partitions {
        let (low, end) = (reader.low(partition).await?, reader.end(partition).await?);
        next.insert(partition, end.saturating_sub(args.last).max(low));
    }
    loop {
        if let Some(rows) = &rows {
            rows.refresh()?;
        }
        for (partition, next) in &mut next {
            let end = reader.end(*partition).await?;
            while *next < end {
                let chunk = match reader.read(*partition, *next, READ_BYTES_MAX).await {
                    Err(LogError::Lost { to, .. }) => {
                        *next = to;
                        continue;
                    }
                    read => read?,
                };
                *next = chunk.next;
                for record in chunk.records {
                    print(&show(*partition, record, rows.as_ref())?)?;
                }
            }
        }
        if !args.follow {
            return Ok(());
        }
        drop(tokio::time::timeout(LOOK_EVERY, reader.appended()).await);
    }
}

/// Gate 1, for looking.
struct Rows {
    gate: Arc<Gate>,
    clock: Clock,
}

impl Rows {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let clock = system_clock();
        let package = package(config.policy.as_deref())?;
        let gate = gate_to_look(config, &package, &clock)?;
        Ok(Self { gate, clock })
    }

    /// Reads what others did to keys and suppression list: without that gate 1 soon opens nothing.
    fn refresh(&self) -> anyhow::Result<()> {
        Ok(self.gate.refresh()?)
    }

    /// The rows of a frame as they would be stored, masked; what cannot be opened is said instead.
    fn of(&self, frame: Sealed, partition: u16, position: u64) -> anyhow::Result<String> {
        if frame.header().rows == 0 {
            return Ok(String::new());
        }
        let origin = Origin { partition, position, import: false };
        let batch =
            self.gate.open(frame).and_then(|raw| self.gate.anonymize(raw, &origin, (self.clock)()));
        match batch {
            Ok(batch) => json(&masked(batch.rows())?),
            Err(Error::Destroyed(_)) => Ok("{\"rows\":\"their key is destroyed\"}\n".to_owned()),
            Err(error) if error.is_unreadable() => Ok("{\"rows\":\"unreadable\"}\n".to_owned()),
            Err(error) => Err(error.into()),
        }
    }
}

/// One frame, as lines.
fn show(partition: u16, record: Record, rows: Option<&Rows>) -> anyhow::Result<String> {
    let position = record.position;
    let frame = record.payload.and_then(|payload| Sealed::parse(payload).ok());
    let Some(frame) = frame else {
        let line =
            serde_json::json!({"partition": partition, "position": position, "frame": "damaged"});
        return Ok(format!("{line}\n"));
    };
    let header = frame.header();
    let line = serde_json::json!({
        "partition": partition,
        "position": position,
        "hour": Millis::of_hour(header.hour).to_string(),
        "generation": header.generation,
        "family": header.family,
        "policy": header.policy.to_string(),
        "rows": header.rows,
        "ended": header.tally.ended(),
        "bytes": frame.as_bytes().len(),
    });
    let shown = match rows {
        Some(rows) => rows.of(frame, partition, position)?,
        None => String::new(),
    };
    Ok(format!("{line}\n{shown}"))
}

/// The same rows with a word in the place of every pseudonym: of every column of bytes.
fn masked(rows: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let is_bytes = matches!(
            field.data_type(),
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        );
        if !is_bytes {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let words = (0..column.len()).map(|row| column.is_valid(row).then_some(MASK));
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(words.collect::<StringArray>()));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn json(rows: &RecordBatch) -> anyhow::Result<String> {
    let mut lines = LineDelimitedWriter::new(Vec::new());
    lines.write(rows)?;
    lines.finish()?;
    Ok(String::from_utf8(lines.into_inner())?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int32Array};

    use super::*;

    #[test]
    fn no_pseudonym_is_shown() {
        let bytes = BinaryArray::from_opt_vec(vec![Some(&[0xab; 16][..]), None]);
        let rows = RecordBatch::try_from_iter([
            ("contributor", Arc::new(bytes.clone()) as ArrayRef),
            ("_key", Arc::new(bytes) as ArrayRef),
            ("count", Arc::new(Int32Array::from(vec![7, 8])) as ArrayRef),
        ])
        .unwrap();
        let text = json(&masked(&rows).unwrap()).unwrap();
        assert!(!text.contains("abab"), "{text}");
        assert_eq!(text.matches(MASK).count(), 2, "{text}");
        assert!(text.contains("\"count\":7"), "{text}");
    }

    #[test]
    fn pseudonyms_are_columns_of_bytes() {
        let package = package(None).unwrap();
        for family in &package.families {
            let schema = family.stored_schema();
            for name in ["contributor", "_key"] {
                let field = schema.field_with_name(name).unwrap();
                assert_eq!(field.data_type(), &DataType::Binary, "{name}");
            }
            for field in &family.fields {
                let is_pseudonym = matches!(field.transform, schemas::model::Transform::Pseudonym);
                if let (true, Ok(stored)) = (is_pseudonym, schema.field_with_name(&field.name)) {
                    assert_eq!(stored.data_type(), &DataType::Binary, "{}", field.name);
                }
            }
        }
    }
}
