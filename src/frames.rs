//! Frames of one partition in order, past those that are gone.

use std::ops::Range;

use anonymizer::Sealed;
use transport::{Log, LogError, Partition, Position};

/// Bytes of frames read at once from one partition.
pub(crate) const READ_BYTES_MAX: usize = 8 << 20;

/// What came next.
pub(crate) enum Read {
    /// Frames, at least one.
    Frames(Vec<(Position, Sealed)>),
    /// Positions of frames that the log had and cannot give any more: nobody can read them, and they die with their
    /// key.
    Gone(Range<u64>),
}

/// Reads the positions of a span, which does not move while the log grows.
pub(crate) struct Frames<'a> {
    log: &'a dyn Log,
    partition: Partition,
    span: Range<u64>,
}

impl<'a> Frames<'a> {
    /// All that the partition holds now.
    ///
    /// # Errors
    ///
    /// [`LogError::NoPartition`].
    pub(crate) async fn all(log: &'a dyn Log, partition: Partition) -> Result<Self, LogError> {
        let end = log.end(partition).await?;
        Ok(Self::within(log, partition, 0..end.0))
    }

    /// Those whose positions are in `span`.
    pub(crate) fn within(log: &'a dyn Log, partition: Partition, span: Range<u64>) -> Self {
        Self { log, partition, span }
    }

    /// Where the next read begins.
    pub(crate) fn next_position(&self) -> u64 {
        self.span.start
    }

    /// What comes next; none at the end of the span.
    ///
    /// # Errors
    ///
    /// Whatever the log reports but frames that are gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Read>, LogError> {
        if self.span.is_empty() {
            return Ok(None);
        }
        let from = Position(self.span.start);
        match self.log.read(self.partition, from, READ_BYTES_MAX).await {
            Ok(mut frames) => {
                frames.retain(|(position, _)| position.0 < self.span.end);
                let Some((last, _)) = frames.last() else { return Ok(None) };
                self.span.start = last.next().0;
                Ok(Some(Read::Frames(frames)))
            }
            Err(error) => {
                let (_, gone) = error.gone().ok_or(error)?;
                let end = gone.end.min(self.span.end);
                self.span.start = end;
                Ok(Some(Read::Gone(gone.start.min(end)..end)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use transport::LogId;

    use super::*;

    /// A log that gives nothing: the first two positions fail for now, 2 to 4 are lost, each later one is damaged.
    struct Damaged;

    #[async_trait]
    impl Log for Damaged {
        fn id(&self) -> LogId {
            LogId(uuid::Uuid::nil())
        }

        fn partitions(&self) -> u16 {
            1
        }

        async fn append(&self, _: Partition, _: Sealed) -> Result<Position, LogError> {
            Err(LogError::Stopped)
        }

        async fn read(
            &self,
            partition: Partition,
            from: Position,
            _: usize,
        ) -> Result<Vec<(Position, Sealed)>, LogError> {
            let Partition(partition) = partition;
            Err(match from.0 {
                0 | 1 => LogError::Stopped,
                from @ 2..=4 => LogError::Lost { partition, from, to: 5 },
                position => LogError::Corrupt { partition, position },
            })
        }

        async fn replace(&self, _: Partition, _: Vec<(Position, Sealed)>) -> Result<u64, LogError> {
            Err(LogError::Stopped)
        }

        async fn end(&self, _: Partition) -> Result<Position, LogError> {
            Ok(Position(7))
        }

        async fn appended(&self) {}

        async fn remove_through(&self, _: u32) -> Result<u64, LogError> {
            Ok(0)
        }

        async fn bytes(&self) -> u64 {
            0
        }
    }

    /// Positions passed over in a span, and whether reading came to its end.
    async fn passed_over(span: Range<u64>) -> (Vec<(u64, u64)>, bool) {
        let mut frames = Frames::within(&Damaged, Partition(0), span);
        let mut gone = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(Read::Gone(positions))) => gone.push((positions.start, positions.end)),
                Ok(Some(Read::Frames(_))) => unreachable!("there are none"),
                Ok(None) => return (gone, true),
                Err(_) => return (gone, false),
            }
        }
    }

    #[tokio::test]
    async fn what_is_gone_is_passed_over_inside_the_span_and_no_other_failure_is() {
        assert_eq!(passed_over(2..7).await, (vec![(2, 5), (5, 6), (6, 7)], true));
        assert_eq!(passed_over(2..4).await, (vec![(2, 4)], true));
        assert_eq!(passed_over(7..7).await, (vec![], true));
        assert_eq!(passed_over(0..7).await, (vec![], false));
        assert_eq!(Frames::all(&Damaged, Partition(0)).await.unwrap().span, 0..7);
    }
}
