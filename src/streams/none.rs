//! A log without partitions, of workers that read topics of others alone.

use anonymizer::Sealed;
use async_trait::async_trait;
use transport::{Log, LogError, LogId, Partition, Position};

/// Takes nothing and has nothing.
pub(crate) struct NoLog;

#[async_trait]
impl Log for NoLog {
    fn id(&self) -> LogId {
        LogId(uuid::Uuid::nil())
    }

    fn partitions(&self) -> u16 {
        0
    }

    async fn append(&self, Partition(asked): Partition, _: Sealed) -> Result<Position, LogError> {
        Err(LogError::NoPartition { asked, partitions: 0 })
    }

    async fn read(
        &self,
        Partition(asked): Partition,
        _: Position,
        _: usize,
    ) -> Result<Vec<(Position, Sealed)>, LogError> {
        Err(LogError::NoPartition { asked, partitions: 0 })
    }

    async fn replace(
        &self,
        Partition(asked): Partition,
        _: Vec<(Position, Sealed)>,
    ) -> Result<u64, LogError> {
        Err(LogError::NoPartition { asked, partitions: 0 })
    }

    async fn end(&self, Partition(asked): Partition) -> Result<Position, LogError> {
        Err(LogError::NoPartition { asked, partitions: 0 })
    }

    async fn appended(&self) {
        std::future::pending().await
    }

    async fn remove_through(&self, _: u32) -> Result<u64, LogError> {
        Ok(0)
    }

    async fn bytes(&self) -> u64 {
        0
    }
}
