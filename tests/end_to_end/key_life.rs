//! Keys from outside: what the process may leak of them, what `quorate keyring` says and does.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::place::Place;

fn one_event(id: &str) -> String {
    json!({ "type": "device_usage", "id": id, "serial_number": "QX-1", "product": "x1", "version": "3.8.1" })
        .to_string()
}

/// A line of a file in `/proc` that begins with `name`, without the name.
fn line(file: &str, name: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {file}"))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_running_service_locks_its_keys_and_dumps_no_core() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &one_event("1")).status, 202);
    let proc = format!("/proc/{}", service.id());
    assert_eq!(line(&format!("{proc}/limits"), "Max core file size"), "0 0 bytes");
    let locked = line(&format!("{proc}/status"), "VmLck:");
    let kib: u64 = locked.strip_suffix(" kB").unwrap().parse().unwrap();
    let log = fs::read_to_string(place.outputs().join("stderr.txt")).unwrap();
    assert!(kib >= 128 || log.contains("ulimit -l"), "{locked}");
    service.stop();
}

#[test]
fn the_key_encryption_key_changes_and_everything_is_verified() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &one_event("1")).status, 202);
    let refused = place.command(&["keyring", "rotate"]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop the service first"));
    assert!(place.print(&["keyring", "verify"]).ends_with("0 findings"));
    service.stop();

    let kek = place.home().join("key-encryption.key");
    let before = fs::read(&kek).unwrap();
    place.print(&["keyring", "rotate"]);
    assert_ne!(fs::read(&kek).unwrap(), before);
    assert!(place.print(&["keyring", "verify"]).ends_with("0 findings"));
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &one_event("2")).status, 202);
    service.stop();

    let key = fs::read_dir(place.home().join("keyring/keys")).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(key.path()).unwrap();
    bytes[50] ^= 4;
    fs::write(key.path(), bytes).unwrap();
    let found = place.command(&["keyring", "verify"]).output().unwrap();
    assert_eq!(found.status.code(), Some(1));
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(
        text.contains(key.file_name().to_str().unwrap()) && text.contains("1 findings"),
        "{text}"
    );

    fs::write(&kek, before).unwrap();
    let refused = place.command(&["run"]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("does not open this key ring"));
}

/// What the file says of the last time is moved, as if the clock had jumped while the service was stopped.
#[test]
fn a_clock_that_jumped_is_told_and_trusted_by_hand() {
    let place = Place::new();
    place.start().stop();
    let file = place.data().join("clock.json");
    let mut pair: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    pair["wall"] = json!("2020-01-01T00:00:00.000Z");
    fs::write(&file, pair.to_string()).unwrap();

    let service = place.start();
    let jump = |service: &crate::support::place::Service| {
        service.operator("/status").json()["clock_jump_s"].as_i64()
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while jump(&service).is_none() {
        assert!(Instant::now() < deadline, "the jump is not told");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(jump(&service).unwrap() > 200 * 86_400);
    assert_eq!(service.post(&place.server_key, &one_event("1")).status, 202);
    assert!(place.print(&["status"]).contains("trust-clock"));
    place.print(&["keyring", "trust-clock"]);
    while jump(&service).is_some() {
        assert!(Instant::now() < deadline, "the clock is not trusted");
        std::thread::sleep(Duration::from_millis(50));
    }
    service.stop();
    let service = place.start();
    assert_eq!(jump(&service), None);
    service.stop();
}
