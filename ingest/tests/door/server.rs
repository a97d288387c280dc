//! The door over a real socket: what is accepted is durable, what is not is said and counted.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::{Answer, House, NOW, config, event, events, request};
use async_trait::async_trait;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ingest::IngestConfig;
use schemas::access::Sources;
use schemas::time::HOUR_MS;
use schemas::{Note, Reason};
use transport::{Log, LogError, LogId, Partition, Position};

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_body_is_accepted_and_durable() {
    let house = House::open(config()).await;
    let envelope = include_str!("../envelope.json").to_owned();
    let lines = format!("{}\n{}\n", event(3), event(4));
    for (body, accepted) in [(event(1), 1), (events(1..3), 2), (lines, 2), (envelope, 2)] {
        let answer = house.post(body.as_str()).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["accepted"], accepted, "{body}");
    }
    let frames = house.frames().await;
    assert_eq!(frames.iter().map(|(_, rows, _)| rows).sum::<u32>(), 7);
    assert!(frames.iter().all(|(family, _, _)| family.as_deref() == Some("device_usage")));
    let otherwise: u64 = frames.iter().filter_map(|(_, _, t)| t.notes.get(&Note::Otherwise)).sum();
    assert_eq!(otherwise, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_batch_is_accepted_in_part_and_says_why() {
    let house = House::open(config()).await;
    let body = format!(
        "[{},{},17,{}]",
        event(1),
        r#"{"type":"device_usage","product":"x1","duration":"5","email":"a@b.example"}"#,
        r#"{"type":"device_usage","product":"x1","scan_program":"new"}"#
    );
    let answer = house.post(body).await;
    assert_eq!(answer.status, 202);
    let json = answer.json();
    assert_eq!((&json["accepted"], &json["refused_total"]), (&2.into(), &2.into()));
    assert_eq!(json["refused"][0]["index"], 1);
    assert_eq!(json["refused"][0]["reason"], "wrong_type");
    assert_eq!(json["refused"][0]["field"], "duration");
    assert_eq!(json["refused"][1]["reason"], "malformed");
    assert_eq!(json["changed"][0]["kept"], "other");
    assert_eq!(json["undeclared"], 1);
    let refused: u64 = house.frames().await.iter().map(|(_, _, t)| t.refused_total()).sum();
    assert_eq!(refused, 2);
    let status = house.server.stats();
    assert_eq!((status[0].source.as_str(), status[0].accepted), ("scanners", 2));
    assert_eq!((status[0].refused_total, status[0].undeclared), (2, 1));
    let families = house.server.families();
    let of = |name| families.iter().find(|status| status.family.as_deref() == name).unwrap();
    let devices = of(Some("device_usage"));
    assert_eq!((devices.accepted, devices.recent, devices.undeclared), (2, 2, 1));
    assert_eq!((devices.last, devices.refused[&Reason::WrongType]), (Some(NOW), 1));
    assert_eq!(of(None).refused[&Reason::Malformed], 1);
    assert!(of(Some("web")).last.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_alone_are_durable_before_they_are_answered() {
    let house = House::open(config()).await;
    let answer = house.post(r#"[{"type":"nothing"},{"type":"device_usage"}]"#).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "all_refused"));
    assert_eq!(answer.json()["refused_total"], 2);
    let answer = house.post(r#"{"type":"device_us"#).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "malformed"));
    let frames = house.frames().await;
    assert!(frames.iter().all(|(_, rows, _)| *rows == 0));
    let count = |family: Option<&str>, reason| -> u64 {
        let of = frames.iter().filter(|(found, _, _)| found.as_deref() == family);
        of.filter_map(|(_, _, tally)| tally.refused.get(&reason)).sum()
    };
    assert_eq!(count(None, Reason::UnknownType), 1);
    assert_eq!(count(None, Reason::Malformed), 1);
    assert_eq!(count(Some("device_usage"), Reason::MissingField), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_share_frames() {
    let house = House::open(IngestConfig { linger_ms: 300, ..config() }).await;
    let posts = (0..20).map(|number| house.post(events(number * 10..number * 10 + 10)));
    let answers = futures::future::join_all(posts).await;
    assert!(answers.iter().all(|answer| answer.status == 202));
    let frames = house.frames().await;
    assert_eq!(frames.iter().map(|(_, rows, _)| rows).sum::<u32>(), 200);
    assert!(frames.len() <= 6, "{} frames for 20 requests", frames.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_frame_does_not_wait() {
    let small = IngestConfig { linger_ms: 1000, frame_bytes_max: 4096, ..config() };
    let house = House::open(small).await;
    let began = std::time::Instant::now();
    assert_eq!(house.post(events(0..500)).await.status, 202);
    assert!(house.frames().await.len() > 5);
    // Only what is left over waits for the linger.
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_holds_one_hour_of_receipt() {
    let house = House::open(IngestConfig { linger_ms: 1000, ..config() }).await;
    let house = Arc::new(house);
    let first = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.post(event(1)).await.status })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.clock.advance(HOUR_MS);
    assert_eq!(house.post(event(1)).await.status, 202);
    assert_eq!(first.await.unwrap(), 202);
    assert_eq!(house.frames().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_an_event_meet_in_one_partition() {
    let house = House::open(config()).await;
    for _ in 0..2 {
        assert_eq!(house.post(events(0..50)).await.status, 202);
    }
    for partition in 0..2 {
        let frames = house.log.read(Partition(partition), Position(0), 1 << 30).await.unwrap();
        let rows: Vec<u32> = frames.iter().map(|(_, frame)| frame.header().rows).collect();
        assert!(rows.len() == 2 && rows[0] == rows[1] && rows[0] > 0, "{rows:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_in_both_schemes() {
    let house = House::open(config()).await;
    let basic = data_encoding::BASE64.encode(format!("{}:", house.device).as_bytes());
    for value in [format!("Bearer {}", house.device), format!("Basic {basic}")] {
        let headers = [("Authorization", value.as_str())];
        assert_eq!(house.send("POST", "/v1/events", &headers, event(1)).await.status, 202);
    }
    let answer = house.send("POST", "/v1/events", &[], event(1)).await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "unauthorized"));
    assert_eq!(answer.json()["retry"], true);
    let headers = [("Authorization", "Bearer qd_wrong")];
    let answer = house.send("POST", "/v1/events?site=shop", &headers, event(1)).await;
    assert_eq!((answer.status, answer.error().as_str()), (401, "unauthorized"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_worthless_without_a_restart() {
    let house = House::open(config()).await;
    assert_eq!(house.post(event(1)).await.status, 202);
    let mut registry = Sources::load(&house.sources).unwrap();
    registry.revoke("scanners", None, NOW).unwrap();
    registry.save(&house.sources).unwrap();
    let mut status = 202;
    for _ in 0..50 {
        status = house.post(event(2)).await.status;
        if status == 401 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 401);
    // A file that cannot be read leaves the last good one in force.
    std::fs::write(&house.sources, "not a registry").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let key = format!("Bearer {}", house.usher);
    let headers = [("Authorization", key.as_str())];
    assert_eq!(house.send("POST", "/v1/events", &headers, event(3)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_may_be_compressed() {
    let house = House::open(config()).await;
    let plain = events(0..2000);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(plain.as_bytes()).unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(plain.as_bytes()).unwrap();
    for (encoding, body) in [
        ("gzip", gzip.finish().unwrap()),
        ("deflate", zlib.finish().unwrap()),
        ("zstd", zstd::encode_all(plain.as_bytes(), 3).unwrap()),
    ] {
        let answer = house.post_with(&[("Content-Encoding", encoding)], body).await;
        assert_eq!((answer.status, &answer.json()["accepted"]), (202, &2000.into()), "{encoding}");
    }
    let answer = house.post_with(&[("Content-Encoding", "br")], "x").await;
    assert_eq!((answer.status, answer.error().as_str()), (415, "unsupported_encoding"));
    let answer = house.post_with(&[("Content-Encoding", "gzip")], "x").await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "malformed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_floods_are_stopped_at_their_limits() {
    let small = IngestConfig {
        body_bytes_max: 64 << 10,
        decompressed_bytes_max: 256 << 10,
        in_flight_bytes_max: 512 << 10,
        events_max: 10,
        ..config()
    };
    let house = House::open(small).await;
    let bomb = zstd::encode_all(&vec![b' '; 64 << 20][..], 3).unwrap();
    assert!(bomb.len() < 64 << 10);
    let answer = house.post_with(&[("Content-Encoding", "zstd")], bomb).await;
    assert_eq!((answer.status, answer.error().as_str()), (413, "too_large"));
    let answer = house.post(vec![b' '; 65 << 10]).await;
    assert_eq!((answer.status, answer.error().as_str()), (413, "too_large"));
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let chunked = format!("{chunk}{chunk}{chunk}0\r\n\r\n");
    let answer = house.post_with(&[("Transfer-Encoding", "chunked")], chunked).await;
    assert_eq!((answer.status, answer.error().as_str()), (413, "too_large"));
    let answer = house.post(events(0..11)).await;
    assert_eq!((answer.status, answer.error().as_str()), (413, "too_large"));
    assert_eq!(house.post(events(0..10)).await.status, 202);
    assert_eq!(house.frames().await.iter().map(|(_, rows, _)| rows).sum::<u32>(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_bounded() {
    let small = IngestConfig {
        body_bytes_max: 100 << 10,
        decompressed_bytes_max: 100 << 10,
        in_flight_bytes_max: 280 << 10,
        linger_ms: 1000,
        ..config()
    };
    let house = House::open(small).await;
    let body = format!("{}{}", " ".repeat(90 << 10), event(1));
    let posts = (0..4).map(|_| house.post(body.as_str()));
    let answers = futures::future::join_all(posts).await;
    let busy: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(busy.len(), 2, "{answers:?}");
    assert_eq!(busy[0].header("retry-after"), Some("1"));
    assert_eq!(house.post(body.as_str()).await.status, 202, "what was held is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_answered() {
    let house = House::open(config()).await;
    assert_eq!(house.send("POST", "/v1/other", &[], "").await.status, 404);
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let answer = house.send(method, "/v1/events", &[], "").await;
        assert_eq!((answer.status, answer.error().as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"), "{method}");
    }
}

/// A log that fails; or one that takes a frame while another node gives its hour another key, and the door looks.
#[derive(Clone, Default)]
struct Broken(Arc<OnceLock<Arc<anonymizer::Gate>>>);

#[async_trait]
impl Log for Broken {
    fn id(&self) -> LogId {
        LogId(uuid::Uuid::nil())
    }

    fn partitions(&self) -> u16 {
        1
    }

    async fn append(&self, _: Partition, frame: anonymizer::Sealed) -> Result<Position, LogError> {
        let gate = self.0.get().ok_or(LogError::Stopped)?;
        gate.supersede(frame.header().hour).unwrap();
        gate.refresh().unwrap();
        Ok(Position(0))
    }

    async fn read(
        &self,
        _: Partition,
        _: Position,
        _: usize,
    ) -> Result<Vec<(Position, anonymizer::Sealed)>, LogError> {
        Ok(Vec::new())
    }

    async fn replace(
        &self,
        _: Partition,
        _: Vec<(Position, anonymizer::Sealed)>,
    ) -> Result<u64, LogError> {
        Err(LogError::Stopped)
    }

    async fn end(&self, _: Partition) -> Result<Position, LogError> {
        Ok(Position(0))
    }

    async fn appended(&self) {}

    async fn remove_through(&self, _: u32) -> Result<u64, LogError> {
        Ok(0)
    }

    async fn bytes(&self) -> u64 {
        0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_the_log_did_not_take() {
    let house = House::open_with(config(), |_| Arc::new(Broken::default())).await;
    for body in [event(1), events(0..10), "nonsense".to_owned(), r#"{"type":"x"}"#.to_owned()] {
        let answer = house.post(body).await;
        assert_eq!((answer.status, answer.error().as_str()), (503, "unavailable"));
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    }
    let page = [("Origin", "https://shop.example")];
    let body = r#"{"d":"shop","u":"https://shop.example/"}"#;
    let tracked = house.send("POST", "/api/event", &page, body).await;
    assert_eq!((tracked.status, tracked.error().as_str()), (503, "unavailable"));
    let image = house.send("GET", "/v1/pixel.gif?site=shop", &page, "").await;
    assert_eq!((image.status, image.header("retry-after")), (503, Some("5")));
    assert!(!house.server.ready());
    assert!(house.server.stats().is_empty());
    assert!(house.server.families().iter().all(|status| status.refused.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_whose_key_was_given_up_on_the_way() {
    let log = Broken::default();
    let own = log.clone();
    let house = House::open_with(config(), |_| Arc::new(log)).await;
    assert!(own.0.set(Arc::clone(&house.gates.gate)).is_ok());
    let answer = house.post(event(1)).await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "unavailable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_door_answers_503() {
    let house = House::open(config()).await;
    assert!(house.server.ready());
    house.server.suspend(ingest::Suspension::Space, true);
    let answer = house.post(event(1)).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));
    assert!(!house.server.ready());
    house.server.suspend(ingest::Suspension::Space, false);
    assert_eq!(house.post(event(1)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_is_pending() {
    let house = Arc::new(House::open(IngestConfig { linger_ms: 700, ..config() }).await);
    let pending = {
        let house = Arc::clone(&house);
        tokio::spawn(async move { house.post(events(0..5)).await.status })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.server.stop().await;
    assert_eq!(pending.await.unwrap(), 202);
    assert_eq!(house.frames().await.iter().map(|(_, rows, _)| rows).sum::<u32>(), 5);
    assert!(TcpStream::connect(house.server.addr).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_client_that_left_are_kept_all_the_same() {
    let house = House::open(IngestConfig { linger_ms: 500, ..config() }).await;
    let key = format!("Bearer {}", house.device);
    let headers = [("Authorization", key.as_str())];
    let request = request("POST", "/v1/events", &headers, event(1).as_bytes());
    let mut stream = TcpStream::connect(house.server.addr).unwrap();
    stream.write_all(&request).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    house.server.stop().await;
    assert_eq!(house.frames().await.iter().map(|(_, rows, _)| rows).sum::<u32>(), 1);
}
