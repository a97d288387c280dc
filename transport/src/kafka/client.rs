//! What librdkafka tells of itself, and its errors in the log's words.

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::ConfigError;
use crate::LogError;

/// How long a question to a broker may take.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Passes on what librdkafka logs.
#[derive(Clone, Copy, Default)]
pub(super) struct Told;

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        complain(&error, reason);
    }
}

impl ConsumerContext for Told {}

/// A line of librdkafka: of brokers, topics and protocol, never of what messages hold.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    // Every client is given the properties of all kinds of clients, and says of each that is not for it.
    if facility == "CONFWARN" {
        return;
    }
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(facility, "librdkafka: {line}"),
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {}
    }
}

/// An error that belongs to no call: brokers that are away, and the like.
pub(super) fn complain(error: &KafkaError, reason: &str) {
    let code = error.rdkafka_error_code();
    if code != Some(RDKafkaErrorCode::PartitionEOF) {
        tracing::warn!("Kafka: {error}: {reason}");
    }
}

/// A failure that may pass.
pub(super) fn storage(error: KafkaError) -> LogError {
    if matches!(error, KafkaError::ClientConfig(..)) {
        // Its own words repeat the value of a property.
        return LogError::Storage(Box::new(ConfigError::of(error)));
    }
    LogError::Storage(Box::new(error))
}

/// Runs what blocks where nothing waits behind it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(LogError::Storage(Box::new(error))),
    }
}
