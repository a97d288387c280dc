//! `quorate replay` from outside: the same policy, another one, killed half-way, beside.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::machines;
use crate::support::http;
use crate::support::place::{ORIGIN, Place, SITE};
use crate::support::search;

/// Events of 97 devices, 50 a request, so that each request is a frame of its own; durations of 1,250 ms.
const FRAMES: u64 = 40;
const EVENTS: u64 = FRAMES * 50;

/// Fills a place with events of a server and some imported ones; its service is stopped then.
fn fill(place: &Place) {
    let body = |numbers: std::ops::Range<u64>| {
        let events = numbers.map(|number| {
            serde_json::json!({ "type": "device_usage", "id": number.to_string(), "duration": 1250,
                "serial_number": format!("QX-{}", number % 97), "product": "x1", "version": "3.8.1" })
        });
        serde_json::Value::Array(events.collect()).to_string()
    };
    let service = place.start();
    for frame in 0..FRAMES {
        let posted = service.post(&place.server_key, &body(frame * 50..frame * 50 + 50));
        assert_eq!(posted.status, 202, "{}", posted.body());
    }
    // Copies, which must not come back.
    assert_eq!(service.post(&place.server_key, &body(0..100)).status, 202);
    let running = place.command(&arguments(&["--dry-run"])).output().unwrap();
    let said = String::from_utf8_lossy(&running.stderr).into_owned();
    assert!(!running.status.success() && said.contains("stop it first"), "{said}");
    service.stop();

    let history = place.outputs().join("history");
    let time = now();
    let line = |n: u64| {
        format!(
            "{{\"type\":\"device_usage\",\"id\":\"old-{n}\",\"time\":\"{time}\",\"serial_number\":\"H-{n}\",\"product\":\"kathea\",\"duration\":1250}}\n"
        )
    };
    std::fs::write(&history, (0..30).map(line).collect::<String>()).unwrap();
    place.print(&["import", history.to_str().unwrap(), "--more-follows"]);
}

#[expect(clippy::disallowed_methods, reason = "the service under test reads the same clock")]
fn now() -> schemas::Millis {
    schemas::Millis(chrono::Utc::now().timestamp_millis())
}

/// A replay of everything that the log can hold.
fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["replay", "--from", "2020-01-01", "--to", "2100-01-01"], more].concat()
}

/// Rows of `device_usage` as text, in order.
fn rows(root: &Path) -> Vec<String> {
    let mut rows = Vec::new();
    let mut folders = vec![root.join("events/device_usage")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "_delta_log") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "parquet") {
                let file = std::fs::File::open(&path).unwrap();
                let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
                for batch in reader.build().unwrap() {
                    let text = pretty_format_batches(&[batch.unwrap()]).unwrap().to_string();
                    let lines =
                        text.lines().filter(|line| line.contains("x1") || line.contains("kathea"));
                    // How wide a column is depends on the rows beside.
                    rows.extend(
                        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")),
                    );
                }
            }
        }
    }
    rows.sort();
    rows
}

/// The cells of the line of a table that begins with these.
fn cells(text: &str, begin: &[&str]) -> Vec<u64> {
    let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line.starts_with(begin));
    let line = line.unwrap_or_else(|| panic!("no {begin:?} in\n{text}"));
    line[begin.len()..].iter().map(|cell| cell.parse().unwrap()).collect()
}

fn coarser(place: &Place) {
    let file = place.home().join("policy/device_usage.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("{ bucket = 100 }"));
    std::fs::write(&file, text.replace("{ bucket = 100 }", "{ bucket = 1000 }")).unwrap();
}

#[test]
fn a_changed_policy_changes_its_field_and_nothing_else() {
    changed_policy(&Place::new());
}

#[test]
fn a_changed_policy_changes_its_field_and_nothing_else_on_kafka() {
    let kafka = cluster::Kafka::start(1);
    let place = Place::new();
    machines::log_in(&kafka, &place, 2);
    changed_policy(&place);
}

fn changed_policy(place: &Place) {
    fill(place);
    let before = rows(&place.data());
    assert_eq!(before.len() as u64, EVENTS + 30);
    for arguments in [arguments(&["--dry-run"]), arguments(&[])] {
        let same = place.print(&arguments);
        assert_eq!(cells(&same, &["device_usage"]), [EVENTS, 0, 0, 0], "{same}");
    }
    assert_eq!(rows(&place.data()), before);

    coarser(place);
    let part =
        ["replay", "--partition", "1", "--from-offset", "2", "--to-offset", "7", "--dry-run"];
    let part = place.print(&part);
    assert!(part.contains("5 frames read"), "{part}");
    let [0, changed, 0, 0] = cells(&part, &["device_usage"])[..] else { panic!("{part}") };
    assert!((1..EVENTS / 4).contains(&changed), "{part}");
    let would = place.print(&arguments(&["--dry-run"]));
    assert_eq!(cells(&would, &["device_usage", "duration"]), [0, 0, EVENTS], "{would}");
    assert_eq!(cells(&would, &["device_usage"]), [0, EVENTS, 0, 0], "{would}");
    assert_eq!(would.lines().filter(|line| line.starts_with("device_usage")).count(), 2);
    assert_eq!(rows(&place.data()), before);

    let beside = place.root().join("beside");
    place.print(&arguments(&["--into", beside.to_str().unwrap()]));
    assert_eq!(rows(&place.data()), before, "the tables are as they were");
    let aside = rows(&beside);

    // Killed while it commits chunk after chunk, then called again.
    let small = arguments(&["--chunk-rows", "50"]);
    let log = place.data().join("events/device_usage/_delta_log");
    let version = || log.read_dir().unwrap().count();
    let began = version();
    let mut killed =
        place.command(&small).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while version() < began + 4 && killed.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "nothing is committed");
        std::thread::sleep(Duration::from_millis(2));
    }
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success(), "it was over before it was killed");
    let rest = place.print(&small);
    assert!(rest.contains("where an earlier call had stopped"), "{rest}");
    let [unchanged, changed, added, removed] = cells(&rest, &["device_usage"])[..] else {
        panic!("{rest}")
    };
    assert!(changed > 0 && unchanged + changed < EVENTS && added + removed == 0, "{rest}");

    let after = rows(&place.data());
    let expected = |row: &String| match row.contains("kathea") {
        true => row.clone(),
        false => row.replace("| 1200 |", "| 1000 |"),
    };
    let mut expected = before.iter().map(expected).collect::<Vec<_>>();
    expected.sort();
    assert_eq!(after, expected, "imported rows came through no log and stay");
    let live = after.iter().filter(|row| !row.contains("kathea")).cloned().collect::<Vec<_>>();
    assert_eq!(aside, live);
    let again = place.print(&arguments(&[]));
    assert_eq!(cells(&again, &["device_usage"]), [EVENTS, 0, 0, 0], "{again}");

    let books = search::outcomes(&place.data());
    assert_eq!(books["stored"], EVENTS + 30, "outcomes stand");
    assert_eq!(books["replayed_changed"], EVENTS, "each row once, however often it was killed");
    assert_eq!(books["duplicate"], 100);
}

/// A page that 12 visitors saw yesterday, as the released statistic has it: path, visitors, whether it was revised.
fn pages(place: &Place) -> Vec<String> {
    let asked = "select page, visitors, revised_at is not null as revised from visitors \
                 where grouping = 'page' order by page";
    // Before the first release there is no such table.
    let output = place.command(&["sql", asked]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = printed.lines().filter(|line| line.contains('/'));
    lines
        .map(|line| {
            line.split_whitespace().filter(|word| *word != "|").collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[test]
fn what_was_released_is_computed_again_and_marked() {
    let place = Place::new();
    let service = place.start_with(&["run", "--ahead", "0minutes"], &[]);
    for visitor in 0..12 {
        let address = format!("198.51.100.{visitor}");
        let headers = [
            ("Origin", ORIGIN),
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", &*address),
            (
                "User-Agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
        ];
        let url = format!("{ORIGIN}/people/anna");
        let event =
            serde_json::json!({ "type": "web", "site": SITE, "name": "pageview", "url": url });
        let body = event.to_string();
        let posted = http::send(service.events, "POST", "/v1/events", &headers, body.as_bytes());
        assert_eq!(posted.status, 202, "{}", posted.body());
    }
    service.stop();
    let service = place.start_with(&["run", "--ahead", "30hours"], &[]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while pages(&place).is_empty() {
        assert!(Instant::now() < deadline, "the day is not released");
        std::thread::sleep(Duration::from_millis(100));
    }
    service.stop();
    assert_eq!(pages(&place), ["/people/anna 10 false"]);

    let same = place.print(&arguments(&[]));
    assert!(!same.contains("revised"), "{same}");
    let file = place.home().join("policy/web.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(r#"["/blog/:article","#));
    std::fs::write(
        &file,
        text.replace(r#"["/blog/:article","#, r#"["/people/:name", "/blog/:article","#),
    )
    .unwrap();
    let would = place.print(&arguments(&["--dry-run"]));
    assert_eq!(cells(&would, &["web", "page"]), [0, 0, 12], "{would}");
    assert_eq!(pages(&place), ["/people/anna 10 false"]);
    let said = place.print(&arguments(&[]));
    assert!(said.contains("revised statistic"), "{said}");
    assert_eq!(pages(&place), ["/people/:name 10 true"]);
    let again = place.print(&arguments(&[]));
    assert!(!again.contains("revised statistic"), "{again}");
}
