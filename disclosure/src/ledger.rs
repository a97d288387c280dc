//! `ledger/releases`: what was released, once for each statistic and period; appended to and never changed. A period that
//! was computed again has another line for each time, of which the last one stands.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field as Column, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::SessionContext;
use deltalake::DeltaTable;
use schemas::columns::timestamp;
use schemas::time::Millis;
use storage::Root;

use crate::period::Period;
use crate::statistic::{PERIOD_END, PERIOD_START, POLICY_VERSION, RELEASED_AT, REVISED_AT};
use crate::{Error, table};

/// Name of the ledger's table below the ledger's root.
pub const RELEASES: &str = "releases";

/// One line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Name of the statistic.
    pub statistic: String,
    /// What was released.
    pub period: Period,
    /// Rows in the statistic's table.
    pub groups: u64,
    /// Groupings of which something is hidden, as [`crate::statistic::GROUPING`] writes them.
    pub hidden: Vec<String>,
    /// BLAKE3 of those rows, hexadecimal, as [`digest`] makes it.
    pub digest: String,
    /// First version of the statistic's table that holds them.
    pub table_version: i64,
    /// Version of the policy package.
    pub policy_version: String,
    /// When.
    pub released_at: Millis,
    /// When it was computed again, if it was.
    pub revised_at: Option<Millis>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Column::new("statistic", DataType::Utf8, false),
        Column::new(PERIOD_START, timestamp(), false),
        Column::new(PERIOD_END, timestamp(), false),
        Column::new("groups", DataType::Int64, false),
        Column::new("hidden", DataType::Boolean, false),
        Column::new("hidden_groupings", DataType::Utf8, false),
        Column::new("digest", DataType::Utf8, false),
        Column::new("table_version", DataType::Int64, false),
        Column::new(POLICY_VERSION, DataType::Utf8, false),
        Column::new(RELEASED_AT, timestamp(), false),
        Column::new(REVISED_AT, timestamp(), true),
    ]))
}

/// Everything released so far, of one statistic or of all, in order of statistic and period; of a period that was revised
/// what stands now.
///
/// # Errors
///
/// [`Error::Store`], or [`Error::Column`] for a ledger of another build.
pub async fn releases(
    root: impl Into<Root>,
    statistic: Option<&str>,
) -> Result<Vec<Release>, Error> {
    match table::open(root, RELEASES).await? {
        Some(ledger) => read(&ledger, statistic).await,
        None => Ok(Vec::new()),
    }
}

/// Number of the last commit to the ledger; none before the first. Reads names of files and nothing else: while it stays
/// the same, so does what [`releases`] gives. `known` is one that there was, if any: then no more than what came since is looked
/// for.
///
/// # Errors
///
/// [`Error::Folder`].
pub async fn last_commit(root: &Root, known: Option<u64>) -> Result<Option<u64>, Error> {
    table::last_commit(root, RELEASES, known).await
}

/// The ledger as one releaser saw it last: what others append meanwhile makes its own next append fail.
pub(crate) struct Ledger(DeltaTable);

impl Ledger {
    pub(crate) async fn open(root: &Root) -> Result<Self, Error> {
        Ok(Self(table::open_or_create(root, RELEASES, &schema()).await?))
    }

    pub(crate) async fn releases(&self) -> Result<Vec<Release>, Error> {
        read(&self.0, None).await
    }

    /// Appends `lines` in one commit.
    ///
    /// # Errors
    ///
    /// [`Error::Fenced`] if anybody else appended since this ledger was opened.
    pub(crate) async fn record(&mut self, lines: &[Release]) -> Result<(), Error> {
        self.0 = table::append(&self.0, RELEASES, encode(schema(), lines)).await?;
        Ok(())
    }
}

async fn read(ledger: &DeltaTable, statistic: Option<&str>) -> Result<Vec<Release>, Error> {
    let provider = table::rows(ledger, RELEASES).await?;
    let rows = async {
        let mut rows = SessionContext::new().read_table(provider)?;
        if let Some(statistic) = statistic {
            rows = rows.filter(ident("statistic").eq(lit(statistic)))?;
        }
        rows.collect().await
    };
    let batches = rows.await.map_err(|error| Error::store(RELEASES)(error.into()))?;
    let mut all = Vec::new();
    for batch in &batches {
        all.extend(decode(batch)?);
    }
    let place = |line: &Release| (line.statistic.clone(), line.period);
    all.sort_by_cached_key(|line| (place(line), std::cmp::Reverse(line.revised_at)));
    all.dedup_by(|later, first| place(later) == place(first));
    Ok(all)
}

fn encode(schema: SchemaRef, lines: &[Release]) -> RecordBatch {
    let texts = |text: &dyn Fn(&Release) -> String| {
        Arc::new(lines.iter().map(|line| Some(text(line))).collect::<StringArray>()) as ArrayRef
    };
    let times = |time: &dyn Fn(&Release) -> Option<Millis>| {
        let micros = lines.iter().map(|line| Some(time(line)?.0.saturating_mul(1000)));
        let micros = micros.collect::<TimestampMicrosecondArray>();
        Arc::new(micros.with_timezone("UTC")) as ArrayRef
    };
    let numbers = |number: &dyn Fn(&Release) -> i64| {
        Arc::new(lines.iter().map(|line| Some(number(line))).collect::<Int64Array>()) as ArrayRef
    };
    let hidden: Vec<bool> = lines.iter().map(|line| !line.hidden.is_empty()).collect();
    let list = |line: &Release| {
        serde_json::to_string(&line.hidden).expect("a list of texts always has a JSON form")
    };
    let columns = vec![
        texts(&|line| line.statistic.clone()),
        times(&|line| Some(line.period.start)),
        times(&|line| Some(line.period.end)),
        numbers(&|line| i64::try_from(line.groups).unwrap_or(i64::MAX)),
        Arc::new(BooleanArray::from(hidden)),
        texts(&list),
        texts(&|line| line.digest.clone()),
        numbers(&|line| line.table_version),
        texts(&|line| line.policy_version.clone()),
        times(&|line| Some(line.released_at)),
        times(&|line| line.revised_at),
    ];
    RecordBatch::try_new(schema, columns).expect("columns are those of the schema")
}

fn decode(batch: &RecordBatch) -> Result<Vec<Release>, Error> {
    let typed = |name: &str, kind: &DataType| {
        let column = batch.column_by_name(name).and_then(|column| cast(column, kind).ok());
        column.ok_or_else(|| Error::Column { table: RELEASES.to_owned(), column: name.to_owned() })
    };
    let texts = |name: &str| Ok(typed(name, &DataType::Utf8)?.as_string::<i32>().clone());
    let times = |name: &str| {
        Ok(typed(name, &timestamp())?.as_primitive::<TimestampMicrosecondType>().clone())
    };
    let numbers =
        |name: &str| Ok(typed(name, &DataType::Int64)?.as_primitive::<Int64Type>().clone());
    let (statistics, hidden, digests, policies) =
        (texts("statistic")?, texts("hidden_groupings")?, texts("digest")?, texts(POLICY_VERSION)?);
    let (starts, ends, released) = (times(PERIOD_START)?, times(PERIOD_END)?, times(RELEASED_AT)?);
    // A ledger from before there were revisions has none.
    let revised = match batch.column_by_name(REVISED_AT) {
        Some(_) => times(REVISED_AT)?,
        None => {
            let none = new_null_array(&timestamp(), batch.num_rows());
            none.as_primitive::<TimestampMicrosecondType>().clone()
        }
    };
    let (groups, versions) = (numbers("groups")?, numbers("table_version")?);
    let millis =
        |column: &TimestampMicrosecondArray, row| Millis(column.value(row).div_euclid(1000));
    (0..batch.num_rows())
        .map(|row| {
            Ok(Release {
                statistic: statistics.value(row).to_owned(),
                period: Period { start: millis(&starts, row), end: millis(&ends, row) },
                groups: u64::try_from(groups.value(row)).unwrap_or(0),
                hidden: serde_json::from_str(hidden.value(row)).map_err(|_| Error::Column {
                    table: RELEASES.to_owned(),
                    column: "hidden_groupings".to_owned(),
                })?,
                digest: digests.value(row).to_owned(),
                table_version: versions.value(row),
                policy_version: policies.value(row).to_owned(),
                released_at: millis(&released, row),
                revised_at: revised.is_valid(row).then(|| millis(&revised, row)),
            })
        })
        .collect()
}

/// BLAKE3 over rows of a statistic as text, whatever their order: each value with its column's name, both with
/// their length before them, nulls left out (so that a column added later changes no old digest).
///
/// # Errors
///
/// [`Error::Column`] for a type that has no text.
pub fn digest(batches: &[RecordBatch]) -> Result<String, Error> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let mut hasher = blake3::Hasher::new();
            let schema = batch.schema();
            let mut columns: Vec<_> = schema.fields().iter().zip(batch.columns()).collect();
            columns.sort_by_key(|(column, _)| column.name().clone());
            for (column, values) in columns.into_iter().filter(|(_, values)| values.is_valid(row)) {
                let formatter = ArrayFormatter::try_new(values, &options).map_err(|_| {
                    Error::Column { table: "statistic".to_owned(), column: column.name().clone() }
                })?;
                for text in [column.name().as_str(), &formatter.value(row).to_string()] {
                    hasher.update(&(text.len() as u64).to_le_bytes());
                    hasher.update(text.as_bytes());
                }
            }
            rows.push(*hasher.finalize().as_bytes());
        }
    }
    rows.sort_unstable();
    Ok(blake3::hash(rows.as_flattened()).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(statistic: &str) -> Release {
        Release {
            statistic: statistic.to_owned(),
            period: Period { start: Millis(0), end: Millis(86_400_000) },
            groups: 3,
            hidden: vec![String::new(), "product, version".to_owned()],
            digest: "00".to_owned(),
            table_version: 7,
            policy_version: "v1".to_owned(),
            released_at: Millis(1),
            revised_at: None,
        }
    }

    #[tokio::test]
    async fn lines_come_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().into()).await.unwrap();
        ledger.record(&[line("b"), line("a")]).await.unwrap();
        ledger.record(&[line("c")]).await.unwrap();
        assert_eq!(ledger.releases().await.unwrap(), [line("a"), line("b"), line("c")]);
        assert_eq!(releases(folder.path(), Some("b")).await.unwrap(), [line("b")]);
    }

    #[tokio::test]
    async fn of_a_revised_period_the_last_line_stands() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().into()).await.unwrap();
        let again = |at| Release { groups: 9, revised_at: Some(Millis(at)), ..line("a") };
        ledger.record(&[line("a"), line("b")]).await.unwrap();
        ledger.record(&[again(5)]).await.unwrap();
        ledger.record(&[Release { groups: 8, ..again(6) }]).await.unwrap();
        let stands = Release { groups: 8, ..again(6) };
        assert_eq!(ledger.releases().await.unwrap(), [stands, line("b")]);
    }

    #[tokio::test]
    async fn each_commit_has_another_number() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert_eq!(last_commit(&root, None).await.unwrap(), None);
        let mut ledger = Ledger::open(&root).await.unwrap();
        let made = last_commit(&root, None).await.unwrap().unwrap();
        ledger.record(&[line("a")]).await.unwrap();
        let first = last_commit(&root, Some(made)).await.unwrap().unwrap();
        ledger.record(&[line("b")]).await.unwrap();
        let last = last_commit(&root, Some(first)).await.unwrap().unwrap();
        assert_eq!([first, last], [made + 1, made + 2]);
        assert_eq!(last_commit(&root, Some(last)).await.unwrap(), Some(last));
    }

    #[tokio::test]
    async fn who_has_not_seen_the_last_line_cannot_append() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = Ledger::open(&folder.path().into()).await.unwrap();
        let mut other = Ledger::open(&folder.path().into()).await.unwrap();
        one.record(&[line("a")]).await.unwrap();
        let refused = other.record(&[line("a")]).await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
        assert_eq!(releases(folder.path(), None).await.unwrap().len(), 1);
    }

    #[test]
    fn a_digest_depends_on_values_and_names_and_not_on_order() {
        let batch = |values: &[&str], name: &str| {
            let column = StringArray::from(values.to_vec());
            let schema = Schema::new(vec![Column::new(name, DataType::Utf8, true)]);
            RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)]).unwrap()
        };
        let of = |batch: RecordBatch| digest(&[batch]).unwrap();
        assert_eq!(of(batch(&["x", "y"], "a")), of(batch(&["y", "x"], "a")));
        assert_ne!(of(batch(&["x", "y"], "a")), of(batch(&["x", "z"], "a")));
        assert_ne!(of(batch(&["x"], "ab")), of(batch(&["bx"], "a")));
    }
}
