//! A table that several processes write to: whose positions moved since, and the claim that shuts out who wrote before.
//!
//! Whoever may write a partition names its position in every commit, moved or not. Delta refuses a commit that names an
//! application which somebody else named since the version that the commit was made from. So one commit, the claim,
//! that moves nothing refuses everything that earlier writers of the same partitions still have under way.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::SinkError;
use crate::manifest::Manifest;
use crate::table::{Change, Table};

/// The application by which maintainers of a table shut each other out: each change of theirs names it.
pub(crate) const MAINTAINER: &str = "maintainer";
/// How often something is tried again that others were quicker with.
const ATTEMPTS: usize = 20;

/// What a maintainer's commit names.
pub(crate) fn maintenance() -> (String, u64) {
    (MAINTAINER.to_owned(), 1)
}

/// What a commit says beside its files.
pub(crate) struct Said {
    pub(crate) version: u64,
    /// Next position by application.
    pub(crate) positions: BTreeMap<String, u64>,
    pub(crate) manifest: Option<Manifest>,
}

/// Applications and their positions.
fn positions(entry: &[Value]) -> impl Iterator<Item = (&str, u64)> {
    entry.iter().filter_map(|line| {
        let moved = line.get("txn")?;
        Some((moved.get("appId")?.as_str()?, moved.get("version")?.as_u64()?))
    })
}

impl Table {
    /// Goes on to the newest version.
    ///
    /// # Errors
    ///
    /// [`SinkError::Fenced`] if anybody named one of `own` since, or if that cannot be told any more.
    pub(crate) async fn advance(&mut self, own: &[(String, u64)]) -> Result<(), SinkError> {
        let before = self.version();
        let newer = self.newest().await?;
        let own = own.iter().map(|(application, _)| application.as_str()).collect::<BTreeSet<_>>();
        for version in before + 1..=newer.version() {
            let fenced = || SinkError::Fenced { table: self.name().to_string() };
            let entry = self.entry(version).await?.ok_or_else(fenced)?;
            if positions(&entry).any(|(application, _)| own.contains(application)) {
                return Err(fenced());
            }
        }
        self.go_to(newer);
        Ok(())
    }

    /// Shuts out whoever wrote under these names, or maintained the table, until now. Gives their positions.
    pub(crate) async fn claim(
        &mut self,
        applications: &[(u16, String)],
        maintainer: bool,
    ) -> Result<BTreeMap<u16, u64>, SinkError> {
        let wanted = applications.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
        for _ in 0..ATTEMPTS {
            let newest = self.newest().await?;
            self.go_to(newest);
            let mut known = Positions::default();
            known.read(self, &wanted).await?;
            let positions = wanted.iter().map(|name| (name.clone(), known.at(name)));
            let positions = positions.chain(maintainer.then(maintenance)).collect();
            match self.commit(Change { positions, ..Change::default() }).await {
                Ok(()) => {
                    let next = applications.iter();
                    let next = next.map(|(partition, name)| (*partition, known.at(name)));
                    return Ok(next.collect());
                }
                // One of those that are shut out was quicker.
                Err(SinkError::Fenced { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SinkError::Busy { table: self.name().to_string() })
    }

    /// What the commits after version `after` say, from the beginning without it.
    ///
    /// # Errors
    ///
    /// [`SinkError::ManifestLost`] if the log does not have one of them any more.
    pub(crate) async fn said(&self, after: Option<u64>) -> Result<Vec<Said>, SinkError> {
        let mut said = Vec::new();
        for version in after.map_or(0, |after| after + 1)..=self.version() {
            let lost = || SinkError::ManifestLost { table: self.name().to_string(), version };
            let entry = self.entry(version).await?.ok_or_else(lost)?;
            let manifest = self.manifest(&entry)?;
            let positions = positions(&entry).map(|(name, next)| (name.to_owned(), next));
            said.push(Said { version, positions: positions.collect(), manifest });
        }
        Ok(said)
    }
}

/// Positions of a table by application, as far as they were asked for or are in the log's entries: the table format
/// itself finds but one at a time, and reads the whole log for each.
#[derive(Default)]
pub(crate) struct Positions {
    /// The version that they are of.
    version: Option<u64>,
    known: BTreeMap<String, Option<u64>>,
}

impl Positions {
    /// Takes in what came up to the table's version, and finds those that are `wanted`.
    pub(crate) async fn read(&mut self, table: &Table, wanted: &[String]) -> Result<(), SinkError> {
        let mut found = BTreeMap::<String, Option<u64>>::new();
        let mut version = Some(table.version());
        let mut whole = false;
        while let Some(at) = version {
            if self.version == Some(at) {
                whole = true;
                break;
            }
            let Some(entry) = table.entry(at).await? else { break };
            for (name, next) in positions(&entry) {
                // Newest first.
                found.entry(name.to_owned()).or_insert(Some(next));
            }
            whole = at == 0;
            version = at.checked_sub(1);
            if whole {
                break;
            }
        }
        if self.version.is_none() || !whole {
            // Entries in between are gone: what was known may have moved in them.
            self.known.clear();
        }
        let from_beginning = whole && self.version.is_none();
        self.known.extend(found);
        for name in wanted {
            if !self.known.contains_key(name) {
                let next = match from_beginning {
                    true => None,
                    false => table.position(name).await?,
                };
                self.known.insert(name.clone(), next);
            }
        }
        self.version = Some(table.version());
        Ok(())
    }

    /// The position of an application that was asked for; none if it never committed.
    pub(crate) fn get(&self, application: &str) -> Option<u64> {
        self.known.get(application).copied().flatten()
    }

    /// [`Positions::get`], zero for none.
    pub(crate) fn at(&self, application: &str) -> u64 {
        self.get(application).unwrap_or(0)
    }
}
