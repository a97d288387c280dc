//! The first own event, as the first page of the README has it: from `init` to a printed answer.

use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::place::Place;

#[test]
fn from_init_to_an_answer() {
    let place = Place::new();
    let checked = place.print(&["policy", "check"]);
    assert!(checked.contains("serial_number  pseudonym"), "{checked}");
    let service = place.start();

    let event = r#"{"type":"device_usage","id":"1","serial_number":"X1-000417","product":"x1","version":"3.8.1"}"#;
    let answer = service.post(&place.device_key, event);
    assert_eq!(answer.status, 202, "{}", answer.body());
    assert_eq!(answer.json()["accepted"], 1);
    let refused = service.post(&place.device_key, r#"{"type":"device_usage","product":"X 1"}"#);
    assert_eq!(refused.status, 400, "{}", refused.body());
    assert_eq!(refused.json()["refused"][0]["field"], "product");

    // The operator sees the source, and that the event was committed.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !service.operator("/status").json()["committed"].is_string() {
        assert!(Instant::now() < deadline, "{}", service.operator("/status").body());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(service.operator("/status").body().contains("devices"));
    let metrics = service.operator("/metrics").body();
    assert!(metrics.contains("quorate_events_total"));
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).unwrap_or_default();
        assert!(metrics.contains(&format!("# HELP {name} ")), "nobody says what {name} is");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.operator(path).status, 200, "{path}");
    }

    // A reader asks; a writer's key opens nothing there.
    let ask = |secret: &str| {
        let authorization = format!("Bearer {secret}");
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        let question = br#"{"from":"active_devices","by":["product"]}"#;
        http::send(service.statistics, "POST", "/v1/query", &headers, question)
    };
    let answer = ask(&place.token);
    assert_eq!(answer.status, 200, "{}", answer.body());
    assert!(answer.body().contains("complete_until") && answer.body().contains("privacy"));
    assert_eq!(ask(&place.device_key).status, 403);
    assert_eq!(ask("qr_unknown").status, 401);
    service.stop();
    let listed = place.print(&["query"]);
    assert!(listed.contains("active_devices"), "{listed}");
}
