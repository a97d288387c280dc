//! Whose rows a table holds, asked by who must not know any contributor but those it looks for.

use std::collections::HashMap;

use arrow::array::AsArray;
use schemas::columns;

use crate::error::SinkError;
use crate::sink::Sink;

impl Sink {
    /// The stored rows of each contributor of `family` that `wanted` picks. Reads the contributors of the whole table;
    /// what waits for a commit is not among them.
    ///
    /// # Errors
    ///
    /// [`SinkError::NoFamily`], and what storage and tables report.
    pub fn contributors(
        &self,
        family: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<HashMap<[u8; 16], u64>, SinkError> {
        let table = &self.families.get(family).ok_or(SinkError::NoFamily(family))?.table;
        let damaged = || SinkError::damaged(table.name(), "a row");
        let mut found = HashMap::new();
        for file in table.files() {
            for rows in table.read(&file.path, Some(&[columns::CONTRIBUTOR]))? {
                let rows = rows.map_err(SinkError::arrow(table.name()))?;
                let own = rows.column_by_name(columns::CONTRIBUTOR).ok_or_else(damaged)?;
                let own = own.as_binary_opt::<i32>().ok_or_else(damaged)?;
                for contributor in own.iter().flatten().filter(|own| wanted(own)) {
                    let contributor = contributor.try_into().map_err(|_| damaged())?;
                    *found.entry(contributor).or_default() += 1;
                }
            }
        }
        Ok(found)
    }
}
