//! Rows as they lie in the files of a table, and what its log says of them.

use std::path::Path;

use arrow::json::ArrayWriter;
use deltalake::DeltaTable;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

/// A row: columns that are not null, binary ones in hexadecimal.
pub(super) type Row = Map<String, Value>;

/// The rows of the table in `folder`, from the files that its log names now; none where there is no table.
pub(super) fn rows(folder: &Path) -> Vec<Row> {
    if !folder.join("_delta_log").is_dir() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for file in files(folder) {
        let file = std::fs::File::open(folder.join(file)).expect("a file that the log names");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a Parquet file");
        let batches: Vec<_> =
            reader.build().unwrap().map(|batch| batch.expect("whole rows")).collect();
        let mut writer = ArrayWriter::new(Vec::new());
        writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
        writer.finish().unwrap();
        let text = writer.into_inner();
        let more: Vec<Row> = serde_json::from_slice(&text).expect("an array of rows");
        rows.extend(more);
    }
    rows
}

fn files(folder: &Path) -> Vec<String> {
    let url = url::Url::from_directory_path(folder).expect("an absolute path");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table: DeltaTable = runtime.block_on(deltalake::open_table(url)).expect("a Delta table");
    let root = url::Url::from_directory_path(folder).unwrap();
    let files = table.get_file_uris().expect("a table that is open");
    files
        .map(|file| {
            let file = url::Url::parse(&file).map_or(file.clone(), |url| url.path().to_owned());
            let name = file.strip_prefix(root.path()).map(str::to_owned);
            name.unwrap_or(file)
        })
        .collect()
}

/// What each commit that is still in the log says of itself.
pub(super) fn manifests(folder: &Path) -> Vec<Value> {
    let mut found = Vec::new();
    let listed = std::fs::read_dir(folder.join("_delta_log"));
    for entry in listed.into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            // A checkpoint may take its place meanwhile.
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            found.extend(lines.filter_map(|line| line.get("commitInfo")?.get("quorate").cloned()));
        }
    }
    found
}
