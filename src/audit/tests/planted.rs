//! What is planted, and what has to be found. `docs/audit.md` lists the codes.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anonymizer::{KeyName, KeyRing, Sealed};
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use parquet::file::properties::EnabledStatistics;
use schemas::Millis;
use schemas::time::{DAY_MS, HOUR_MS};
use serde_json::json;
use transport::embedded::EmbeddedLog;
use transport::{Log, Partition, Position};

use super::super::Code;
use super::store::{Copied, with};
use crate::config::Location;

/// Values that are planted, and stand in no report.
pub(super) const VALUES: &[&str] = &[EMAIL, IPV4, IPV6, MAC, TOKEN, UUID, PHONE, NUMBER];
const EMAIL: &str = "jo.doe@example.com";
const IPV4: &str = "198.51.100.77";
const IPV6: &str = "2001:db8:7::77";
const MAC: &str = "00:1b:44:11:3a:b7";
const TOKEN: &str = "kZ3x9Qw7Lm2Pa8Rt5Yv1";
const UUID: &str = "0b8f5a1e-6a0f-4c1e-9a51-1f2e3d4c5b6a";
const PHONE: &str = "+45 33 12 34 56";
const NUMBER: &str = "4711081547";

/// One violation.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) codes: &'static [Code],
    pub(super) plant: fn(&mut Copied),
}

const fn case(name: &'static str, codes: &'static [Code], plant: fn(&mut Copied)) -> Case {
    Case { name, codes, plant }
}

pub(super) const CASES: &[Case] = &[
    case("an e-mail in a declared column", &[Code::Email], |store| text(store, WEB, "page", EMAIL)),
    case("an IPv4 address in Parquet", &[Code::Ipv4], |store| text(store, WEB, "page", IPV4)),
    case("an IPv6 address in Parquet", &[Code::Ipv6], |store| text(store, WEB, "page", IPV6)),
    case("a MAC address in Parquet", &[Code::Mac], |store| text(store, DEVICES, "product", MAC)),
    case("a token in Parquet", &[Code::Token], |store| text(store, WEB, "utm_source", TOKEN)),
    case("a UUID in Parquet", &[Code::Uuid], |store| text(store, DEVICES, "product", UUID)),
    case("a telephone number", &[Code::Telephone], |store| text(store, WEB, "page", PHONE)),
    case("a serial number", &[Code::LongNumber], |store| text(store, DEVICES, "product", NUMBER)),
    case("an address in a statistic", &[Code::Ipv4], |store| text(store, VISITORS, "page", IPV4)),
    case("an e-mail in a manifest", &[Code::Email], |store| {
        text(store, OUTCOMES, "manifest", &json!({ "family": EMAIL }).to_string());
    }),
    case("a token in the ledger of requests", &[Code::Token], |store| {
        append(store, "ledger/requests.jsonl", &json!({ "note": TOKEN }).to_string());
    }),
    case(
        "an e-mail in the suppression list",
        &[Code::Email, Code::SuppressionWithoutKey],
        |store| {
            store.write("suppression/list.json", &json!({ "entries": [EMAIL] }).to_string());
        },
    ),
    case("an address in a table's log", &[Code::Ipv6], |store| {
        store.commit(WEB, &[json!({ "commitInfo": { "userName": IPV6 } })]);
    }),
    case("an e-mail in a stray file", &[Code::Stray, Code::Email], |store| {
        store.write("events/web/export.csv", EMAIL);
    }),
    case("a MAC address in what is left of a computation", &[Code::Mac], |store| {
        store.write("spill/0.arrow", &format!("\0\0\u{1}device {MAC} here\0"));
    }),
    case("rows older than their key", &[Code::RowsPastEnd], |store| epoch(store, 100)),
    case("rows under a destroyed key", &[Code::RowsWithoutKey], |store| {
        let ring = ring(store, store.now);
        ring.get_or_create(&pseudonym(30_000)).unwrap();
        ring.destroy(&pseudonym(30_000), "test").unwrap();
        epoch(store, 30_000);
    }),
    case("a key beyond its end", &[Code::KeyPastEnd], |store| {
        let old = store.now.plus(-40 * DAY_MS);
        ring(store, old).get_or_create(&pseudonym(100)).unwrap();
    }),
    case("frames beyond raw_retention_max", &[Code::LogPastEnd], old_frame),
    case("a destroyed key that is there", &[Code::KeyNotDestroyed], |store| {
        let ring = ring(store, store.now);
        ring.get_or_create(&pseudonym(30_000)).unwrap();
        let file = key_file(store, "30000");
        let bytes = fs::read(&file).unwrap();
        ring.destroy(&pseudonym(30_000), "test").unwrap();
        fs::write(&file, bytes).unwrap();
        Copied::mode(&file, 0o600);
    }),
    case("a changed line in the ledger of keys", &[Code::KeyLedger], |store| {
        Copied::edit(&store.config.key_ledger(), |text| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines[3] = lines[3].replacen("\"at\":\"2", "\"at\":\"3", 1);
            lines.join("\n") + "\n"
        });
    }),
    case("a ledger of keys that is cut", &[Code::KeyRing, Code::KeyLedger], |store| {
        Copied::edit(&store.config.key_ledger(), |text| {
            let lines: Vec<&str> = text.lines().collect();
            lines[..lines.len() - 1].join("\n") + "\n{\"at\":1}\n"
        });
    }),
    case("a ledger of keys that is gone", &[Code::KeyRing], |store| {
        fs::remove_file(store.config.key_ledger()).unwrap();
    }),
    case("a file in the ring that is no key", &[Code::KeyRing], |store| {
        let file = store.config.keyring.dir.folder().unwrap().join("keys/notes.txt");
        fs::write(&file, "nothing").unwrap();
        Copied::mode(&file, 0o600);
    }),
    case("a key-encryption key beside the keys", &[Code::KeysKept], |store| {
        let ring = store.config.keyring.dir.folder().unwrap().to_owned();
        let key = ring.join("key-encryption.key");
        fs::rename(&store.config.keyring.key_encryption_key, &key).unwrap();
        store.config.keyring.key_encryption_key = key;
    }),
    case("a key ring inside the data", &[Code::KeysKept], |store| {
        let ring = store.config.keyring.dir.folder().unwrap().to_owned();
        let inside = store.data("keyring");
        fs::rename(ring, &inside).unwrap();
        store.config.keyring.dir = Location::Folder(inside);
    }),
    case("a suppression list without its key", &[Code::SuppressionWithoutKey], |store| {
        store.write("suppression/list.json", "{\"format\":1,\"entries\":[],\"check\":\"00\"}");
    }),
    case("a file that nobody knows", &[Code::Stray], |store| store.write("dump.sql", "nothing")),
    case("a data file that no table names", &[Code::Stray], |store| {
        let file = store.data(WEB).join(store.file(WEB));
        fs::copy(&file, file.with_file_name("fresh_e1_copy.parquet")).unwrap();
    }),
    case("a changed data file", &[Code::Changed], |store| {
        let file = store.data(WEB).join(store.file(WEB));
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
    }),
    case("a data file that is gone", &[Code::Changed], |store| {
        fs::remove_file(store.data(WEB).join(store.file(WEB))).unwrap();
    }),
    case("column statistics in Parquet", &[Code::ColumnStatistics], |store| {
        store.rewrite_with(WEB, EnabledStatistics::Chunk, &|batch| batch);
    }),
    case("least and greatest values in a table's log", &[Code::ColumnStatistics], |store| {
        let stats = json!({ "numRecords": 1, "minValues": { "page": "/" } }).to_string();
        store.commit(WEB, &[json!({ "commitInfo": { "stats": stats } })]);
    }),
    case("a predicate in a table's log", &[Code::ColumnStatistics], |store| {
        let parameters = json!({ "predicate": "page = '/'" });
        store.commit(WEB, &[json!({ "commitInfo": { "operationParameters": parameters } })]);
    }),
    case("a family that no policy declares", &[Code::UndeclaredFamily], |store| {
        let (from, to) = (store.data("events/web"), store.data("events/shoes"));
        let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status();
        assert!(copied.unwrap().success());
    }),
    case("a column that no policy declares", &[Code::UndeclaredColumn], |store| {
        column(store, "shoe_size");
    }),
    case("a refused category under a name of its own", &[Code::RefusedCategory], |store| {
        let family = json!({ "name": "web", "columns": [{ "name": "email" }] });
        store.write("policies/old.json", &json!({ "families": [family] }).to_string());
        column(store, "email");
    }),
    case("values of a field that expired", &[Code::ExpiredField], |store| {
        let day = store.now.plus(-2 * DAY_MS).to_string();
        store.policy("device_usage.toml", |text| {
            let end = format!("feature       = {{ expires = \"{}\", ", &day[..10]);
            text.replace("feature       = { ", &end)
        });
    }),
    case("values kept longer than their purpose", &[Code::KeptPastPurpose], |store| {
        store.policy("policy.toml", |text| {
            text.replace("[purposes.improve]", "[purposes.improve]\nkeep = \"40 days\"")
        });
        let day = store.now.plus(-60 * DAY_MS).to_string();
        store.move_to_day(DEVICES, &day[..10]);
    }),
    case("a group under k", &[Code::GroupUnderK], |store| number(store, VISITORS, "visitors", 5)),
    case("a statistic that is not declared", &[Code::UndeclaredStatistic], |store| {
        store.policy("statistics.toml", |text| {
            text.replace("[statistics.visitors_by_hour]", "[statistics.visitors_hourly]")
        });
    }),
    case("books that do not balance", &[Code::Books], |store| {
        number(store, OUTCOMES, "count", 1_000_003);
    }),
    case("a request that is overdue", &[Code::RequestOverdue], |store| {
        let due = store.now.plus(-DAY_MS).to_string();
        let line = json!({ "at": due, "request": "00ff", "state": "received", "kind": "erase",
            "family": "web", "due": due, "commitment": "00ff" });
        append(store, "ledger/requests.jsonl", &line.to_string());
    }),
    case("an export of more than a week", &[Code::ExportPastEnd], |store| {
        store.write("exports/00ff.json.age", "sealed");
        let file = fs::File::options().write(true).open(store.data("exports/00ff.json.age"));
        let written = store.now.plus(-8 * DAY_MS).0.unsigned_abs();
        let written = SystemTime::UNIX_EPOCH + Duration::from_millis(written);
        file.unwrap().set_modified(written).unwrap();
    }),
    case("a hold beyond its end", &[Code::HoldPastEnd], |store| hold(store, "claim", -DAY_MS)),
    case("a hold without an allowed reason", &[Code::HoldReason], |store| {
        hold(store, "curiosity", DAY_MS);
    }),
    case("a hold longer than the policy allows", &[Code::HoldReason], |store| {
        hold(store, "claim", 900 * DAY_MS);
    }),
    case("data that others may read", &[Code::ReadableByOthers], |store| {
        Copied::mode(store.folder.path(), 0o755);
        Copied::mode(&store.folder.path().join("store"), 0o755);
        Copied::mode(&store.data(""), 0o755);
    }),
    case("a key that others may read", &[Code::ReadableByOthers], |store| {
        Copied::mode(&key_file(store, "pseudonym.web"), 0o644);
    }),
    case("a store outside the residency", &[Code::Residency], |store| {
        store.policy("policy.toml", |text| text.replace("# residency", "residency"));
        store.config.region = Some("US".to_owned());
    }),
    case("a file that is no Parquet", &[Code::Unreadable], |store| {
        let file = store.file(WEB);
        store.replace(WEB, &file, b"PAR1 nothing that anybody wrote PAR1", 1);
    }),
    case("a hold that cannot be read", &[Code::Unreadable], |store| {
        store.write("apart/00ff.json", "{");
    }),
];

const WEB: &str = "events/web";
const DEVICES: &str = "events/device_usage";
const VISITORS: &str = "statistics/visitors";
const OUTCOMES: &str = "ledger/outcomes";

/// Puts a text into the first row of a table's largest file that has one.
fn text(store: &mut Copied, table: &str, column: &str, value: &str) {
    store.rewrite(table, &|batch| {
        let old = cast(batch.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
        let old = old.as_string::<i32>();
        let first = (0..old.len()).find(|row| old.is_valid(*row));
        let new = old.iter().enumerate();
        let new = new.map(|(row, old)| if Some(row) == first { Some(value) } else { old });
        with(&batch, column, Arc::new(new.collect::<StringArray>()) as ArrayRef)
    });
}

/// Puts a number into the first row that has one.
fn number(store: &mut Copied, table: &str, column: &str, value: i64) {
    store.rewrite(table, &|batch| {
        let old = batch.column_by_name(column).unwrap().as_primitive::<Int64Type>();
        let first = (0..old.len()).find(|row| old.is_valid(*row));
        let new = old.iter().enumerate();
        let new = new.map(|(row, old)| if Some(row) == first { Some(value) } else { old });
        with(&batch, column, Arc::new(new.collect::<Int64Array>()))
    });
}

/// Puts visits of the largest file into another epoch.
fn epoch(store: &mut Copied, epoch: i32) {
    store.rewrite(WEB, &|batch: RecordBatch| {
        let rows = batch.num_rows();
        with(&batch, "epoch", Arc::new(Int32Array::from(vec![epoch; rows])))
    });
}

fn append(store: &mut Copied, name: &str, line: &str) {
    let before = fs::read_to_string(store.data(name)).unwrap_or_default();
    store.write(name, &format!("{before}{line}\n"));
}

/// Adds a column to the table of visits.
fn column(store: &mut Copied, name: &str) {
    let log = store.data(WEB).join("_delta_log");
    let field = |table: &str| {
        format!("{{\"name\":\"{table}\",\"type\":\"string\",\"nullable\":true,\"metadata\":{{}}}}")
    };
    let runtime = tokio::runtime::Handle::current();
    let root = storage::Root::folder(&store.data("events"));
    let table = runtime.block_on(disclosure::table::open(root, "web")).unwrap().unwrap();
    let metadata = table.snapshot().unwrap().metadata();
    let mut action = serde_json::to_value(metadata).unwrap();
    let schema = action["schemaString"].as_str().unwrap();
    let end = schema.rfind(']').unwrap();
    let schema = format!("{},{}{}", &schema[..end], field(name), &schema[end..]);
    action["schemaString"] = schema.into();
    assert!(log.is_dir());
    store.commit(WEB, &[json!({ "metaData": action })]);
}

/// Writes about rows that are kept apart, since yesterday.
fn hold(store: &mut Copied, reason: &str, end_ms: i64) {
    let allowed = "[legal_hold]\nat_most = \"730 days\"\nreasons = [\"claim\"]\nnotice = \"in a dispute\"\n\n[refused]";
    store.policy("policy.toml", |text| text.replace("[refused]", allowed));
    let (since, end) = (store.now.plus(-3 * DAY_MS), store.now.plus(end_ms));
    let about = json!({ "id": "00ff", "kind": "hold", "family": "web", "rows": 1, "reason": reason,
        "since": since.to_string(), "end": end.to_string(), "state": "kept" });
    store.write("apart/00ff.json", &about.to_string());
}

fn pseudonym(epoch: i32) -> KeyName {
    KeyName::Pseudonym { family: "web".to_owned(), epoch }
}

fn ring(store: &Copied, now: Millis) -> KeyRing {
    let config = &store.config;
    let folder = config.keyring.dir.folder().unwrap();
    let clock: schemas::Clock = Arc::new(move || now);
    let key = &config.keyring.key_encryption_key;
    KeyRing::open(folder, key, &config.key_ledger(), &clock).unwrap()
}

fn key_file(store: &Copied, part: &str) -> std::path::PathBuf {
    let folder = store.config.keyring.dir.folder().unwrap().join("keys");
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.find(|file| file.to_str().unwrap().contains(part)).unwrap()
}

/// Puts a frame of ten days ago into the log.
fn old_frame(store: &mut Copied) {
    let hour = store.now.plus(-10 * DAY_MS).0 / HOUR_MS;
    let (folder, partitions) = (store.config.log_dir(), store.config.log.partitions);
    tokio::runtime::Handle::current().block_on(async {
        let log = EmbeddedLog::open(&folder, partitions).unwrap();
        let (_, frame) = log.read(Partition(0), Position(0), 1).await.unwrap().remove(0);
        let fresh = frame.header().hour.to_string();
        let mut bytes = frame.into_bytes();
        let at = bytes.windows(fresh.len()).position(|part| part == fresh.as_bytes()).unwrap();
        bytes[at..at + fresh.len()].copy_from_slice(hour.to_string().as_bytes());
        log.append(Partition(0), Sealed::parse(bytes).unwrap()).await.unwrap();
    });
}
