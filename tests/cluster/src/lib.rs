//! The real parts that tests of many machines need: Apache Kafka and an S3 API, started, broken and stopped. For tests
//! alone; nothing of it is in the binary.
//!
//! - [`Kafka`]: brokers of their own on free ports, or one for the whole test binary ([`Kafka::shared`]); brokers can be
//!   killed, paused and started again, and can listen with TLS and SCRAM.
//! - [`S3`]: moto's server, with buckets.
//! - [`Proxy`]: a wire that can be cut, to put between a process and any of them.
//! - [`broker`]: what `cargo xtask kafka` starts for people.
//!
//! Nothing is downloaded here: `cargo xtask kafka fetch` lays the jars below `target/tools`, `cargo xtask python` makes the
//! Python environment, and `cargo xtask test` does both. What is missing ends a test with these words. Everything listens
//! on 127.0.0.1, writes below a temporary folder, and is killed when its value is dropped or the test process ends, however
//! it ends.
//!
//! ```no_run
//! let kafka = cluster::Kafka::shared();
//! let s3 = cluster::S3::shared();
//! let root = s3.bucket("events");
//! println!("{} {root} {:?}", kafka.bootstrap(), s3.options());
//! ```

#![allow(
    clippy::missing_panics_doc,
    reason = "made for tests: what goes wrong ends the test, and says what"
)]

pub mod broker;
mod kafka;
mod ports;
mod process;
mod proxy;
mod s3;
mod secure;

pub use kafka::{Kafka, Options};
pub use ports::free as free_ports;
pub use proxy::Proxy;
pub use s3::S3;

use std::path::{Path, PathBuf};

/// The version of Apache Kafka that the tests run against.
pub const KAFKA_VERSION: &str = "4.4.0";

/// Where `cargo xtask kafka fetch` lays the jars of a broker.
#[must_use]
pub fn kafka_jars() -> PathBuf {
    repository().join(format!("target/tools/kafka-{KAFKA_VERSION}"))
}

/// The root of the repository.
fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate lies in tests/cluster").to_owned()
}
