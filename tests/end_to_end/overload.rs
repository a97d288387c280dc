//! A service under siege: thousands of idle connections, slow heads and bodies, bombs and a flood under one key; a client
//! with another key is served all the while, and memory stays within what README says.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use quorate::limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::place::Place;

/// More than the service has places for.
const IDLE: usize = 10_200;
/// Files that the test needs beside them.
const FILES: u64 = 1_000;
/// Requests with a body that does not come to an end.
const SLOW: usize = 300;
/// Bombs under way at once.
const BOMBS: usize = 8;
/// Bodies of a flood under way at once.
const FLOOD: usize = 64;
/// How long the siege lasts once it stands.
const SIEGE: Duration = Duration::from_secs(12);
/// How long the good client waits for one answer, at most, on a machine that does the besieging too.
const PATIENCE: Duration = Duration::from_secs(10);
/// What README promises.
const MEMORY_MIB: u64 = 768;

#[derive(Default)]
struct Counts {
    connected: AtomicU64,
    bombs: AtomicU64,
    floods: AtomicU64,
    refused: AtomicU64,
}

#[test]
fn a_besieged_service_serves_the_others_and_keeps_its_memory() {
    let files = limits::raise_open_files().unwrap_or(u64::MAX);
    assert!(
        files >= IDLE as u64 + FILES,
        "this test opens {IDLE} connections, and may open {files} files: raise the hard limit (ulimit -Hn)"
    );
    let place = Place::new();
    let service = place.start();
    let counts = Arc::new(Counts::default());
    let over = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (good, attacker) = (place.server_key.clone(), place.device_key.clone());
    let events = service.events;
    let waits = runtime.block_on(async {
        let mut siege = JoinSet::new();
        for number in 0..SLOW {
            siege.spawn(slow(events, number, attacker.clone()));
        }
        let bomb: Arc<[u8]> = bomb(&attacker).into();
        for number in 0..BOMBS {
            let (counts, over) = (Arc::clone(&counts), Arc::clone(&over));
            siege.spawn(storm(events, number, Arc::clone(&bomb), over, move |status| {
                assert_ne!(status, 202, "a bomb is not taken");
                counts.bombs.fetch_add(1, Ordering::Relaxed);
            }));
        }
        let flood: Arc<[u8]> = flood(&attacker).into();
        for number in 0..FLOOD {
            let (counts, over) = (Arc::clone(&counts), Arc::clone(&over));
            siege.spawn(storm(events, number, Arc::clone(&flood), over, move |status| {
                let taken = status == 202;
                let count = if taken { &counts.floods } else { &counts.refused };
                count.fetch_add(1, Ordering::Relaxed);
            }));
        }
        let idle = idle(events, &counts).await;
        let waits = serve(events, &good).await;
        over.store(true, Ordering::Relaxed);
        siege.shutdown().await;
        drop(idle);
        waits
    });
    let peak = peak_mib(service.id());
    let metrics = service.operator("/metrics").body();
    let sum = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let seen = format!(
        "{} connections, {} bombs, {} floods taken and {} refused; the good client's {} requests took {:?} at most, \
         {peak} MiB resident",
        sum(&counts.connected),
        sum(&counts.bombs),
        sum(&counts.floods),
        sum(&counts.refused),
        waits.len(),
        waits.iter().max(),
    );
    println!("{seen}");
    assert!(waits.len() > 10 && waits.iter().all(|wait| *wait < PATIENCE), "{seen}");
    assert!(sum(&counts.bombs) > 0 && sum(&counts.floods) > 0, "{seen}");
    assert!(metrics.contains(r#"quorate_connections_closed_total{why="replaced"}"#), "{metrics}");
    assert!(peak < MEMORY_MIB, "{seen}");
}

/// A connection from an address of its own, of the 127.0.0.0/8 that every machine has.
async fn connect(to: SocketAddr, network: u8, host: usize) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let host = u8::try_from(host % 200).unwrap_or(0) + 1;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, network, host), 0)))?;
    socket.connect(to).await
}

/// Connections that say nothing, or begin to.
async fn idle(to: SocketAddr, counts: &Counts) -> Vec<TcpStream> {
    let mut held = Vec::with_capacity(IDLE);
    for first in (0..IDLE).step_by(100) {
        let wave = (first..IDLE.min(first + 100)).map(|number| async move {
            let mut stream = connect(to, 1, number / 100).await.ok()?;
            if number % 2 == 0 {
                stream.write_all(b"POST /v1/events HTTP/1.1\r\nX-Slow: ").await.ok()?;
            }
            Some(stream)
        });
        held.extend(futures::future::join_all(wave).await.into_iter().flatten());
    }
    counts.connected.store(held.len() as u64, Ordering::Relaxed);
    held
}

/// A request whose body comes a byte a second.
async fn slow(to: SocketAddr, number: usize, key: String) {
    let Ok(mut stream) = connect(to, 2, number % 7).await else { return };
    let head = head(&key, &[("Content-Length", "1000000")]);
    let mut sent = stream.write_all(head.as_bytes()).await;
    while sent.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sent = stream.write_all(b" ").await;
    }
}

/// Sends the same request again and again, each time over a new connection.
async fn storm(
    to: SocketAddr,
    number: usize,
    request: Arc<[u8]>,
    over: Arc<AtomicBool>,
    seen: impl Fn(u16),
) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(stream) = connect(to, 3, number).await {
            seen(exchange(stream, &request).await);
        }
    }
}

/// What the good client waits for each of its answers.
async fn serve(to: SocketAddr, key: &str) -> Vec<Duration> {
    let began = Instant::now();
    let mut waits = Vec::new();
    while began.elapsed() < SIEGE {
        let body = format!(
            r#"{{"type":"device_usage","id":"good-{}","serial_number":"X1-000001","product":"x1"}}"#,
            waits.len()
        );
        let request = head(key, &[("Content-Length", &body.len().to_string())]) + &body;
        let asked = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, async {
            let stream = connect(to, 0, 0).await.expect("the good client is let in");
            exchange(stream, request.as_bytes()).await
        });
        assert_eq!(answer.await, Ok(202), "after {} answers", waits.len());
        waits.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    waits
}

/// The status of the answer; 0 if the connection was closed instead.
async fn exchange(mut stream: TcpStream, request: &[u8]) -> u16 {
    // Who refuses early closes while we still write.
    let _sent = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _read = stream.read_to_end(&mut answer).await;
    let status = answer.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    status.unwrap_or(0)
}

fn head(key: &str, headers: &[(&str, &str)]) -> String {
    let lines: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "POST /v1/events HTTP/1.1\r\nHost: l\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n{lines}\r\n"
    )
}

/// Two thousand times its size: spaces, and more of them than may be.
fn bomb(key: &str) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let spaces = vec![b' '; 1 << 20];
    (0..256).for_each(|_| packed.write_all(&spaces).unwrap());
    let packed = packed.finish().unwrap();
    let length = packed.len().to_string();
    let head = head(key, &[("Content-Encoding", "gzip"), ("Content-Length", &length)]);
    [head.as_bytes(), &packed].concat()
}

/// As many events as one body may have.
fn flood(key: &str) -> Vec<u8> {
    let event = |number| {
        format!(
            r#"{{"type":"device_usage","id":"{number}","serial_number":"X1-{number}","product":"x1","duration":{number}}}"#
        )
    };
    let lines: Vec<String> = (0..20_000).map(event).collect();
    let body = lines.join("\n");
    let head = head(key, &[("Content-Length", &body.len().to_string())]);
    [head, body].concat().into_bytes()
}

/// Most memory that a process has had resident, in MiB.
fn peak_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
