//! Purposes that fall away from rows: a person withdrew, or the time of a purpose is over.
//!
//! A row is afterwards what gate 1 would have made of its event without these purposes: what no purpose that is left
//! carries is null, the contributor too, and the event still counts. Of a row that does not name its purposes, because it
//! is older than their column, nobody knows what is left: it loses whatever the purposes that fall away could have
//! carried.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::nullif;
use schemas::model::ContributorSource;
use schemas::{Family, Millis, Note, Package, PurposeSet, columns};

use crate::beside;
use crate::error::SinkError;
use crate::rewrite::{self, Edit, Edited};
use crate::sink::Sink;

/// What narrowing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Narrowed {
    /// Rows that lost a purpose, or a value.
    pub rows: u64,
    /// Files that were written again.
    pub files: u64,
}

/// Takes purposes away from rows of one family.
#[derive(Clone, Copy)]
pub(crate) struct Loss<'a> {
    pub(crate) package: &'a Package,
    pub(crate) family: &'a Family,
    /// What falls away.
    pub(crate) gone: PurposeSet,
    /// Of whose rows; none for all.
    pub(crate) of: Option<&'a HashSet<[u8; 16]>>,
    /// Of which rows of a batch; none for all.
    pub(crate) only: Option<&'a BooleanArray>,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Same,
    /// These purposes are left.
    Left(PurposeSet),
    /// Nobody knows which were there.
    Unknown,
}

impl<'a> Loss<'a> {
    /// Takes purposes away from every row.
    pub(crate) fn of_all(package: &'a Package, family: &'a Family, gone: PurposeSet) -> Self {
        Self { package, family, gone, of: None, only: None }
    }

    /// The purposes that carry a column; none for one that stays whatever stands. What the package does not know is
    /// carried by nothing.
    fn carriers(&self, column: &str) -> Option<PurposeSet> {
        if column == columns::CONTRIBUTOR {
            return Some(match self.family.contributor.source {
                ContributorSource::Visit => self.family.purposes,
                ContributorSource::Field(index) => self.family.fields[index].purposes,
            });
        }
        if columns::ALL.contains(&column) {
            return None;
        }
        let field = self.family.field(column);
        Some(field.map_or(PurposeSet::default(), |(_, field)| field.purposes))
    }

    /// Whether a column loses its value in rows of that fate.
    fn falls(&self, carriers: PurposeSet, fate: Fate) -> bool {
        let undeclared = carriers == PurposeSet::default();
        match fate {
            Fate::Same => false,
            Fate::Left(left) => !carriers.meets(left),
            Fate::Unknown => undeclared || carriers.meets(self.gone),
        }
    }

    fn fates(&self, rows: &RecordBatch) -> Option<Vec<Fate>> {
        let own = rows.column_by_name(columns::CONTRIBUTOR)?.as_binary_opt::<i32>()?;
        let concerns = |row: usize| {
            self.only.is_none_or(|only| only.value(row))
                && self.of.is_none_or(|of| own.is_valid(row) && of.contains(own.value(row)))
        };
        // Files from before there was the column lack it.
        let named = match rows.column_by_name(columns::PURPOSES) {
            Some(column) => Some(column.as_string_opt::<i32>()?),
            None => None,
        };
        let mut known = HashMap::<&str, Fate>::new();
        let fates = (0..rows.num_rows()).map(|row| {
            if !concerns(row) {
                return Fate::Same;
            }
            match named.filter(|named| named.is_valid(row)) {
                None => Fate::Unknown,
                Some(named) => {
                    let text = named.value(row);
                    *known.entry(text).or_insert_with(|| self.fate(text))
                }
            }
        });
        Some(fates.collect())
    }

    fn fate(&self, purposes: &str) -> Fate {
        let granted = self.package.purposes_of(purposes);
        match granted.meets(self.gone) {
            true => Fate::Left(PurposeSet(granted.0 & !self.gone.0)),
            false => Fate::Same,
        }
    }
}

impl Edit for Loss<'_> {
    fn columns(&self) -> &[&str] {
        match self.of {
            Some(_) => &[columns::CONTRIBUTOR],
            None => &[columns::CONTRIBUTOR, columns::PURPOSES],
        }
    }

    fn may_change(&self, rows: &RecordBatch) -> Option<bool> {
        Some(self.fates(rows)?.iter().any(|fate| *fate != Fate::Same))
    }

    fn edit(&self, rows: &RecordBatch) -> Option<Edited> {
        let fates = self.fates(rows)?;
        let mut changed: Vec<bool> =
            fates.iter().map(|fate| matches!(fate, Fate::Left(_))).collect();
        let mut edited: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
        for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
            if field.name() == columns::PURPOSES {
                edited.push(self.renamed(column, &fates)?);
                continue;
            }
            let Some(carriers) = self.carriers(field.name()) else {
                edited.push(Arc::clone(column));
                continue;
            };
            let falls = |row: usize| column.is_valid(row) && self.falls(carriers, fates[row]);
            let falls = (0..column.len()).map(falls).collect::<Vec<_>>();
            changed.iter_mut().zip(&falls).for_each(|(changed, falls)| *changed |= falls);
            edited.push(nullif(column, &BooleanArray::from(falls)).ok()?);
        }
        let rows = RecordBatch::try_new(rows.schema(), edited).ok()?;
        Some(Edited { rows, changed: BooleanArray::from(changed) })
    }
}

impl Loss<'_> {
    /// The column of purposes with what is left of them.
    fn renamed(&self, column: &ArrayRef, fates: &[Fate]) -> Option<ArrayRef> {
        let before = column.as_string_opt::<i32>()?;
        let mut texts = HashMap::<u32, String>::new();
        for fate in fates {
            if let Fate::Left(left) = fate {
                texts.entry(left.0).or_insert_with(|| self.package.purposes_text(*left));
            }
        }
        let after = fates.iter().enumerate().map(|(row, fate)| match fate {
            Fate::Left(left) => texts.get(&left.0).map(String::as_str),
            Fate::Same | Fate::Unknown => before.is_valid(row).then(|| before.value(row)),
        });
        Some(Arc::new(after.collect::<StringArray>()))
    }
}

impl Sink {
    /// Takes `withdrawn` from the purposes of every stored row of these contributors, and with them what no other granted
    /// purpose carries; in the tables of that name in folders of [`crate::keep_beside`] too. Files are replaced as
    /// [`Sink::erase`] replaces them; the ledger counts the table's own rows as [`Note::Narrowed`].
    ///
    /// A row whose contributor falls too is nobody's from then on. It may be asked again after an error or a crash, of a
    /// sink that was opened anew: what is done is not done or counted twice.
    ///
    /// # Errors
    ///
    /// As [`Sink::erase`].
    pub async fn narrow(
        &mut self,
        family: usize,
        contributors: &HashSet<[u8; 16]>,
        withdrawn: PurposeSet,
        now: Millis,
    ) -> Result<Narrowed, SinkError> {
        self.may_rewrite(family)?;
        self.set_failed(true);
        self.catch_up().await?;
        let package = Arc::clone(&self.package);
        let declared = &package.families[family];
        let loss = Loss { of: Some(contributors), ..Loss::of_all(&package, declared, withdrawn) };
        let rewrite = rewrite::edited(&self.families[family].table, |_| Some(loss))?;
        let mut narrowed = Narrowed { rows: rewrite.rows(), files: rewrite.remove.len() as u64 };
        if !rewrite.remove.is_empty() {
            let manifest = self.noting(Note::Narrowed, family, &rewrite.counted, now);
            self.commit_rewrite(family, &rewrite, manifest, Vec::new(), now).await?;
        }
        let name = self.families[family].table.name().to_string();
        let time = now.truncate(declared.grain_ms.max(1));
        let elsewhere = beside::change(self.home(), &name, time, |table| {
            rewrite::edited(table, |_| Some(loss))
        })
        .await?;
        narrowed.rows += elsewhere.rows;
        narrowed.files += elsewhere.files;
        self.wipe(family, Some(now)).await?;
        self.set_failed(false);
        Ok(narrowed)
    }
}
