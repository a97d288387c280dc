//! The log of many machines, on Kafka, and what else of Kafka the service uses.
//!
//! librdkafka does the work. What it logs is passed on from warnings upwards, and an error holds codes alone: no key,
//! payload or secret is in either.

mod client;
mod config;
mod membership;
mod reader;

pub use config::{ConfigError, KafkaConfig};
pub use membership::{Assignment, Membership, RELEASE_MAX};
pub use reader::{Chunk, Record, TopicReader};
