//! The log of many machines, on Kafka, and what else of Kafka the service uses.
//!
//! librdkafka does the work. What it logs is passed on from warnings upwards, and an error holds codes alone: no key,
//! payload or secret is in either.

mod client;
mod config;
mod group;
mod identity;
mod lag;
mod log;
mod mark;
mod membership;
mod producer;
mod reader;
mod replaced;
pub mod topics;

pub use config::{ConfigError, KafkaConfig};
pub use group::members;
pub use identity::Adopt;
pub use lag::committed;
pub use log::KafkaLog;
pub use mark::Marks;
pub use membership::{Assignment, Membership, RELEASE_MAX};
pub use reader::{Chunk, Record, TopicReader};

#[cfg(test)]
mod tests;
