//! More than there is room for, and clients that take their time: the others are served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Answer, House, config, event, events, request};
use ingest::IngestConfig;

/// Connects, sends `bytes` and no more, and gives how long it took until the door closed.
async fn closed_after(addr: SocketAddr, bytes: &'static [u8]) -> Duration {
    let waiting = tokio::task::spawn_blocking(move || {
        let mut stream = connect(addr);
        stream.write_all(bytes).unwrap();
        let began = Instant::now();
        let _answer = Answer::read(&mut stream);
        began.elapsed()
    });
    waiting.await.unwrap()
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_clients_are_cut_off() {
    let house = House::open(IngestConfig { head_timeout_s: 1, ..config() }).await;
    let addr = house.server.addr;
    let heads: [&[u8]; 4] = [
        b"",
        b"POST /v1/events HTTP/1.1\r\nHost: l",
        b"PRI * HTTP/2.0\r\n",
        // A whole preface, settings, and then nothing.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    let waits = futures::future::join_all(heads.map(|head| closed_after(addr, head))).await;
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(6)), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_cut_off() {
    let house = House::open(IngestConfig { body_timeout_s: 1, ..config() }).await;
    let key = format!("Bearer {}", house.device);
    let began = Instant::now();
    for length in [("Content-Length", "1000"), ("Transfer-Encoding", "chunked")] {
        let headers = [("Authorization", key.as_str()), length];
        let answer = house.send("POST", "/v1/events", &headers, "1\r\n[\r\n").await;
        assert_eq!((answer.status, answer.error().as_str()), (408, "timeout"));
    }
    assert!(began.elapsed() < Duration::from_secs(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_cut_off() {
    let house = House::open(config()).await;
    let key = format!("Bearer {}", house.device);
    let headers = [("Authorization", key.as_str()), ("Transfer-Encoding", "chunked")];
    let head = request("POST", "/v1/events", &headers, b"");
    let addr = house.server.addr;
    let sent = tokio::task::spawn_blocking(move || {
        let mut stream = connect(addr);
        stream.write_all(&head).unwrap();
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        // 64 MiB, if somebody takes them.
        (0..1024).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count()
    });
    assert!(sent.await.unwrap() < 512);
    assert_eq!(house.post(event(1)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_cut_off() {
    let house = House::open(config()).await;
    let addr = house.server.addr;
    let flood = tokio::task::spawn_blocking(move || {
        let mut stream = connect(addr);
        let lines = "X-A: 0123456789012345678901234567890123456789\r\n".repeat(10_000);
        let head = format!("POST /v1/events HTTP/1.1\r\nHost: l\r\n{lines}");
        let _refused = stream.write_all(head.as_bytes());
        Answer::read(&mut stream).status
    });
    // Closed, with an answer if it was read before the reset.
    assert!([0, 431].contains(&flood.await.unwrap()));
    let long = "a".repeat(64 << 10);
    let answer = house.post_with(&[("X-Long", long.as_str())], event(1)).await;
    assert!([0, 431].contains(&answer.status), "{answer:?}");
    assert_eq!(house.post(event(1)).await.status, 202);
}

/// A frame of HTTP/2: its type, flags, stream and payload.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_their_connection() {
    let house = House::open(config()).await;
    // POST, http, /v1/events, l: three of them by their number in the static table.
    let head = [b"\x83\x86\x44\x0a/v1/events", &b"\x41\x01l"[..]].concat();
    let reset = |number| [frame(1, 4, number, &head), frame(3, 0, number, &[0, 0, 0, 8])].concat();
    let mut attack = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
    attack.extend((0..5000).flat_map(|number| reset(2 * number + 1)));
    let addr = house.server.addr;
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = connect(addr);
        let _refused = stream.write_all(&attack);
        let began = Instant::now();
        let _answer = Answer::read(&mut stream);
        began.elapsed()
    });
    assert!(ended.await.unwrap() < Duration::from_secs(5));
    assert_eq!(house.post(event(1)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_takes_the_place_of_an_idle_one() {
    let house = House::open(IngestConfig { connections_max: 4, ..config() }).await;
    let idle: Vec<TcpStream> = (0..4).map(|_| connect(house.server.addr)).collect();
    for number in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(house.post(event(number)).await.status, 202);
    }
    // One made room, once: who was answered is gone by itself. Which one was first to be let in, nobody knows.
    let is_closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        !matches!(stream.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert_eq!(idle.iter().filter(|stream| is_closed(stream)).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_answered_keeps_its_place() {
    let slow = IngestConfig { connections_max: 1, linger_ms: 1000, ..config() };
    let house = std::sync::Arc::new(House::open(slow).await);
    let first = {
        let house = std::sync::Arc::clone(&house);
        tokio::spawn(async move { house.post(event(1)).await.status })
    };
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(house.post(event(2)).await.status, 0, "closed without a word");
    assert_eq!(first.await.unwrap(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_turn_and_not_hoarded() {
    let house = House::open(config()).await;
    let one = request("GET", "/v1/events", &[], b"");
    let one = String::from_utf8(one).unwrap().replace("Connection: close\r\n", "");
    let addr = house.server.addr;
    let answers = tokio::task::spawn_blocking(move || {
        let mut stream = connect(addr);
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // Nobody reads the answers: sooner or later the door stops reading requests.
        let many = one.repeat(1000);
        let sent = (0..1000).take_while(|_| stream.write_all(many.as_bytes()).is_ok()).count();
        sent * 1000
    });
    assert!(answers.await.unwrap() < 1_000_000, "a client is read from that does not read");
    assert_eq!(house.post(event(1)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_are_told_when_to_come_back() {
    let house = House::open(IngestConfig { key_requests_per_s: 1, ..config() }).await;
    for _ in 0..10 {
        assert_eq!(house.post(event(1)).await.status, 202);
    }
    let answer = house.post(event(1)).await;
    assert_eq!((answer.status, answer.error().as_str()), (429, "too_many_requests"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    house.clock.advance(2000);
    assert_eq!(house.post(event(1)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_events_of_one_source_wait_and_another_source_does_not() {
    let house = House::open(IngestConfig { source_events_per_s: 10, ..config() }).await;
    assert_eq!(house.post(events(0..200)).await.status, 202, "a body is taken whole");
    let answer = house.post(event(1)).await;
    assert_eq!((answer.status, answer.error().as_str()), (429, "too_many_requests"));
    assert_eq!(answer.header("retry-after"), Some("11"));
    let key = format!("Bearer {}", house.usher);
    let headers = [("Authorization", key.as_str())];
    assert_eq!(house.send("POST", "/v1/events", &headers, event(1)).await.status, 202);
    house.clock.advance(11_000);
    assert_eq!(house.post(event(1)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bodies_of_one_source_leave_room_for_another() {
    let small = IngestConfig {
        body_bytes_max: 100 << 10,
        decompressed_bytes_max: 100 << 10,
        in_flight_bytes_max: 300 << 10,
        linger_ms: 1000,
        ..config()
    };
    let house = House::open(small).await;
    let body = format!("{}{}", " ".repeat(70 << 10), event(1));
    let posts = (0..5).map(|_| house.post(body.as_str()));
    let key = format!("Bearer {}", house.usher);
    let headers = [("Authorization", key.as_str())];
    let other = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        house.send("POST", "/v1/events", &headers, body.as_str()).await
    };
    let (flood, other) = futures::future::join(futures::future::join_all(posts), other).await;
    let taken = flood.iter().filter(|answer| answer.status == 202).count();
    assert_eq!((taken, other.status), (3, 202), "{flood:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_events_count_as_the_rows_that_they_become() {
    let small = IngestConfig {
        body_bytes_max: 100 << 10,
        decompressed_bytes_max: 100 << 10,
        in_flight_bytes_max: 300 << 10,
        ..config()
    };
    let house = House::open(small).await;
    let answer = house.post(format!("[{}{{}}]", "{},".repeat(2000))).await;
    assert_eq!((answer.status, answer.error().as_str()), (503, "unavailable"));
    let answer = house.post(format!("[{}{}]", "{},".repeat(200), event(1))).await;
    assert_eq!(answer.status, 202, "what was held is given back");
}
