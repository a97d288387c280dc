//! What a sink does with the books before it writes: it takes over its partitions, and has the ledger count what was
//! committed to a table and never reached it.
//!
//! A table is ahead of the ledger in a partition if its position is behind both the ledger's and the one up to which the
//! ledger was completed before, which it keeps under `<table>/<stream>/<partition>`. What it lacks are then the counts of
//! that partition in the commits that moved it further. Nobody but the partition's owner completes them, and nobody but the
//! maintainer those of rewritings.

use std::collections::BTreeMap;

use crate::IMPORT;
use crate::error::SinkError;
use crate::manifest::Manifest;
use crate::rewrite::REWRITE;
use crate::shared::{MAINTAINER, Positions, Said};
use crate::sink::{Sink, rewrite_application, table_application};
use crate::table::Change;

/// How often another writer may be quicker.
const ATTEMPTS: usize = 20;

/// What the ledger lacks of one table.
#[derive(Default)]
struct Lacking {
    manifests: Vec<Manifest>,
    /// What the ledger will say to have it.
    positions: Vec<(String, u64)>,
}

/// The application under which the ledger keeps how far it was completed from a table.
fn completed(table: &str, application: &str) -> String {
    format!("{table}/{application}")
}

impl Sink {
    /// Refuses other streams than the tables were filled from; a log of which none left a position may be a new one.
    pub(crate) async fn know_streams(&mut self) -> Result<(), SinkError> {
        if let Some(log) = self.share.log().cloned() {
            let known = self.ledger.log().to_owned();
            let is_fixed = self.ledger.position(&known).await?.is_some();
            if known != log.id {
                if is_fixed {
                    return Err(SinkError::AnotherLog { known, given: log.id });
                }
                self.ledger.set_log(&log.id).await?;
            }
            if known != log.id || !is_fixed {
                self.marks.insert(log.first, (log.id, 1));
            }
        }
        for stream in self.share.streams().iter().skip(1) {
            let name = format!("stream/{}", stream.first);
            match self.ledger.position(&name).await? {
                None => {
                    self.marks.insert(stream.first, (name, stream.number()));
                }
                Some(known) if known == stream.number() => {}
                Some(_) => {
                    let (first, given) = (stream.first, stream.id.clone());
                    return Err(SinkError::AnotherStream { first, given });
                }
            }
        }
        Ok(())
    }

    /// Before the first position of a stream is committed: what the ledger will know it by. A sole writer commits it with
    /// the position; of several, all may want to at once.
    pub(crate) async fn mark(
        &mut self,
        next: &[(u16, u64)],
    ) -> Result<Vec<(String, u64)>, SinkError> {
        let firsts = next.iter().filter_map(|&(of, _)| Some(self.share.stream(of)?.first));
        let firsts = firsts.collect::<Vec<_>>();
        let marks = firsts.iter().filter_map(|first| self.marks.remove(first)).collect::<Vec<_>>();
        if self.share.is_sole() {
            return Ok(marks);
        }
        for mark in marks {
            let own = self.ledger_positions(&[]);
            let positions = own.iter().cloned().chain([mark]).collect();
            match self.ledger.append(&[], positions).await {
                Ok(()) => {}
                // If it was not for a partition, another was quicker, and marked it for the same stream: others are
                // refused.
                Err(SinkError::Fenced { .. }) => self.ledger.advance(&own).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(Vec::new())
    }

    /// Takes over the partitions, and completes the ledger.
    pub(crate) async fn settle(&mut self) -> Result<(), SinkError> {
        let (applications, sole) = (self.share.applications(), self.share.is_sole());
        let maintainer = self.share.is_maintainer();
        for family in &mut self.families {
            family.next = match sole {
                true => positions_of(&applications, &mut Positions::default(), family).await?,
                false => family.table.claim(&applications, maintainer).await?,
            };
        }
        for _ in 0..ATTEMPTS {
            if !sole {
                self.ledger.renew().await?;
            }
            self.know_positions().await?;
            match self.complete().await {
                // Somebody who had a partition of ours until now was quicker.
                Err(SinkError::Fenced { .. }) if !sole => {}
                done => return done,
            }
        }
        Err(SinkError::Busy { table: self.ledger.table().name().to_string() })
    }

    async fn know_positions(&mut self) -> Result<(), SinkError> {
        self.know_others().await?;
        let applications = self.share.applications();
        let names = applications.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
        let said = self.ledger.positions(&names).await?;
        for (partition, name) in &applications {
            self.next.insert(*partition, said.at(name));
        }
        if let Some(next) = self.next.get_mut(&IMPORT) {
            // An import that broke off cannot be read again: the next one goes on behind all of it.
            let tables = self.families.iter().filter_map(|family| family.next.get(&IMPORT));
            *next = tables.copied().fold(*next, u64::max);
        }
        Ok(())
    }

    /// Notes how far the ledger says that all partitions are.
    pub(crate) async fn know_others(&mut self) -> Result<(), SinkError> {
        let named = self.share.all().filter_map(|of| Some((of, self.share.application(of)?)));
        let named = named.collect::<Vec<_>>();
        let names = named.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
        let said = self.ledger.positions(&names).await?;
        self.next.extend(named.iter().map(|(partition, name)| (*partition, said.at(name))));
        Ok(())
    }

    /// Takes over the counts of commits whose round never reached the ledger. Where others write too, this commits in any
    /// case, which shuts out who wrote before.
    async fn complete(&mut self) -> Result<(), SinkError> {
        let mut all = Lacking::default();
        for family in 0..self.families.len() {
            let recorded = table_application(self.families[family].table.name());
            let recorded = self.ledger.position(&recorded).await?;
            self.families[family].recorded = recorded;
            let lacking = self.lacking(family).await?;
            if !lacking.positions.is_empty() {
                let table = self.families[family].table.name();
                tracing::info!(%table, commits = lacking.manifests.len(), "ledger completed");
            }
            all.manifests.extend(lacking.manifests);
            all.positions.extend(lacking.positions);
        }
        if self.share.is_sole() && all.positions.is_empty() {
            return Ok(());
        }
        let mut positions = all.positions;
        if self.share.is_sole() {
            positions.extend(self.versions());
        } else {
            positions.extend(self.ledger_positions(&[]));
        }
        self.ledger.append(&all.manifests, positions).await?;
        if self.share.is_sole() {
            self.versions_recorded();
        }
        Ok(())
    }

    async fn lacking(&mut self, family: usize) -> Result<Lacking, SinkError> {
        let own = &self.families[family];
        let table = own.table.name();
        let (mut behind, mut lacking) = (BTreeMap::new(), Lacking::default());
        let names = self.share.applications().into_iter().map(|(partition, name)| {
            let position = own.next.get(&partition).copied().unwrap_or(0);
            (partition, name, position)
        });
        let names = names.collect::<Vec<_>>();
        let wanted = names.iter().map(|(_, name, _)| name.clone()).collect::<Vec<_>>();
        let said = self.ledger.positions(&wanted).await?;
        let mut ahead = names;
        ahead.retain(|(_, name, position)| *position > said.at(name));
        let marks = ahead.iter().map(|(_, name, _)| completed(table, name)).collect::<Vec<_>>();
        let said = self.ledger.positions(&marks).await?;
        for ((partition, name, position), mark) in ahead.into_iter().zip(marks) {
            let known = said.at(&name).max(said.at(&mark));
            if position > known {
                behind.insert(name, (partition, known));
                lacking.positions.push((mark, position));
            }
        }
        let rewritten = match self.share.is_maintainer() {
            true => own.table.position(REWRITE).await?,
            false => None,
        };
        let known = self.ledger.position(&rewrite_application(own)).await?;
        let rewritten = rewritten.filter(|&number| Some(number) > known);
        lacking.positions.extend(rewritten.map(|number| (rewrite_application(own), number)));
        if lacking.positions.is_empty() {
            return Ok(lacking);
        }
        for Said { positions, manifest, .. } in own.table.said(own.recorded).await? {
            let Some(mut manifest) = manifest else { continue };
            if let Some(&number) = positions.get(REWRITE) {
                if rewritten.is_some() && Some(number) > known {
                    lacking.manifests.push(manifest);
                }
                continue;
            }
            let moved = behind.iter().filter_map(|(name, (partition, known))| {
                (positions.get(name)? > known).then_some(*partition)
            });
            let moved = moved.collect::<Vec<_>>();
            manifest.partitions.retain(|partition, _| moved.contains(partition));
            if !manifest.partitions.is_empty() {
                lacking.manifests.push(manifest);
            }
        }
        Ok(lacking)
    }

    /// The newest version of a family's table up to which the ledger has every manifest: the entries before may go.
    pub(crate) async fn settled(&mut self, family: usize) -> Result<Option<u64>, SinkError> {
        let own = &self.families[family];
        let table = own.table.name().to_string();
        let rewritten = self.ledger.position(&rewrite_application(own)).await?;
        let mut settled = own.recorded;
        for Said { version, positions, manifest } in own.table.said(own.recorded).await? {
            if manifest.is_some() {
                let known = match positions.get(REWRITE) {
                    Some(&number) => Some(number) <= rewritten,
                    None => self.is_known(&table, &positions).await?,
                };
                if !known {
                    tracing::info!(%table, version, "not in the ledger yet, so the log is kept");
                    break;
                }
            }
            settled = Some(version);
        }
        Ok(settled)
    }

    async fn is_known(
        &mut self,
        table: &str,
        moved: &BTreeMap<String, u64>,
    ) -> Result<bool, SinkError> {
        for (name, &next) in moved.iter().filter(|(name, _)| *name != MAINTAINER) {
            let mark = completed(table, name);
            let said = self.ledger.positions(std::slice::from_ref(name)).await?;
            if next > said.at(name)
                && next > self.ledger.positions(std::slice::from_ref(&mark)).await?.at(&mark)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Commits a change that brings no new keys, and that nobody but a maintainer may make.
    pub(crate) fn maintaining<'a>(&self, family: usize, change: Change<'a>) -> Change<'a> {
        let mut positions = self.table_positions(family);
        positions.extend(change.positions);
        Change { positions, ..change }
    }
}

/// The positions of a family's table.
async fn positions_of(
    applications: &[(u16, String)],
    known: &mut Positions,
    family: &crate::sink::FamilyTable,
) -> Result<BTreeMap<u16, u64>, SinkError> {
    let names = applications.iter().map(|(_, name)| name.clone()).collect::<Vec<_>>();
    known.read(&family.table, &names).await?;
    Ok(applications.iter().map(|(partition, name)| (*partition, known.at(name))).collect())
}
