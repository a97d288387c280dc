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

/// All positions of a version of a table, by application.
pub(crate) struct Checkpoint {
    pub(crate) version: u64,
    pub(crate) positions: Vec<(String, u64)>,
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

/// Positions of a table by application: the table format itself finds but one at a time, and reads the whole log for each.
#[derive(Default)]
pub(crate) struct Positions {
    /// The version that they are of.
    version: Option<u64>,
    /// Whether these are all.
    whole: bool,
    known: BTreeMap<String, Option<u64>>,
}

impl Positions {
    /// Takes in what came up to the table's version, and finds those that are `wanted`.
    pub(crate) async fn read(&mut self, table: &Table, wanted: &[String]) -> Result<(), SinkError> {
        if !self.go_on(table).await? {
            self.begin(table).await?;
        }
        for name in wanted {
            if !self.whole && !self.known.contains_key(name) {
                self.known.insert(name.clone(), table.logged_position(name).await?);
            }
        }
        Ok(())
    }

    /// Reads what came since; not if it cannot be told any more.
    async fn go_on(&mut self, table: &Table) -> Result<bool, SinkError> {
        let Some(version) = self.version else { return Ok(false) };
        for version in version + 1..=table.version() {
            let Some(entry) = table.entry(version).await? else { return Ok(false) };
            let moved = positions(&entry).map(|(name, next)| (name.to_owned(), Some(next)));
            self.known.extend(moved);
            self.version = Some(version);
        }
        Ok(true)
    }

    /// Reads backwards, to the beginning or the checkpoint.
    async fn begin(&mut self, table: &Table) -> Result<(), SinkError> {
        let version = table.version();
        let checkpoint = table.checkpointed()?.filter(|it| it.version <= version);
        (self.known, self.version, self.whole) = (BTreeMap::new(), Some(version), false);
        let begin = checkpoint.as_ref().map_or(0, |it| it.version + 1);
        for version in (begin..=version).rev() {
            let Some(entry) = table.entry(version).await? else { return Ok(()) };
            for (name, next) in positions(&entry) {
                self.known.entry(name.to_owned()).or_insert(Some(next));
            }
        }
        for (name, next) in checkpoint.into_iter().flat_map(|it| it.positions) {
            self.known.entry(name).or_insert(Some(next));
        }
        self.whole = true;
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
