//! Rows of one family: under living keys, in declared columns, no longer than they may be, and how rare they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anonymizer::KeyName;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimeUnit, TimestampMillisecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use schemas::model::{Kind, Mechanism, Transform};
use schemas::time::{DAY_MS, HOUR_MS, epoch_start};
use schemas::{Family, Millis, Package, PurposeSet, columns};

use super::finding::{Code, Finding};
use super::patterns::Rules;
use super::report::Rare;
use super::tables::{File, Table};
use super::values::Values;

/// Time for a running service to remove what is due.
const SLACK_MS: i64 = HOUR_MS;
/// Combinations counted of one family; beyond it the counts are lower bounds.
const COMBINATIONS_MAX: usize = 4_000_000;
/// Fewest contributors of a group where no statistic says.
const K: u64 = 10;

/// What is known of the whole store while one family is looked at.
pub(super) struct Known<'a> {
    pub(super) package: &'a Package,
    pub(super) now: Millis,
    /// Keys that the ledger tells to be destroyed.
    pub(super) destroyed: &'a BTreeSet<KeyName>,
}

/// One family's rows, while they are read.
pub(super) struct Rows<'a> {
    known: &'a Known<'a>,
    table: &'a Table,
    name: String,
    family: Option<&'a Family>,
    /// Length and grace of an epoch, as the package or the table says.
    life: Option<(u32, i64)>,
    counts: BTreeMap<(Code, String), (u64, String)>,
    combinations: Option<Combinations>,
}

/// Which combinations of values there are, and how many contributors hold each, up to k.
struct Combinations {
    k: usize,
    fields: Vec<String>,
    held: HashMap<[u8; 16], Vec<u64>>,
    cut: bool,
}

impl<'a> Rows<'a> {
    pub(super) fn of(known: &'a Known<'a>, table: &'a Table) -> Self {
        let name = table.name.rsplit('/').next().unwrap_or_default().to_owned();
        let family = known.package.family(&name).map(|(_, family)| family);
        let setting = |name: &str| table.settings.get(name).and_then(|text| text.parse().ok());
        let life = match family {
            Some(family) => Some((family.epoch_days, family.grace_ms())),
            None => setting("quorate.epochDays")
                .and_then(|days| Some((u32::try_from(days).ok()?, setting("quorate.graceMs")?))),
        };
        let combinations = family.map(|family| Combinations::of(known.package, family));
        Self { known, table, name, family, life, counts: BTreeMap::new(), combinations }
    }

    /// Looks at a batch of a file.
    pub(super) fn batch(
        &mut self,
        file: &File,
        batch: &RecordBatch,
        values: &mut Values,
    ) -> anyhow::Result<()> {
        let place = self.table.place(file);
        for (column, array) in batch.schema().fields().iter().zip(batch.columns()) {
            let at = format!("{}, column {}", self.table.name, column.name());
            values.column(&at, &place, array.as_ref(), self.rules(column.name()));
        }
        self.epochs(&place, batch)?;
        self.ends(&place, file, batch)?;
        if let Some(combinations) = &mut self.combinations {
            combinations.add(batch)?;
        }
        Ok(())
    }

    fn rules(&self, column: &str) -> Rules {
        let field = self.family.and_then(|family| family.field(column));
        match field {
            Some((_, field)) if matches!(field.kind, Kind::Version) => Rules::VERSIONS,
            _ => Rules::ALL,
        }
    }

    fn count(&mut self, code: Code, what: String, file: &str, rows: u64) {
        if rows > 0 {
            let counted = self.counts.entry((code, what)).or_insert_with(|| (0, file.to_owned()));
            counted.0 += rows;
        }
    }

    /// Rows whose key is destroyed, or whose time is over.
    fn epochs(&mut self, place: &str, batch: &RecordBatch) -> anyhow::Result<()> {
        let Some(epochs) = batch.column_by_name(columns::EPOCH) else { return Ok(()) };
        let epochs = cast(epochs, &DataType::Int32)?;
        let mut rows = BTreeMap::<i32, u64>::new();
        for epoch in epochs.as_primitive::<Int32Type>().iter().flatten() {
            *rows.entry(epoch).or_default() += 1;
        }
        for (epoch, rows) in rows {
            let key = KeyName::Pseudonym { family: self.name.clone(), epoch };
            let over = self.life.is_some_and(|(days, grace_ms)| {
                let end = epoch_start(epoch.saturating_add(1), days).plus(grace_ms + SLACK_MS);
                end <= self.known.now
            });
            if self.known.destroyed.contains(&key) {
                let what = format!("rows of epoch {epoch}, whose key is destroyed");
                self.count(Code::RowsWithoutKey, what, place, rows);
            } else if over {
                let what =
                    format!("rows of epoch {epoch}, which is over for longer than its grace");
                self.count(Code::RowsPastEnd, what, place, rows);
            }
        }
        Ok(())
    }

    /// Values of fields that had expired when the event happened.
    fn ends(&mut self, place: &str, file: &File, batch: &RecordBatch) -> anyhow::Result<()> {
        let Some(family) = self.family else { return Ok(()) };
        for (_, field, _) in family.stored_fields() {
            let Some(column) = batch.column_by_name(&field.name) else { continue };
            if let Some(expires) = field.expires.filter(|expires| *expires <= self.known.now) {
                let late = expires.plus(family.grain_ms);
                let rows = values_from(batch, column, late)?;
                let what = format!("values of {} of events after its end", field.name);
                self.count(Code::ExpiredField, what, place, rows);
            }
            for (days, rows) in self.too_old(file, field.purposes, batch, column)? {
                let what = format!("values of {} kept longer than {days} days", field.name);
                self.count(Code::KeptPastPurpose, what, place, rows);
            }
        }
        Ok(())
    }

    /// Values of a column that no purpose which stood for their row keeps any more, by the days that one did.
    fn too_old(
        &self,
        file: &File,
        purposes: PurposeSet,
        batch: &RecordBatch,
        column: &ArrayRef,
    ) -> anyhow::Result<BTreeMap<u32, u64>> {
        let mut rows = BTreeMap::new();
        let day = file.day.as_deref().and_then(|day| Millis::parse(&format!("{day}T00:00:00Z")));
        let (Some(day), Some(_)) = (day, self.known.package.kept_days(purposes)) else {
            return Ok(rows);
        };
        let stood = match batch.column_by_name(columns::PURPOSES) {
            Some(stood) => Some(cast(stood, &DataType::Utf8)?),
            None => None,
        };
        let stood = stood.as_ref().map(|stood| stood.as_string::<i32>());
        for row in (0..batch.num_rows()).filter(|row| column.is_valid(*row)) {
            let of_row = stood.filter(|stood| stood.is_valid(row)).map(|stood| stood.value(row));
            let of_row = of_row.map_or(purposes, |names| {
                PurposeSet(self.known.package.purposes_of(names).0 & purposes.0)
            });
            let Some(days) = self.known.package.kept_days(of_row) else { continue };
            if day.plus((i64::from(days) + 1) * DAY_MS + SLACK_MS) <= self.known.now {
                *rows.entry(days).or_default() += 1;
            }
        }
        Ok(rows)
    }

    /// What was found, and how rare combinations are.
    pub(super) fn finish(self, findings: &mut Vec<Finding>) -> Option<Rare> {
        for ((code, what), (count, file)) in self.counts {
            let place = format!("{}, first in {file}", self.table.name);
            findings.push(Finding::counted(code, what, place, count));
        }
        self.combinations.map(|combinations| combinations.told(self.name))
    }
}

/// Values of a column in rows of events at `from` or later.
fn values_from(batch: &RecordBatch, column: &ArrayRef, from: Millis) -> anyhow::Result<u64> {
    let Some(time) = batch.column_by_name(columns::TIME) else { return Ok(0) };
    let time = cast(time, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
    let time = time.as_primitive::<TimestampMillisecondType>();
    let after = |row: &usize| time.value(*row) >= from.0 && column.is_valid(*row);
    Ok((0..batch.num_rows()).filter(after).count() as u64)
}

impl Combinations {
    fn of(package: &Package, family: &Family) -> Self {
        let of_family = package
            .statistics
            .iter()
            .filter(|statistic| package.families[statistic.family].name == family.name);
        let least = of_family.map(|statistic| {
            let Mechanism::Threshold { min_contributors, .. } = statistic.mechanism;
            min_contributors
        });
        let k = usize::try_from(least.max().unwrap_or(K)).unwrap_or(usize::MAX);
        let stored = family.stored_fields();
        let fields =
            stored.filter(|(_, field, _)| !matches!(field.transform, Transform::Pseudonym));
        let fields = fields.map(|(_, field, _)| field.name.clone()).collect();
        Self { k, fields, held: HashMap::new(), cut: false }
    }

    fn add(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let Some(contributors) = batch.column_by_name(columns::CONTRIBUTOR) else { return Ok(()) };
        let contributors = cast(contributors, &DataType::Binary)?;
        let contributors = contributors.as_binary::<i32>();
        let options = FormatOptions::default();
        let present = self.fields.iter().filter_map(|field| batch.column_by_name(field));
        let texts = present.map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            if contributors.is_null(row) {
                continue;
            }
            let mut hasher = blake3::Hasher::new();
            for text in &texts {
                let text = text.value(row).to_string();
                hasher.update(&(text.len() as u64).to_le_bytes());
                hasher.update(text.as_bytes());
            }
            let mut combination = [0; 16];
            hasher.finalize_xof().fill(&mut combination);
            if self.held.len() >= COMBINATIONS_MAX && !self.held.contains_key(&combination) {
                self.cut = true;
                continue;
            }
            let contributor = contributors.value(row).first_chunk::<8>();
            let contributor = contributor.map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let holders = self.held.entry(combination).or_default();
            if holders.len() < self.k && !holders.contains(&contributor) {
                holders.push(contributor);
            }
        }
        Ok(())
    }

    fn told(self, family: String) -> Rare {
        let count = |is: &dyn Fn(usize) -> bool| {
            self.held.values().filter(|holders| is(holders.len())).count() as u64
        };
        Rare {
            family,
            min_contributors: self.k as u64,
            combinations: self.held.len() as u64,
            rare: count(&|holders| holders < self.k),
            of_one: count(&|holders| holders == 1),
            at_least: self.cut,
            fields: self.fields,
        }
    }
}
