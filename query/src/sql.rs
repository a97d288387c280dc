//! Read-only SQL over the statistics tables, and over nothing else.
//!
//! The tables are those of declared statistics, each under its name. Their rows are released, so SQL may do with them
//! what it likes; what it may not do is anything else. The catalogue holds no other table, and no function opens a
//! file or an address. Plans that would write, change or configure are refused, and so are those that show where
//! files are (`EXPLAIN`).

use std::collections::BTreeSet;

use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use schemas::time::Millis;

use crate::statistics::{collect, failed, privacy};
use crate::{Answer, QueryError, Statistics};

/// Functions that make, of one short row, a value of gigabytes before any limit is asked.
const UNBOUNDED: &[&str] = &[
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "range",
    "generate_series",
];

impl Statistics {
    /// Runs one SELECT (or SHOW TABLES, SHOW COLUMNS, DESCRIBE) over the statistics tables.
    ///
    /// # Errors
    ///
    /// [`QueryError::SqlRefused`] for anything else; [`QueryError::Sql`] with the planner's words;
    /// [`QueryError::TooMuch`] beyond 30 seconds, a million rows, or the memory that all queries share.
    pub async fn sql(&self, text: &str) -> Result<Answer, QueryError> {
        let context = self.context();
        for function in UNBOUNDED {
            context.deregister_udf(function);
        }
        let tables = self.tables().await?;
        for (statistic, provider) in &tables {
            let name = TableReference::bare(statistic.name.as_str());
            context.register_table(name, std::sync::Arc::clone(provider)).map_err(failed)?;
        }
        let plan = context.state().create_logical_plan(text).await.map_err(failed)?;
        let read = permit(&plan)?;
        let rows = run(&context, plan).await?;
        let statistics = self.package.statistics.iter();
        let of: Vec<_> =
            statistics.filter(|own| read.is_empty() || read.contains(&own.name)).collect();
        let released = self.released().await?;
        let releases =
            |name: String| released.iter().filter(move |release| release.statistic == name);
        // Complete is what all of them are: one that has nothing yet makes the whole incomplete.
        let ends = of
            .iter()
            .map(|own| releases(own.name.clone()).map(|release| release.period.end).max())
            .collect::<Option<Vec<Millis>>>();
        let hidden =
            of.iter().any(|own| releases(own.name.clone()).any(|line| !line.hidden.is_empty()));
        Ok(Answer {
            rows,
            by: Vec::new(),
            contributors: "contributors".to_owned(),
            complete_until: ends.and_then(|ends| ends.into_iter().min()),
            privacy: privacy(of, hidden),
        })
    }
}

async fn run(
    context: &SessionContext,
    plan: LogicalPlan,
) -> Result<arrow::array::RecordBatch, QueryError> {
    collect(context.execute_logical_plan(plan).await.map_err(failed)?).await
}

/// Refuses what does not only read, and gives the names of the tables that are read.
fn permit(plan: &LogicalPlan) -> Result<BTreeSet<String>, QueryError> {
    let mut read = BTreeSet::new();
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        let what = match node {
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Some("an EXPLAIN"),
            LogicalPlan::Ddl(_) => Some("a statement that changes tables"),
            LogicalPlan::Dml(_) => Some("a statement that changes rows"),
            LogicalPlan::Copy(_) => Some("a COPY"),
            LogicalPlan::Statement(_) => Some("a statement of sessions"),
            LogicalPlan::Extension(_) => Some("an extension"),
            LogicalPlan::TableScan(scan) => {
                read.insert(scan.table_name.table().to_owned());
                None
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => None,
        };
        refused = refused.or(what);
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(failed)?;
    if let Some(what) = refused {
        return Err(QueryError::SqlRefused(what));
    }
    // The engine's own fence behind ours.
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| QueryError::SqlRefused("something else"))?;
    Ok(read)
}
