//! Which partitions there are, and which of them are a sink's own.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};

use crate::IMPORT;
use crate::error::SinkError;

/// Partitions that are read from one place: our log, or somebody's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Tells it from any other, for ever: the log's id. Tables keep positions under `<id>/<partition>`.
    pub id: String,
    /// Number of its first partition, as rows carry it.
    pub first: u16,
    /// How many partitions it has.
    pub partitions: u16,
}

impl Stream {
    /// The log of that id: its partitions are numbered from zero.
    #[must_use]
    pub fn log(id: impl Into<String>, partitions: u16) -> Self {
        Self { id: id.into(), first: 0, partitions }
    }

    /// The numbers of its partitions, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        let first = self.first;
        (0..self.partitions).map(move |partition| first.saturating_add(partition))
    }

    /// Which of its partitions has this number, counted from zero; none if another stream's has.
    #[must_use]
    pub fn index(&self, number: u16) -> Option<u16> {
        number.checked_sub(self.first).filter(|index| *index < self.partitions)
    }

    /// The name under which tables keep the next position of one of its partitions.
    fn application(&self, partition: u16) -> String {
        format!("{}/{}", self.id, partition - self.first)
    }

    /// The id as a position: what another stream in its place is known by.
    pub(crate) fn number(&self) -> u64 {
        let digest = digest(&SHA256, self.id.as_bytes());
        let (first, _) = digest.as_ref().split_first_chunk().expect("32 bytes hold 8");
        // Positions are signed.
        u64::from_be_bytes(*first) >> 1
    }
}

/// What a sink may write, of tables that others may write to at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The partitions that it alone commits. Another that opens one of them takes it over.
    pub partitions: BTreeSet<u16>,
    /// Whether it looks after the tables: removes, erases and arranges rows, cleans logs. One at a time.
    pub maintainer: bool,
    /// Whether nobody else writes to the tables at all.
    pub sole: bool,
}

impl Own {
    /// All of these streams, and imports: nobody else writes.
    #[must_use]
    pub fn sole(streams: &[Stream]) -> Self {
        let partitions = streams.iter().flat_map(Stream::numbers).chain([IMPORT]).collect();
        Self { partitions, maintainer: true, sole: true }
    }

    /// Some partitions; others are written by other processes.
    #[must_use]
    pub fn shared(partitions: impl IntoIterator<Item = u16>, maintainer: bool) -> Self {
        Self { partitions: partitions.into_iter().collect(), maintainer, sole: false }
    }
}

/// The streams of a store, and which part of them is a sink's own.
pub(crate) struct Share {
    streams: Vec<Stream>,
    own: Own,
}

impl Share {
    pub(crate) fn new(streams: &[Stream], own: &Own) -> Result<Self, SinkError> {
        let share = Self { streams: streams.to_vec(), own: own.clone() };
        match own.partitions.iter().find(|&&partition| share.application(partition).is_none()) {
            Some(&partition) => Err(SinkError::NotOwn { partition }),
            None => Ok(share),
        }
    }

    /// The first stream: our log.
    pub(crate) fn log(&self) -> Option<&Stream> {
        self.streams.first()
    }

    pub(crate) fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Every partition of every stream, imports aside.
    pub(crate) fn all(&self) -> impl Iterator<Item = u16> {
        self.streams.iter().flat_map(Stream::numbers)
    }

    /// The partitions that this sink commits, in order.
    pub(crate) fn own(&self) -> &BTreeSet<u16> {
        &self.own.partitions
    }

    pub(crate) fn owns(&self, partition: u16) -> Result<(), SinkError> {
        match self.own.partitions.contains(&partition) {
            true => Ok(()),
            false => Err(SinkError::NotOwn { partition }),
        }
    }

    pub(crate) fn is_sole(&self) -> bool {
        self.own.sole
    }

    pub(crate) fn is_maintainer(&self) -> bool {
        self.own.sole || self.own.maintainer
    }

    /// The stream that a partition is of; none for imports.
    pub(crate) fn stream(&self, partition: u16) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.index(partition).is_some())
    }

    /// The name under which a table keeps the position of a partition; none if there is no such partition.
    pub(crate) fn application(&self, partition: u16) -> Option<String> {
        match partition {
            IMPORT => Some("import".to_owned()),
            _ => self.stream(partition).map(|stream| stream.application(partition)),
        }
    }

    /// The names of all own partitions.
    pub(crate) fn applications(&self) -> Vec<(u16, String)> {
        let own = self.own.partitions.iter();
        own.filter_map(|&partition| Some((partition, self.application(partition)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_their_stream() {
        let orders = Stream { id: "orders".to_owned(), first: 1024, partitions: 2 };
        let streams = [Stream::log("log", 3), orders];
        let share = Share::new(&streams, &Own::shared([2, 1025], false)).unwrap();
        let names = share.applications();
        assert_eq!(names, [(2, "log/2".to_owned()), (1025, "orders/1".to_owned())]);
        assert_eq!(share.all().collect::<Vec<_>>(), [0, 1, 2, 1024, 1025]);
        assert!(share.owns(1).is_err() && share.application(3).is_none());
        let unknown = Share::new(&streams, &Own::shared([3], false)).err();
        assert!(matches!(unknown, Some(SinkError::NotOwn { partition: 3 })));
        assert!(Own::sole(&streams).partitions.contains(&IMPORT));
    }
}
