//! Tables of statistics: declared, and without groups that are too small.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use disclosure::statistic::MIN_CONTRIBUTORS;
use schemas::model::{Kind, Measure, Mechanism};
use schemas::{Package, Statistic};
use storage::Root;

use super::finding::{Code, Finding};
use super::patterns::Rules;
use super::tables::Table;
use super::values::Values;

/// Looks at every table below `statistics/`; gives those that are there.
pub(super) async fn look(
    root: &Root,
    package: &Package,
    staging: &Path,
    values: &mut Values,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Vec<Table>> {
    let mut tables = Vec::new();
    let mut names = root.folders("statistics")?;
    names.sort_unstable();
    for name in names {
        let Some(table) = Table::open(root, "statistics", &name).await? else { continue };
        let statistic = package.statistic(&name);
        if statistic.is_none() {
            let what = "a table of a statistic that the package does not declare";
            findings.push(Finding::new(Code::UndeclaredStatistic, what, table.name.clone()));
        }
        let mut small = (0, String::new());
        table.each_file(staging, findings, &mut |file, batch| {
            let place = table.place(file);
            for (column, array) in batch.schema().fields().iter().zip(batch.columns()) {
                let at = format!("{}, column {}", table.name, column.name());
                let rules = rules(package, statistic, column.name());
                values.column(&at, &place, array.as_ref(), rules);
            }
            if let Some(statistic) = statistic {
                let under = under_k(statistic, batch)?;
                if under > 0 && small.0 == 0 {
                    small.1 = place;
                }
                small.0 += under;
            }
            Ok(())
        });
        if small.0 > 0 {
            let what = "groups of fewer contributors than `min_contributors`";
            let place = format!("{}, first in {}", table.name, small.1);
            findings.push(Finding::counted(Code::GroupUnderK, what, place, small.0));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn rules(package: &Package, statistic: Option<&Statistic>, column: &str) -> Rules {
    let family = statistic.map(|statistic| &package.families[statistic.family]);
    match family.and_then(|family| family.field(column)) {
        Some((_, field)) if matches!(field.kind, Kind::Version) => Rules::VERSIONS,
        _ => Rules::ALL,
    }
}

/// Rows whose count of contributors is below what the statistic asks for, even if it was rounded down.
fn under_k(statistic: &Statistic, batch: &RecordBatch) -> anyhow::Result<u64> {
    let counted = statistic.measures.iter().find_map(|measure| match measure {
        Measure::Contributors { called } => batch.column_by_name(called),
        Measure::Events
        | Measure::UnattributedEvents
        | Measure::Sum(_)
        | Measure::Mean(_)
        | Measure::Share { .. }
        | Measure::Quantiles { .. } => None,
    });
    let Some(counted) = counted else { return Ok(0) };
    let counted = cast(counted, &DataType::Int64)?;
    let counted = counted.as_primitive::<Int64Type>();
    let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
    // What an earlier policy asked for stands in the row.
    let asked = match batch.column_by_name(MIN_CONTRIBUTORS) {
        Some(asked) => Some(cast(asked, &DataType::Int64)?),
        None => None,
    };
    let least = |row| {
        let asked = asked.as_ref().map(|asked| asked.as_primitive::<Int64Type>());
        let of_row = asked.filter(|asked| asked.is_valid(row)).map(|asked| asked.value(row));
        of_row.unwrap_or(i64::try_from(min_contributors).unwrap_or(i64::MAX))
    };
    let rounding = i64::try_from(rounding).unwrap_or(0).max(1);
    let under = |row: &usize| {
        counted.is_valid(*row) && counted.value(*row).saturating_add(rounding - 1) < least(*row)
    };
    Ok((0..batch.num_rows()).filter(under).count() as u64)
}
