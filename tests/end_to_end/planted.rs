//! The search that `canary.rs` rests on goes red: a leak planted in each place and form is found there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};
use data_encoding::{BASE64, HEXLOWER};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use quorate::scan::{Hash, Scanner};

use crate::support::search;

const CANARY: &str = "Kari.9f3a71c40b5e@clinic.example";

/// Forms in which a leak could come out, as somebody else writes them.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let percent = |byte: u8| format!("%{byte:02X}");
    let mut forms: Vec<(&str, Vec<u8>)> = vec![
        ("raw", CANARY.into()),
        ("case-folded", CANARY.to_uppercase().into()),
        ("percent-encoded", CANARY.bytes().map(percent).collect::<String>().into()),
        ("query string", CANARY.replace('@', "%40").into()),
        ("hex", HEXLOWER.encode(CANARY.as_bytes()).into()),
        ("base64", BASE64.encode(CANARY.as_bytes()).into()),
        ("base64, one byte later", BASE64.encode(format!("\"{CANARY}\"").as_bytes()).into()),
        ("base64, two bytes later", BASE64.encode(format!(":\"{CANARY}\"").as_bytes()).into()),
    ];
    for hash in Hash::ALL {
        forms.push(("hash", hash.of(CANARY.as_bytes())));
        forms.push(("hash in hex", HEXLOWER.encode(&hash.of(CANARY.as_bytes())).into()));
    }
    forms
}

/// Plants bytes below a folder, and returns the file or store that holds them.
type Plant = fn(&Path, &[u8]) -> PathBuf;

/// Every kind of place that a service writes to.
const PLACES: &[(&str, Plant)] = &[
    ("standard error", |root, leak| {
        write(root, "outputs/stderr.txt", &line(b"TRACE ingest: ", leak))
    }),
    ("an answer", |root, leak| {
        write(root, "outputs/answer-1.txt", &line(b"HTTP/1.1 400\r\n\r\n", leak))
    }),
    ("metrics", |root, leak| write(root, "outputs/metrics.txt", &line(b"events_total{a=", leak))),
    ("the Delta log", |root, leak| {
        write(
            root,
            "data/events/web/_delta_log/00000000000000000001.json",
            &line(b"{\"add\":", leak),
        )
    }),
    ("the ledger of keys", |root, leak| {
        write(root, "data/ledger/keys.jsonl", &line(b"{\"k\":", leak))
    }),
    ("a spill file", |root, leak| write(root, "temporary/spill-1", &line(b"\x00\x01", leak))),
    ("a registry", |root, leak| write(root, "sources.toml", &line(b"name = ", leak))),
    ("a Parquet file", |root, leak| parquet(root, "data/events/web/part-1.parquet", leak, false)),
    ("a checkpoint", |root, leak| {
        parquet(root, "data/events/web/_delta_log/1.checkpoint.parquet", leak, true)
    }),
    ("a fresh log", |root, leak| store(&root.join("data/log"), leak, false)),
    ("the compacted index", |root, leak| store(&root.join("data/index"), leak, true)),
];

fn line(before: &[u8], leak: &[u8]) -> Vec<u8> {
    [before, leak, b"\n"].concat()
}

fn write(root: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path
}

/// A compressed table file in which the leak stands among values that are nearly equal.
fn parquet(root: &Path, name: &str, leak: &[u8], nested: bool) -> PathBuf {
    let rows = 3_000_u32;
    let column: ArrayRef = match std::str::from_utf8(leak) {
        Ok(text) => {
            let near = |row: u32| format!("{}{row}", &text[..text.len() - 4]);
            let values =
                (0..rows).map(|row| if row == 1_500 { text.to_owned() } else { near(row) });
            Arc::new(StringArray::from_iter_values(values))
        }
        Err(_) => Arc::new(arrow::array::BinaryArray::from_iter_values([b"some", leak, b"more"])),
    };
    let column = if nested {
        let field = Arc::new(Field::new("tags", column.data_type().clone(), true));
        Arc::new(StructArray::from(vec![(field, column)])) as ArrayRef
    } else {
        column
    };
    let kind: &DataType = column.data_type();
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![Field::new("a", kind.clone(), true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_statistics_enabled(parquet::file::properties::EnabledStatistics::None)
        .build();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    write(root, name, &content)
}

/// A fjall store with the leak in a value; flushed, it lies in a compressed block of a table.
fn store(folder: &Path, leak: &[u8], flushed: bool) -> PathBuf {
    let database = fjall::Database::builder(folder).open().unwrap();
    let options = || {
        let lz4 = fjall::config::CompressionPolicy::all(fjall::CompressionType::Lz4);
        fjall::KeyspaceCreateOptions::default().data_block_compression_policy(lz4)
    };
    let keyspace = database.keyspace("frames", options).unwrap();
    for number in 0..500_u32 {
        let near = [&leak[..leak.len() - 4], &number.to_be_bytes()].concat();
        keyspace.insert(number.to_be_bytes(), near).unwrap();
    }
    keyspace.insert(b"one", line(b"before ", leak)).unwrap();
    if flushed {
        keyspace.rotate_memtable_and_wait().unwrap();
    }
    database.persist(fjall::PersistMode::SyncAll).unwrap();
    folder.to_owned()
}

#[test]
fn a_leak_planted_in_each_place_and_form_is_found_there() {
    let scanner = Scanner::new([("canary", CANARY.to_owned())]).unwrap();
    for (place, plant) in PLACES {
        for (form, leak) in forms() {
            let root = tempfile::tempdir().unwrap();
            write(root.path(), "outputs/clean.txt", b"nothing of that kind");
            let clean = search::everything(root.path(), &scanner);
            assert_eq!((clean.found, clean.files), (0, 1));
            let file = plant(root.path(), &leak);
            let report = search::everything(root.path(), &scanner);
            let here = file.display().to_string();
            let is_there = report.findings.iter().any(|found| found.place.contains(&here));
            assert!(is_there, "{form} in {place}: {}", search::told(&report));
        }
    }
}

/// What only decoding shows: the search of raw files alone would have been clean.
#[test]
fn leaks_in_compressed_tables_do_not_show_in_the_raw_file() {
    let scanner = Scanner::new([("canary", CANARY.to_owned())]).unwrap();
    let root = tempfile::tempdir().unwrap();
    let file = parquet(root.path(), "part-1.parquet", CANARY.as_bytes(), false);
    let mut raw = quorate::scan::Report::default();
    scanner.bytes("raw", &std::fs::read(file).unwrap(), &mut raw);
    assert_eq!(raw.found, 0);
    assert!(search::everything(root.path(), &scanner).found > 0);
}
