//! The released statistics of one package, ready to be asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field as Column, Schema, SchemaRef, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, cast, ident, lit};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use disclosure::statistic::{GROUPING, HIDDEN, PERIOD_END, PERIOD_START, table_schema};
use disclosure::{Release, table};
use futures::TryStreamExt;
use schemas::model::{Mechanism, Package, Statistic};
use schemas::time::Millis;
use storage::Root;

use crate::answer::NOTE;
use crate::ledger::Ledger;
use crate::request::{Resolved, resolve};
use crate::{Answer, Description, NONE, Privacy, QueryError, Request};

/// Memory that all queries running at once may use together.
const MEMORY_BYTES: usize = 256 << 20;
/// Rows of an answer.
const ROWS_MAX: usize = 1_000_000;
/// Bytes of an answer, before it is encoded.
const BYTES_MAX: usize = 128 << 20;
/// Time of one query.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The released statistics of one package.
pub struct Statistics {
    pub(crate) package: Arc<Package>,
    statistics_root: Root,
    ledger: Ledger,
    runtime: Arc<RuntimeEnv>,
}

impl Statistics {
    /// Reads `statistics_root/<name>` and `ledger_root/releases`; neither has to exist yet. All queries together use
    /// at most 256 MiB for sorting and aggregation, and no file.
    ///
    /// # Panics
    ///
    /// Never: what is configured here is constant.
    #[must_use]
    pub fn new(
        package: Arc<Package>,
        statistics_root: impl Into<Root>,
        ledger_root: impl Into<Root>,
    ) -> Self {
        let (statistics_root, ledger) = (statistics_root.into(), Ledger::new(ledger_root.into()));
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .expect("an environment without files opens none");
        Self { package, statistics_root, ledger, runtime }
    }

    /// Every declared statistic, in order of name.
    ///
    /// # Errors
    ///
    /// [`QueryError::Unavailable`].
    pub async fn list(&self) -> Result<Vec<Description>, QueryError> {
        let released = self.ledger.releases().await?;
        let describe = |statistic: &Statistic| {
            let own = released.iter().filter(|release| release.statistic == statistic.name);
            let complete_until = complete_until(own).map(|time| time.to_string());
            Description { complete_until, ..Description::of(&self.package, statistic) }
        };
        Ok(self.package.statistics.iter().map(describe).collect())
    }

    /// Answers a request. Before the first release of its statistic the answer has no rows.
    ///
    /// # Errors
    ///
    /// A [`QueryError`] that says what is declared; [`QueryError::Unavailable`]; [`QueryError::TooMuch`].
    pub async fn answer(&self, request: &Request) -> Result<Answer, QueryError> {
        let resolved = resolve(&self.package, request)?;
        let lines = self.ledger.releases().await?;
        let name = &resolved.statistic.name;
        let released = lines.iter().filter(|release| release.statistic == *name);
        let (rows, mut hidden_in) = self.rows(&resolved).await?;
        let grouping = resolved.grouping_text();
        // Of a period all of whose groups are hidden there is no row to say so, only a line of the ledger.
        let asked = released.clone().filter(|release| {
            resolved.between.is_none_or(|(from, to)| (from..to).contains(&release.period.start))
        });
        let hidden = asked.clone().filter(|release| release.hidden.contains(&grouping));
        hidden_in.extend(hidden.map(|release| release.period.start));
        let revised = asked.filter(|release| release.revised_at.is_some());
        let revised_in = revised.map(|release| release.period.start).collect();
        Ok(Answer {
            rows,
            by: resolved.by(),
            contributors: resolved.family.contributor.called.clone(),
            complete_until: complete_until(released),
            privacy: privacy([resolved.statistic], !hidden_in.is_empty()),
            hidden_in: Some(hidden_in.into_iter().collect()),
            revised_in: Some(revised_in),
        })
    }

    /// The rows asked for, and the beginnings of periods of which one of them says that something of its grouping is
    /// hidden.
    async fn rows(
        &self,
        resolved: &Resolved<'_>,
    ) -> Result<(RecordBatch, BTreeSet<Millis>), QueryError> {
        let schema = answer_schema(resolved);
        let name = &resolved.statistic.name;
        let Some(opened) = table::open(&self.statistics_root, name).await? else {
            return Ok((RecordBatch::new_empty(schema), BTreeSet::new()));
        };
        let provider = table::rows(&opened, name).await?;
        let stored = provider.schema();
        let plan = self
            .context()
            .read_table(provider)
            .and_then(|rows| plan(rows, &stored, &schema, resolved))
            .map_err(failed)?;
        let rows = collect(plan).await?;
        // The flag is the last column: it is asked for to be looked at, not to be answered.
        let flag = rows.num_columns() - 1;
        let starts = rows.column(0).as_primitive::<TimestampMicrosecondType>().iter().flatten();
        let flagged = rows.column(flag).as_boolean().iter().zip(starts);
        let hidden_in = flagged
            .filter(|(is_hidden, _)| *is_hidden == Some(true))
            .map(|(_, start)| Millis(start.div_euclid(1000)))
            .collect();
        let columns = rows.columns()[..flag].to_vec();
        let rows = RecordBatch::try_new(schema, columns)
            .map_err(|error| QueryError::Unavailable(Box::new(error)))?;
        Ok((rows, hidden_in))
    }

    pub(crate) fn context(&self) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(1).with_information_schema(true);
        SessionContext::new_with_config_rt(config, Arc::clone(&self.runtime))
    }

    /// The tables that exist of declared statistics, for SQL.
    pub(crate) async fn tables(
        &self,
    ) -> Result<Vec<(&Statistic, Arc<dyn datafusion::catalog::TableProvider>)>, QueryError> {
        let mut tables = Vec::new();
        for statistic in &self.package.statistics {
            if let Some(opened) = table::open(&self.statistics_root, &statistic.name).await? {
                tables.push((statistic, table::rows(&opened, &statistic.name).await?));
            }
        }
        Ok(tables)
    }

    pub(crate) async fn released(&self) -> Result<Arc<Vec<Release>>, QueryError> {
        self.ledger.releases().await
    }
}

/// Columns of an answer; a column's type is that of the table it is made of.
fn answer_schema(resolved: &Resolved<'_>) -> SchemaRef {
    let declared = table_schema(resolved.statistic, resolved.family);
    let column = |name: &str, nullable: bool| {
        let kind = declared.column_with_name(name).map(|(_, column)| column.data_type().clone());
        Column::new(name, kind.expect("the package's columns are its table's"), nullable)
    };
    let mut columns = vec![column(PERIOD_START, false), column(PERIOD_END, false)];
    columns.extend(resolved.by().iter().map(|name| column(name, false)));
    columns.extend(resolved.measures.iter().map(|name| column(name, true)));
    Arc::new(Schema::new(columns))
}

fn plan(
    rows: DataFrame,
    stored: &SchemaRef,
    answer: &SchemaRef,
    resolved: &Resolved<'_>,
) -> datafusion::error::Result<DataFrame> {
    let by = resolved.by();
    let dimension = |name: &str| coalesce(vec![ident(name), lit(NONE)]);
    let mut rows = rows.filter(ident(GROUPING).eq(lit(resolved.grouping_text())))?;
    if let Some((from, to)) = resolved.between {
        let start = ident(PERIOD_START);
        rows =
            rows.filter(start.clone().gt_eq(table::micros(from)).and(start.lt(table::micros(to))))?;
    }
    for (name, values) in &resolved.filter {
        let values = values.iter().map(lit).collect();
        rows = rows.filter(dimension(name).in_list(values, false))?;
    }
    let column = |column: &Arc<Column>| -> datafusion::error::Result<Expr> {
        let name = column.name();
        let value = match stored.column_with_name(name) {
            // Declared since: no row has it yet.
            None => lit(ScalarValue::try_from(column.data_type())?),
            Some(_) if by.contains(name) => dimension(name),
            Some(_) => ident(name),
        };
        Ok(cast(value, column.data_type().clone()).alias(name))
    };
    let mut columns =
        answer.fields().iter().map(column).collect::<datafusion::error::Result<Vec<_>>>()?;
    columns.push(ident(HIDDEN));
    let order = std::iter::once(PERIOD_START).chain(by.iter().map(String::as_str));
    rows.select(columns)?.sort(order.map(|name| ident(name).sort(true, false)).collect())
}

/// Runs a plan within the limits, into one batch.
pub(crate) async fn collect(plan: DataFrame) -> Result<RecordBatch, QueryError> {
    let run = async {
        let mut stream = plan.execute_stream().await.map_err(failed)?;
        let (mut batches, mut count, mut bytes) = (Vec::new(), 0, 0);
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            count += batch.num_rows();
            bytes += batch.get_array_memory_size();
            if count > ROWS_MAX {
                return Err(QueryError::TooMuch("a million rows"));
            }
            if bytes > BYTES_MAX {
                return Err(QueryError::TooMuch("128 MiB"));
            }
            batches.push(batch);
        }
        let schema = stream.schema();
        concat_batches(&schema, &batches).map_err(|error| failed(error.into()))
    };
    match tokio::time::timeout(TIME_MAX, run).await {
        Ok(rows) => rows,
        Err(_) => Err(QueryError::TooMuch("30 seconds")),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine adds kinds, and most are of the question"
)]
pub(crate) fn failed(error: DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::TooMuch("256 MiB of memory"),
        DataFusionError::ObjectStore(_)
        | DataFusionError::IoError(_)
        | DataFusionError::ParquetError(_)
        | DataFusionError::External(_) => QueryError::Unavailable(Box::new(error)),
        // What is left is said of the question: the rows are released, so nothing in it is a secret.
        _ => QueryError::Sql(error.strip_backtrace()),
    }
}

/// Weakest of the protections: of several statistics the answer may hold any.
pub(crate) fn privacy<'a>(
    statistics: impl IntoIterator<Item = &'a Statistic>,
    hidden_groups: bool,
) -> Privacy {
    let parameters = statistics.into_iter().map(|statistic| {
        let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
        (min_contributors, rounding)
    });
    let (min_contributors, rounding) =
        parameters.reduce(|(a, b), (c, d)| (a.min(c), b.min(d))).unwrap_or_default();
    Privacy { mechanism: "threshold", min_contributors, rounding, hidden_groups, note: NOTE }
}

fn complete_until<'a>(released: impl Iterator<Item = &'a Release>) -> Option<Millis> {
    released.map(|release| release.period.end).max()
}
