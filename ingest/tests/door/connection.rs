//! Whose connection counts, TLS, and that no answer holds a word of a request.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use crate::support::{Answer, DANISH, GERMAN, House, config, event, request};
use ingest::{ForwardedBy, IngestConfig, Tls};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_choose_its_country() {
    let house = House::open(IngestConfig { trusted_proxies: 1, ..config() }).await;
    let chain = format!("{GERMAN}, {DANISH}");
    let headers = [("X-Forwarded-For", chain.as_str()), ("Forwarded", "for=79.192.17.4")];
    let body =
        event(1).replacen('{', r#"{"country":"DE","address":"79.192.17.4","ip":"79.192.17.4","#, 1);
    assert_eq!(house.post_with(&headers, body).await.status, 202);
    assert_eq!(house.texts("device_usage", "country").await, ["DK"]);
    let body = event(2).replacen('{', r#"{"end_user":{"address":"79.192.17.4"},"#, 1);
    let answer = house.post_with(&headers, body).await;
    assert_eq!((answer.status, &answer.json()["refused"][0]["field"]), (400, &"end_user".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configured_header_counts_alone() {
    let config =
        IngestConfig { trusted_proxies: 1, forwarded_by: ForwardedBy::Forwarded, ..config() };
    let house = House::open(config).await;
    let forwarded = format!("for={DANISH};proto=https");
    let headers = [("X-Forwarded-For", GERMAN), ("Forwarded", forwarded.as_str())];
    assert_eq!(house.post_with(&headers, event(1)).await.status, 202);
    assert_eq!(house.texts("device_usage", "country").await, ["DK"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_speaks_for_its_users_and_not_for_itself() {
    let house = House::open(IngestConfig { trusted_proxies: 1, ..config() }).await;
    let key = format!("Bearer {}", house.usher);
    let headers = [("Authorization", key.as_str()), ("X-Forwarded-For", GERMAN)];
    let of_user = event(1).replacen('{', &format!(r#"{{"end_user":{{"address":"{DANISH}"}},"#), 1);
    let body = format!("[{},{of_user}]", event(2));
    assert_eq!(house.send("POST", "/v1/events", &headers, body).await.status, 202);
    assert_eq!(house.texts("device_usage", "country").await, ["", "DK"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let tls = Some(Tls { certificate: certificate.clone(), key });
    let house = House::open(IngestConfig { tls, ..config() }).await;
    let bearer = format!("Bearer {}", house.device);
    let headers = [("Authorization", bearer.as_str())];
    let request = request("POST", "/v1/events", &headers, event(1).as_bytes());
    let addr = house.server.addr;
    let answer = tokio::task::spawn_blocking(move || {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut stream = StreamOwned::new(session, TcpStream::connect(addr).unwrap());
        stream.write_all(&request).unwrap();
        Answer::read(&mut stream)
    });
    let answer = answer.await.unwrap();
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(house.post(event(2)).await.status, 0, "without TLS nothing is understood");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_holds_a_word_of_the_request() {
    const WORD: &str = "cAnArY";
    let house = House::open(IngestConfig { trusted_proxies: 1, ..config() }).await;
    let device = format!("Bearer {}", house.device);
    let usher = format!("Bearer {}", house.usher);
    let query = format!("/v1/events?site={WORD}&{WORD}={WORD}");
    let wrong = format!("Bearer {WORD}");
    let long = WORD.repeat(40);
    let bodies = [
        WORD.to_owned(),
        format!("{{\"{WORD}\":\"{WORD}\"}}"),
        format!("{{\"type\":\"{WORD}\"}}"),
        format!("[{{\"type\":\"device_usage\",\"product\":\"{WORD}\"}}]"),
        event(1).replace("\"boot\":1", &format!("\"boot\":\"{WORD}\"")),
        event(1).replace("x1", &long),
        event(1).replacen('{', &format!("{{\"scan_program\":\"{WORD}\",\"{WORD}\":1,"), 1),
        event(1).replacen('{', &format!("{{\"error\":\"{WORD}\",\"version\":\"{WORD}\","), 1),
        event(1).replacen('{', &format!("{{\"time\":\"{WORD}\","), 1),
        event(1).replacen('{', &format!("{{\"consent\":{{\"improve\":\"{WORD}\"}},"), 1),
        event(1).replacen('{', &format!("{{\"end_user\":{{\"address\":\"{WORD}\"}},"), 1),
        format!("{{\"boot\":\"{WORD}\",\"events\":[]}}"),
        format!("{{\"site\":\"{WORD}\",\"events\":[{{\"{WORD}\":{WORD}}}]}}"),
        format!("[{{\"a\":\"{WORD}\" {WORD}"),
        format!("{}\n{WORD}\n", event(1)),
    ];
    let mut answers = 0;
    for body in &bodies {
        for (path, key) in [
            ("/v1/events", Some(&device)),
            ("/v1/events", Some(&usher)),
            ("/v1/events", Some(&wrong)),
            (query.as_str(), None),
            (WORD, None),
        ] {
            let path = if path == WORD { format!("/{WORD}") } else { path.to_owned() };
            let mut headers = vec![
                ("X-Forwarded-For", WORD),
                ("User-Agent", WORD),
                ("Accept-Language", WORD),
                ("Origin", WORD),
                ("Content-Type", WORD),
            ];
            headers.extend(key.map(|key| ("Authorization", key.as_str())));
            let answer = house.send("POST", &path, &headers, body.as_str()).await;
            assert!(answer.status >= 200, "{answer:?}");
            let whole = format!("{}{}", answer.head, answer.body).to_lowercase();
            assert!(!whole.contains(&WORD.to_lowercase()), "{answer:?}");
            answers += 1;
        }
    }
    assert_eq!(answers, 75);
    let stats = serde_json::to_string(&house.server.stats()).unwrap();
    assert!(!stats.to_lowercase().contains(&WORD.to_lowercase()));
}
