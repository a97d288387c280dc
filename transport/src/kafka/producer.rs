//! Sends frames to brokers and tells when they are durable.

use std::sync::{Arc, PoisonError, RwLock};

use anonymizer::InFlight;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use tokio::sync::oneshot;

use super::ConfigError;
use super::client::{complain, log, storage};
use crate::LogError;

type Client = ThreadedProducer<Delivering>;

/// An idempotent producer; a new one takes its place when librdkafka says that it is of no use any more.
pub(super) struct Producer {
    config: ClientConfig,
    client: RwLock<Arc<Client>>,
}

/// What is sent.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: u16,
    pub(super) key: Option<&'a str>,
    pub(super) hour: u32,
    pub(super) frame: Vec<u8>,
    /// Let go when the frame is durable or has failed, whether or not anybody waits for it.
    pub(super) in_flight: InFlight,
}

/// A record on its way.
struct Pending {
    in_flight: InFlight,
    reply: oneshot::Sender<Result<u64, KafkaError>>,
}

struct Delivering;

impl ClientContext for Delivering {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        complain(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Delivering {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let result = match result {
            Ok(message) => Ok(u64::try_from(message.offset()).unwrap_or(0)),
            Err((error, _)) => Err(error.clone()),
        };
        let Pending { in_flight, reply } = *pending;
        drop(in_flight);
        // Who waited may have gone away.
        drop(reply.send(result));
    }
}

impl Producer {
    pub(super) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let client = config.create_with_context(Delivering).map_err(ConfigError::of)?;
        Ok(Self { config, client: RwLock::new(Arc::new(client)) })
    }

    /// Sends one record and returns its offset once all replicas that count have it. Nothing is sent twice.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`] if the buffer is full or brokers did not answer in time.
    pub(super) async fn send(&self, outgoing: Outgoing<'_>) -> Result<u64, LogError> {
        let Outgoing { topic, partition, key, hour, frame, in_flight } = outgoing;
        let client = Arc::clone(&self.client.read().unwrap_or_else(PoisonError::into_inner));
        let (reply, delivered) = oneshot::channel();
        let mut record: BaseRecord<'_, str, [u8], Box<Pending>> =
            BaseRecord::with_opaque_to(topic, Box::new(Pending { in_flight, reply }))
                .partition(i32::from(partition))
                .timestamp(hour_ms(hour))
                .payload(&frame);
        if let Some(key) = key {
            record = record.key(key);
        }
        // What comes back on a failure is dropped with what it held.
        let sent = client.send(record).map_err(|(error, _)| error);
        drop(frame);
        let result = match sent {
            Ok(()) => delivered.await.map_err(|_| LogError::Stopped)?,
            Err(error) => Err(error),
        };
        result.map_err(|error| {
            if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
                self.renew(&client);
            }
            storage(error)
        })
    }

    /// Takes a new client in the place of `broken`, unless somebody did.
    fn renew(&self, broken: &Arc<Client>) {
        let mut client = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&client, broken) {
            return;
        }
        match self.config.create_with_context(Delivering) {
            Ok(new) => *client = Arc::new(new),
            Err(error) => tracing::error!("no new producer: {}", ConfigError::of(error)),
        }
    }
}

/// The start of an hour in milliseconds: nothing finer is in a record.
pub(super) fn hour_ms(hour: u32) -> i64 {
    i64::from(hour) * 3_600_000
}
