use anonymizer::KeyState;
use schemas::Millis;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use serde_json::{Value, json};

use super::place::{Place, START, books, event, visit};
use crate::clock;

/// Ten events of each family whose ids begin with `name`; device times by the machine's clock, if it is right.
fn both(name: &str, time: Option<Millis>) -> Vec<Value> {
    let said = time.map_or(json!({}), |time| json!({ "time": time.to_string() }));
    let ids: Vec<String> = (0..10).map(|number| format!("{name}{number}")).collect();
    let devices = ids.iter().map(|id| event(id, said.clone()));
    devices.chain(ids.iter().map(|id| visit(id))).collect()
}

const JUMPS: [i64; 6] =
    [2 * HOUR_MS, -2 * HOUR_MS, 26 * HOUR_MS, -26 * HOUR_MS, 60 * DAY_MS, -60 * DAY_MS];

/// Forward and back again: nothing is lost, nothing counted twice, nothing destroyed or released early.
#[tokio::test]
async fn a_jump_and_back_loses_nothing_and_destroys_nothing() {
    for jump in JUMPS {
        let place = Place::new();
        let mut running = place.start().await;
        assert_eq!(running.post(both("before", Some(START))).await, 202);
        running.worker.maintain().await.unwrap();
        place.pass(5 * MINUTE_MS);
        assert_eq!(running.post(both("waiting", Some(START))).await, 202);

        place.jump(jump);
        assert_eq!(running.look().await.jump_ms, Some(jump));
        let now = START.plus(5 * MINUTE_MS);
        assert_eq!(running.post(both("during", Some(now))).await, 202);
        assert_eq!(running.post(both("before", Some(START))).await, 202, "a retry");
        assert_eq!(running.worker.maintain().await.unwrap(), 0);
        let frames = running.frames().await;
        assert!(frames.iter().all(|hour| *hour == START.hour()), "{jump}: {frames:?}");
        let keys = running.keys();
        assert!(keys.iter().all(|key| key.state == KeyState::Alive), "{jump}");

        place.pass(MINUTE_MS);
        place.jump(-jump);
        assert_eq!(running.look().await.jump_ms, None);
        assert_eq!(running.post(both("after", Some(now))).await, 202);
        running.worker.maintain().await.unwrap();
        assert_eq!(running.keys().len(), keys.len(), "{jump}: no key but those of today");
        let counted = books(&place).await;
        assert_eq!((counted["stored"], counted["duplicate"]), (80, 20), "{jump}: {counted:?}");
        assert_eq!(counted.get("expired"), None);
        running.stop().await;
    }
}

/// The same while the service is stopped: it starts, and waits with everything final.
#[tokio::test]
async fn a_jump_while_stopped_suspends_until_it_is_trusted_by_hand() {
    let place = Place::new();
    let mut running = place.start().await;
    assert_eq!(running.post(both("before", None)).await, 202);
    running.worker.drain().await.unwrap();
    running.stop().await;
    place.jump(200 * DAY_MS);

    let mut running = place.start().await;
    assert_eq!(running.look().await.jump_ms, Some(200 * DAY_MS));
    assert_eq!(running.post(both("during", None)).await, 202);
    let frames = running.frames().await.len();
    running.worker.maintain().await.unwrap();
    assert!(running.keys().iter().all(|key| key.state == KeyState::Alive));
    assert_eq!(running.frames().await.len(), frames);
    // It was right, then: what is due goes.
    clock::trust(&place.clocks(), &place.data().join("clock.json")).unwrap();
    assert_eq!(running.look().await.jump_ms, None);
    running.worker.maintain().await.unwrap();
    assert!(running.keys().iter().all(|key| key.state == KeyState::Destroyed));
    assert!(running.frames().await.is_empty());
    let counted = books(&place).await;
    assert_eq!((counted["received"], counted["stored"]), (40, 40));
    running.stop().await;
}

/// Not even what is due by the time that goes on: that may be wrong too.
#[tokio::test]
async fn nothing_is_final_while_the_clock_is_not_trusted() {
    let place = Place::new();
    let mut running = place.start().await;
    running.post(both("only", None)).await;
    let frames = running.frames().await.len();
    place.jump(3 * HOUR_MS);
    place.pass(200 * DAY_MS);
    assert_eq!(running.worker.maintain().await.unwrap(), 0);
    assert!(running.keys().iter().all(|key| key.state == KeyState::Alive));
    assert_eq!(running.frames().await.len(), frames);
    place.jump(-3 * HOUR_MS);
    running.worker.maintain().await.unwrap();
    assert!(running.keys().iter().all(|key| key.state == KeyState::Destroyed));
    assert!(running.frames().await.is_empty());
    running.stop().await;
}

#[tokio::test]
async fn keys_and_frames_die_when_their_time_is_over_and_the_clock_is_right() {
    let place = Place::new();
    let mut running = place.start().await;
    running.post(both("only", None)).await;
    let frames = running.frames().await.len();
    running.worker.maintain().await.unwrap();
    place.pass(73 * HOUR_MS - MINUTE_MS);
    running.worker.maintain().await.unwrap();
    assert_eq!(running.frames().await.len(), frames);
    place.pass(62 * MINUTE_MS);
    running.worker.maintain().await.unwrap();
    assert!(running.frames().await.is_empty());
    let seal = running.keys().into_iter().find(|key| key.name.to_string().starts_with("seal"));
    assert_eq!(seal.unwrap().state, KeyState::Destroyed);
    running.stop().await;
}

/// All is UTC: a day on which clocks change has 24 hours like any other.
#[tokio::test]
async fn days_on_which_clocks_change_have_24_hours() {
    for day in ["2026-03-08", "2026-03-29", "2026-10-25", "2026-11-01"] {
        let start = Millis::parse(&format!("{day}T00:30:00Z")).unwrap();
        let place = Place::at(start.plus(-HOUR_MS));
        let mut running = place.start().await;
        for hour in 0..26 {
            assert!(running.look().await.jump_ms.is_none());
            assert_eq!(running.post(vec![visit(&format!("{day}/{hour}"))]).await, 202);
            place.pass(HOUR_MS);
        }
        running.worker.drain().await.unwrap();
        assert_eq!(rows_of(&place, "web", day), 24, "{day}");
        assert_eq!(books(&place).await["stored"], 26);
        let seals =
            running.keys().iter().filter(|k| k.name.to_string().starts_with("seal")).count();
        assert_eq!(seals, 26, "a key an hour");
        running.stop().await;
    }
}

/// Rows in those files of a table whose path holds `part`, by their footers.
fn rows_of(place: &Place, family: &str, part: &str) -> i64 {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let mut rows = 0;
    let mut folders = vec![place.data().join("events").join(family)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().contains(part)
                && path.extension().is_some_and(|end| end == "parquet")
            {
                let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
                rows += reader.metadata().file_metadata().num_rows();
            }
        }
    }
    rows
}

/// A device that works past the end of an epoch keeps one pseudonym for its session, and then gets another.
#[tokio::test]
async fn a_session_survives_the_change_of_epochs() {
    // Epochs of 28 days begin on Mondays; this is the evening before one.
    let change = schemas::time::epoch_start(schemas::time::epoch_of(START, 28) + 1, 28);
    let place = Place::at(change.plus(-HOUR_MS));
    let mut running = place.start().await;
    let began =
        json!({ "serial_number": "SN-1", "session_start": change.plus(-HOUR_MS).to_string() });
    assert_eq!(running.post(vec![event("before", began.clone())]).await, 202);
    running.worker.drain().await.unwrap();
    place.pass(2 * HOUR_MS);
    assert_eq!(running.post(vec![event("after", began)]).await, 202);
    let fresh =
        json!({ "serial_number": "SN-1", "session_start": change.plus(HOUR_MS).to_string() });
    assert_eq!(running.post(vec![event("next", fresh)]).await, 202);
    running.worker.drain().await.unwrap();
    let keys = running.keys();
    let epochs: Vec<String> = keys.iter().map(|key| key.name.to_string()).collect();
    assert_eq!(epochs.iter().filter(|name| name.starts_with("pseudonym/device_usage/")).count(), 2);
    let files = |epoch: i32| rows_of(&place, "device_usage", &format!("_e{epoch}_"));
    let epoch = schemas::time::epoch_of(change, 28);
    assert_eq!(
        (files(epoch - 1), files(epoch)),
        (2, 1),
        "the session's rows live as long as its key"
    );
    assert_eq!(books(&place).await["stored"], 3);
    running.stop().await;
}

/// Devices in 1970 and 2099, with uptimes only, with no clock at all: stored once, the time of receipt where theirs
/// cannot be believed, and their retries known as such.
#[tokio::test]
async fn clocks_of_devices_lose_nothing() {
    let place = Place::new();
    let mut running = place.start().await;
    let clocks = [
        json!({ "time": "1970-01-01T00:00:07Z" }),
        json!({ "time": "2099-12-31T23:59:59Z" }),
        json!({ "time": "1970-01-01T00:00:07Z", "sent": "1970-01-01T00:10:07Z" }),
        json!({ "time": "2099-12-31T23:59:59Z", "sent": "2099-12-31T23:59:59Z" }),
        json!({ "uptime_ms": 880_110, "sent_uptime_ms": 912_200 }),
        json!({ "uptime_ms": 0, "sent_uptime_ms": u64::MAX / 4 }),
        json!({ "time": -62_135_596_800_000_i64 }),
        json!({ "time": 253_402_300_799_000_i64 }),
        json!({}),
    ];
    let all = |from: usize| -> Vec<Value> {
        let events = clocks.iter().enumerate();
        events.map(|(number, clock)| event(&(from + number).to_string(), clock.clone())).collect()
    };
    assert_eq!(running.post(all(0)).await, 202);
    // A retry after the acknowledgement was lost over the weekend, and new ones.
    place.pass(3 * DAY_MS);
    assert_eq!(running.post(all(0)).await, 202);
    assert_eq!(running.post(all(100)).await, 202);
    running.worker.maintain().await.unwrap();
    let counted = books(&place).await;
    assert_eq!((counted["stored"], counted["duplicate"]), (18, 9), "{counted:?}");
    running.stop().await;
}
