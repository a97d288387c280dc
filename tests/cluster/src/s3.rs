//! moto's server: an S3 API in memory, with conditional puts.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::{Guarded, Process};
use crate::{ports, repository};

/// moto's server looks at the condition of a write and then writes, in as many threads as there are requests: of several
/// that replace one object at once, more than one would be accepted. S3 accepts one, and so does this.
const SERVER: &str = "
import threading
from moto.s3.responses import S3Response
from moto.server import main

one_at_a_time = threading.RLock()
put_object = S3Response.put_object

def put_object_alone(self):
    with one_at_a_time:
        return put_object(self)

S3Response.put_object = put_object_alone
main()
";

/// A server of its own for each value; what it holds is gone with it.
pub struct S3 {
    address: String,
    /// Killed before its folder goes.
    _process: Process,
    _guarded: Guarded,
}

impl S3 {
    /// Starts a server; ready when it returns, after some 3 s.
    #[must_use]
    pub fn start() -> Self {
        let program = repository().join("target/python/bin/moto_server");
        assert!(program.is_file(), "moto is not in target/python: run `cargo xtask python`");
        let program = program.with_file_name("python");
        let port = ports::free(1)[0].to_string();
        let guarded = Guarded::new("s3");
        let mut command = Command::new(program);
        command.args(["-c", SERVER, "-H", "127.0.0.1", "-p", &port]);
        let mut process = guarded.spawn("moto", &guarded.folder().join("moto.log"), &mut command);
        let address = format!("127.0.0.1:{port}");
        process.wait_until(|_| TcpStream::connect(&address).is_ok());
        Self { address, _process: process, _guarded: guarded }
    }

    /// One server for all tests of this process, started when first asked for; tests take buckets of their own.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<S3> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Host and port, to put a [`crate::Proxy`] before it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket, and gives its URL, `s3://name`.
    #[must_use]
    pub fn bucket(&self, name: &str) -> String {
        self.put(&format!("/{name}"), "");
        format!("s3://{name}")
    }

    /// Makes a bucket that keeps what is overwritten and deleted; gives its URL.
    #[must_use]
    pub fn versioned_bucket(&self, name: &str) -> String {
        let url = self.bucket(name);
        let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        self.put(&format!("/{name}?versioning"), enabled);
        url
    }

    /// Options of a client, as `object_store` and Delta name them.
    #[must_use]
    pub fn options(&self) -> BTreeMap<String, String> {
        Self::options_at(&self.address)
    }

    /// Options of a client that comes through another address: a proxy's.
    #[must_use]
    pub fn options_at(address: &str) -> BTreeMap<String, String> {
        let options = [
            ("aws_endpoint", format!("http://{address}")),
            ("aws_access_key_id", "quorate".to_owned()),
            ("aws_secret_access_key", "not-a-secret".to_owned()),
            ("aws_region", "us-east-1".to_owned()),
            ("aws_allow_http", "true".to_owned()),
        ];
        options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn put(&self, target: &str, body: &str) {
        let request = format!(
            "PUT {target} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).expect("moto listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
        stream.write_all(request.as_bytes()).expect("moto takes a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("moto answers");
        assert_eq!(answer.get(9..12), Some("200"), "PUT {target}: {answer}");
    }
}
