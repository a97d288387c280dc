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

/// Words and signs of one query. The planner works by recursion, and without a limit a long chain (`a + a + …`) would
/// end the process by its stack: [`STACK_BYTES`] holds several times this.
const TOKENS_MAX: usize = 1000;
/// Stack of a thread that plans and runs queries, in bytes.
pub const STACK_BYTES: usize = 8 << 20;
/// Steps of one plan: tables that join themselves again and again double it each time.
const STEPS_MAX: usize = 2000;

impl Statistics {
    /// Runs one SELECT (or SHOW TABLES, SHOW COLUMNS, DESCRIBE) over the statistics tables.
    ///
    /// # Errors
    ///
    /// [`QueryError::SqlRefused`] for anything else; [`QueryError::Sql`] with the planner's words;
    /// [`QueryError::TooMuch`] beyond 30 seconds, a million rows, or the memory that all queries share.
    pub async fn sql(&self, text: &str) -> Result<Answer, QueryError> {
        if tokens(text) > TOKENS_MAX {
            return Err(QueryError::TooMuch("a thousand words and signs of SQL"));
        }
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
            hidden_in: None,
            revised_in: None,
        })
    }
}

/// Words and signs in `text`, about: what stands in quotes counts as what it is made of, too.
fn tokens(text: &str) -> usize {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let signs = text.chars().filter(|c| !is_word(*c) && !c.is_whitespace());
    let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty());
    signs.count() + words.count()
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
    let mut steps = 0;
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
        steps += 1;
        Ok(if refused.is_some() || steps > STEPS_MAX {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    })
    .map_err(failed)?;
    if let Some(what) = refused {
        return Err(QueryError::SqlRefused(what));
    }
    if steps > STEPS_MAX {
        return Err(QueryError::TooMuch("two thousand steps"));
    }
    // The engine's own fence behind ours.
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| QueryError::SqlRefused("something else"))?;
    Ok(read)
}
