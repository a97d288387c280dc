//! What an operator can set about the door: read from the configuration's `[ingest]`, checked as a whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::budget;
use crate::decode::Limits;
use crate::error::Error;

/// Largest body that any setting allows, so that positions in it fit 32 bits with room.
const BODY_BYTES_CEILING: usize = 1 << 30;

/// The door: where it is, who stands before it, how much it takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Address and port on which events are taken.
    pub listen: SocketAddr,
    /// Base address at which senders reach this port, `https://events.example.org`: for what the dashboard says about
    /// sending. Without it, `listen`, or `localhost` where that is all addresses (`0.0.0.0`).
    pub public_url: Option<String>,
    /// Certificate and key; without them the service is reachable from this machine alone.
    pub tls: Option<Tls>,
    /// Write `"events and keys travel unencrypted"` to listen beyond this machine without TLS, for instance behind
    /// a proxy that ends TLS, on a network of its own.
    pub plain_text_off_loopback: Option<PlainText>,
    /// How many proxies of yours a request passes. The sender's address is taken from that many entries back in
    /// `forwarded_by`; what stands beyond is the sender's own claim and is not looked at.
    pub trusted_proxies: u8,
    /// The header that your proxies append to. One that they do not write is under the sender's control.
    pub forwarded_by: ForwardedBy,
    /// Largest body as it arrives, in bytes.
    pub body_bytes_max: usize,
    /// Largest body after decompression, in bytes.
    pub decompressed_bytes_max: usize,
    /// Most events of one body.
    pub events_max: usize,
    /// Largest event, in bytes: a line of NDJSON, or the texts of an event in an array or envelope.
    pub event_bytes_max: usize,
    /// How long an event waits for others to be made durable with, in milliseconds. More gives fewer writes, and
    /// later answers.
    pub linger_ms: u64,
    /// Size at which a frame is written without waiting any longer, in bytes.
    pub frame_bytes_max: usize,
    /// Bodies that may be in memory at once, in bytes; beyond it requests are answered 503. One source, or one network
    /// under a public site id, may take three quarters of it.
    pub in_flight_bytes_max: usize,
    /// How long a connection may be without a request, and a request may take to send its head, in seconds.
    pub head_timeout_s: u64,
    /// How long a request may take to send its body, in seconds.
    pub body_timeout_s: u64,
    /// How long a request may wait for its events to be durable, in seconds; then it is answered 503.
    pub durable_timeout_s: u64,
    /// Connections open at once. One more takes the place of the one that has done nothing for longest, of those from
    /// the network that holds most.
    pub connections_max: usize,
    /// Requests a second that one key may send on average, with bursts of ten times that; 0 for no limit.
    pub key_requests_per_s: u32,
    /// Events a second that one source may send on average, with bursts of ten times that; 0 for no limit. A body is
    /// taken whole, and what it is too much is waited for.
    pub source_events_per_s: u32,
    /// Requests a second of one address under a public site id, which anybody can read off a page; 0 for no limit.
    pub address_requests_per_s: u32,
}

/// Files of the certificate and its key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and those that sign it.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// That somebody knows what listening without TLS means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PlainText {
    /// The sentence to write.
    #[serde(rename = "events and keys travel unencrypted")]
    EventsAndKeysTravelUnencrypted,
}

/// The header in which proxies say whom they forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ForwardedBy {
    /// `X-Forwarded-For: 192.0.2.7, 198.51.100.4`.
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded: for=192.0.2.7;proto=https` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            tls: None,
            plain_text_off_loopback: None,
            trusted_proxies: 0,
            forwarded_by: ForwardedBy::default(),
            body_bytes_max: 4 << 20,
            decompressed_bytes_max: 16 << 20,
            events_max: 20_000,
            event_bytes_max: 64 << 10,
            linger_ms: 5,
            frame_bytes_max: 512 << 10,
            in_flight_bytes_max: 128 << 20,
            head_timeout_s: 30,
            body_timeout_s: 30,
            durable_timeout_s: 15,
            connections_max: 10_000,
            key_requests_per_s: 0,
            source_events_per_s: 0,
            address_requests_per_s: 100,
        }
    }
}

impl IngestConfig {
    /// Checks what types cannot.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the key's name and what to write.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |what: &str| Err(Error::Config(what.to_owned()));
        let is_open = !self.listen.ip().is_loopback();
        if is_open && self.tls.is_none() && self.plain_text_off_loopback.is_none() {
            return fail(
                "listen is not a loopback address and there is no TLS: set tls.certificate and tls.key, or write \
                 plain_text_off_loopback = \"events and keys travel unencrypted\"",
            );
        }
        if self.public_url.as_deref().is_some_and(|url| !is_base(url)) {
            return fail(
                "public_url must be http:// or https://, a host, and perhaps a port and a path",
            );
        }
        if self.body_bytes_max == 0 || self.decompressed_bytes_max < self.body_bytes_max {
            return fail(
                "body_bytes_max must be at least 1, and decompressed_bytes_max at least as much",
            );
        }
        if self.decompressed_bytes_max > BODY_BYTES_CEILING {
            return fail("decompressed_bytes_max must be at most 1073741824");
        }
        let one = self.body_bytes_max + self.decompressed_bytes_max;
        if budget::shared(self.in_flight_bytes_max) < one {
            return fail(
                "three quarters of in_flight_bytes_max must be at least body_bytes_max and \
                 decompressed_bytes_max together",
            );
        }
        if self.events_max == 0 || self.event_bytes_max == 0 || self.connections_max == 0 {
            return fail("events_max, event_bytes_max and connections_max must be at least 1");
        }
        if self.frame_bytes_max < 4096 || self.frame_bytes_max > 64 << 20 {
            return fail("frame_bytes_max must be between 4096 and 67108864");
        }
        if self.linger_ms > 1000 {
            return fail("linger_ms must be at most 1000");
        }
        if self.head_timeout_s == 0 || self.body_timeout_s == 0 || self.durable_timeout_s == 0 {
            return fail("head_timeout_s, body_timeout_s and durable_timeout_s must be at least 1");
        }
        Ok(())
    }

    /// Base address at which events are posted, without a slash at the end; `bound` is where the port listens. Where it
    /// listens on all addresses of the machine, none of them is known to reach it but the machine's own `localhost`.
    #[must_use]
    pub fn base_url(&self, bound: SocketAddr) -> String {
        if let Some(url) = &self.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        if bound.ip().is_unspecified() {
            return format!("{scheme}://localhost:{}", bound.port());
        }
        format!("{scheme}://{bound}")
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits { events_max: self.events_max, event_bytes_max: self.event_bytes_max }
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }
}

/// Whether paths can be appended: it goes into commands that people copy, so no blank, quote or sign of a shell.
fn is_base(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.chars().all(plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<IngestConfig, String> {
        let config: IngestConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn an_empty_configuration_works() {
        assert!(read("").unwrap().listen.ip().is_loopback());
    }

    #[test]
    fn unknown_keys_are_errors() {
        assert!(read("lisen = \"127.0.0.1:1\"").unwrap_err().contains("lisen"));
    }

    #[test]
    fn without_tls_only_a_typed_sentence_opens_the_service() {
        let open = "listen = \"0.0.0.0:8080\"\n";
        assert!(read(open).unwrap_err().contains("events and keys travel unencrypted"));
        for word in ["true", "\"yes\"", "\"\""] {
            assert!(read(&format!("{open}plain_text_off_loopback = {word}")).is_err(), "{word}");
        }
        let sentence = "\"events and keys travel unencrypted\"";
        assert!(read(&format!("{open}plain_text_off_loopback = {sentence}")).is_ok());
        let tls = "[tls]\ncertificate = \"a\"\nkey = \"b\"";
        assert!(read(&format!("{open}{tls}")).is_ok());
    }

    #[test]
    fn the_public_address_can_be_appended_to() {
        let base = |text: &str| {
            read(text).map(|config| config.base_url(SocketAddr::from(([127, 0, 0, 1], 8080))))
        };
        assert_eq!(base("").unwrap(), "http://127.0.0.1:8080");
        let tls = "tls = { certificate = \"a\", key = \"b\" }";
        assert_eq!(base(tls).unwrap(), "https://127.0.0.1:8080");
        let of = |url: &str| base(&format!("public_url = '{url}'"));
        assert_eq!(of("https://events.example.org/").unwrap(), "https://events.example.org");
        assert_eq!(of("http://[2001:db8::1]:80/in").unwrap(), "http://[2001:db8::1]:80/in");
        for wrong in [
            "",
            "events.example.org",
            "ftp://a",
            "https://",
            "https:///a",
            "https://a b",
            "https://a?b",
            "https://a\"b",
            "http://a$(b)",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_that_names_no_machine_is_told_to_nobody() {
        let plain = IngestConfig::default();
        let tls = Tls { certificate: "a".into(), key: "b".into() };
        let tls = IngestConfig { tls: Some(tls), ..IngestConfig::default() };
        for (bound, told) in [
            ("0.0.0.0:8080", "localhost:8080"),
            ("[::]:8080", "localhost:8080"),
            ("192.0.2.7:8080", "192.0.2.7:8080"),
            ("[2001:db8::7]:8080", "[2001:db8::7]:8080"),
        ] {
            let bound: SocketAddr = bound.parse().unwrap();
            assert_eq!(plain.base_url(bound), format!("http://{told}"));
            assert_eq!(tls.base_url(bound), format!("https://{told}"));
        }
    }

    #[test]
    fn limits_that_contradict_each_other_are_errors() {
        for text in [
            "body_bytes_max = 0",
            "decompressed_bytes_max = 1",
            "in_flight_bytes_max = 1",
            "events_max = 0",
            "frame_bytes_max = 1",
            "linger_ms = 5000",
            "body_timeout_s = 0",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
