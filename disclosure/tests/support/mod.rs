//! A small package, rows of its family in a real Delta table, and a folder to keep all in.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use deltalake::DeltaTable;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::protocol::SaveMode;
use disclosure::Disclosure;
use schemas::columns::{CONTRIBUTOR, DAY, EPOCH, PARTITION, POSITION, PURPOSES, ROW, TIME};
use schemas::model::{Mechanism, Package};
use schemas::time::Millis;
use url::Url;

const POLICY: &str = r#"
controller = "Test A/S"
version = "v1"
[purposes.improve]
basis = "legitimate interest"
source = "text"
notice = "to see how it is used"
[purposes.im_rove]
basis = "legitimate interest"
notice = "a name that another one would match, if an underscore were any letter"
[purposes.security]
basis = "legitimate interest"
notice = "to keep it safe"
"#;

const FAMILY: &str = r#"
family = "device_usage"
contributor = { field = "serial_number", called = "devices" }
epoch = "28 days"
grain = "1 hour"
late = "1 day"
purposes = ["improve"]

[fields]
serial_number = { type = "string(64)", is = "identifier", transform = "pseudonym", about = "serial number" }
product = { type = ["x1", "kathea"], is = "usage", about = "product" }
version = { type = "version", is = "usage", transform = { truncate = "major.minor" }, about = "version" }
country = { from = "address", is = "location", transform = "country", about = "country" }
duration = { type = "ms", range = [0, 3_600_000], is = "usage", transform = { bucket = 100 }, about = "time" }
error = { type = "string(8)", pattern = "E[0-9]{3,5}", is = "usage", about = "error code" }
"#;

/// A statistic of each day, all devices together and by version.
pub(crate) const DEVICES: &str = r#"
[statistics.active_devices]
from = "device_usage"
measures = ["devices", "events"]
every = "day"
by = [[], ["version"]]
"#;

/// A package with those statistics, with k and rounding set in each.
pub(crate) fn package(statistics: &str, k: u64, rounding: u64) -> Arc<Package> {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let files = vec![
        file("policy.toml", POLICY),
        file("device_usage.toml", FAMILY),
        file("statistics.toml", statistics),
    ];
    let mut package = Package::from_files(files).unwrap_or_else(|mistakes| {
        panic!("{}", mistakes.iter().map(|m| format!("{m}\n")).collect::<String>())
    });
    for statistic in &mut package.statistics {
        statistic.mechanism = Mechanism::Threshold { min_contributors: k, rounding };
    }
    Arc::new(package)
}

/// One event row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) time: Millis,
    pub(crate) contributor: Option<u64>,
    pub(crate) epoch: i32,
    pub(crate) product: Option<&'static str>,
    pub(crate) version: Option<&'static str>,
    pub(crate) country: Option<&'static str>,
    pub(crate) duration: Option<i64>,
    pub(crate) error: Option<&'static str>,
    /// Names of the purposes that stood, with commas between.
    pub(crate) purposes: Option<&'static str>,
}

impl Row {
    pub(crate) fn new(time: &str, contributor: u64) -> Self {
        Self {
            time: at(time),
            contributor: Some(contributor),
            epoch: 700,
            product: Some("x1"),
            version: Some("3.8"),
            country: Some("DK"),
            duration: Some(1000),
            error: None,
            purposes: Some("improve"),
        }
    }
}

pub(crate) fn at(text: &str) -> Millis {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    Millis::parse(&whole).unwrap()
}

/// Where a test keeps its tables.
pub(crate) struct Store {
    folder: tempfile::TempDir,
    pub(crate) package: Arc<Package>,
}

impl Store {
    pub(crate) fn new(package: Arc<Package>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), package }
    }

    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn disclosure(&self) -> Disclosure {
        self.disclosure_of(&self.package)
    }

    pub(crate) fn disclosure_of(&self, package: &Arc<Package>) -> Disclosure {
        let roots = ["events", "statistics", "ledger"].map(|name| self.root(name));
        let [events, statistics, ledger] = roots;
        Disclosure::new(Arc::clone(package), events, statistics, ledger)
    }

    /// Appends rows to `events/device_usage`, one commit a call.
    pub(crate) async fn add(&self, rows: &[Row]) {
        let family = &self.package.families[0];
        let folder = self.root("events").join(&family.name);
        let table = open_or_create(&folder, &family.stored_schema()).await;
        table.write([batch(&self.package, rows)]).with_save_mode(SaveMode::Append).await.unwrap();
    }
}

async fn open_or_create(folder: &Path, schema: &arrow::datatypes::Schema) -> DeltaTable {
    std::fs::create_dir_all(folder).unwrap();
    let url = Url::from_directory_path(folder).unwrap();
    let table = DeltaTable::try_from_url(url).await.unwrap();
    if table.version().is_some() {
        return table;
    }
    let columns: StructType = schema.try_into_kernel().unwrap();
    let create = table.create().with_columns(columns.fields().cloned());
    create.with_partition_columns([DAY]).await.unwrap()
}

fn batch(package: &Package, rows: &[Row]) -> RecordBatch {
    fn texts(rows: &[Row], of: impl Fn(&Row) -> Option<&'static str>) -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<StringArray>())
    }
    let schema = package.families[0].stored_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|column| -> ArrayRef {
            match column.name().as_str() {
                DAY => {
                    Arc::new(rows.iter().map(|row| Some(row.time.day())).collect::<Date32Array>())
                }
                TIME => Arc::new(
                    TimestampMicrosecondArray::from_iter_values(
                        rows.iter().map(|r| r.time.0 * 1000),
                    )
                    .with_timezone("UTC"),
                ),
                CONTRIBUTOR => Arc::new(BinaryArray::from_iter(
                    rows.iter().map(|row| row.contributor.map(|who| pseudonym(who, row.epoch))),
                )),
                EPOCH => Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.epoch))),
                "product" => texts(rows, |row| row.product),
                "version" => texts(rows, |row| row.version),
                "country" => texts(rows, |row| row.country),
                "error" => texts(rows, |row| row.error),
                PURPOSES => texts(rows, |row| row.purposes),
                "duration" => Arc::new(rows.iter().map(|row| row.duration).collect::<Int64Array>()),
                PARTITION | ROW => Arc::new(Int32Array::from(vec![0; rows.len()])),
                POSITION => Arc::new(Int64Array::from(vec![0; rows.len()])),
                _ => new_null_array(column.data_type(), rows.len()),
            }
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

/// A device has another pseudonym in each epoch.
pub(crate) fn pseudonym(who: u64, epoch: i32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&who.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes[8..12].copy_from_slice(&epoch.to_le_bytes());
    bytes[0] ^= epoch.to_le_bytes()[0];
    bytes
}

/// Everything in a statistic's table, as one batch.
pub(crate) async fn statistic(store: &Store, name: &str) -> RecordBatch {
    let table = disclosure::table::open(&store.root("statistics"), name).await.unwrap().unwrap();
    let rows = disclosure::table::rows(&table, name).await.unwrap();
    let context = datafusion::prelude::SessionContext::new();
    let batches = context.read_table(rows).unwrap().collect().await.unwrap();
    match batches.first() {
        Some(first) => arrow::compute::concat_batches(&first.schema(), &batches).unwrap(),
        None => RecordBatch::new_empty(table.snapshot().unwrap().snapshot().arrow_schema()),
    }
}
