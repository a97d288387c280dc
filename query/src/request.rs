//! The typed request, in the words of `statistics.toml`, and what of the package it means.

use std::collections::BTreeMap;

use disclosure::statistic::grouping_text;
use schemas::model::{Family, Package, Statistic};
use schemas::time::Millis;
use serde::Deserialize;
use serde_json::Value;

use crate::QueryError;

/// How answers and filters write a dimension without a value.
pub const NONE: &str = "(none)";

const FORM: &str = r#"a request is {"from": "..", "measures": [..], "by": [..], "every": "..", "where": {..}, "between": [..]}"#;

/// A question about one declared statistic. Only `from` is needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Name of the statistic.
    pub from: String,
    /// Columns of measures; all without it.
    #[serde(default)]
    pub measures: Option<Vec<String>>,
    /// A declared grouping, in any order; without it the total, or the first grouping where no total is declared.
    #[serde(default)]
    pub by: Option<Vec<String>>,
    /// The statistic's period, for who wants it said.
    #[serde(default)]
    pub every: Option<String>,
    /// For some dimensions of the grouping the value, or list of values, to keep; null is [`NONE`].
    #[serde(default, rename = "where")]
    pub filter: BTreeMap<String, Value>,
    /// Keeps periods that begin in `[from, to)`: dates or RFC 3339.
    #[serde(default)]
    pub between: Option<(String, String)>,
}

impl Request {
    /// Reads a request from JSON.
    ///
    /// # Errors
    ///
    /// [`QueryError::Malformed`] with a line and a column; it does not quote the body.
    pub fn parse(body: &[u8]) -> Result<Self, QueryError> {
        parse(body, FORM)
    }

    /// Whether it names what the package declares.
    ///
    /// # Errors
    ///
    /// What it could have named.
    pub fn check(&self, package: &Package) -> Result<(), QueryError> {
        resolve(package, self).map(drop)
    }
}

/// Reads JSON; what the parser says is reduced to where, for its words quote the body.
pub(crate) fn parse<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    what: &'static str,
) -> Result<T, QueryError> {
    serde_json::from_slice(body).map_err(|error| QueryError::Malformed {
        line: error.line(),
        column: error.column(),
        what,
    })
}

/// A request against its package.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    pub(crate) statistic: &'a Statistic,
    pub(crate) family: &'a Family,
    /// Columns of measures, in the order asked for.
    pub(crate) measures: Vec<String>,
    /// Fields of the grouping, in order of the package.
    pub(crate) grouping: &'a [usize],
    /// Dimension to the values kept.
    pub(crate) filter: Vec<(String, Vec<String>)>,
    pub(crate) between: Option<(Millis, Millis)>,
}

impl Resolved<'_> {
    /// Names of the grouping's dimensions.
    pub(crate) fn by(&self) -> Vec<String> {
        names(self.family, self.grouping)
    }

    /// The grouping as tables write it.
    pub(crate) fn grouping_text(&self) -> String {
        grouping_text(self.family, self.grouping)
    }
}

pub(crate) fn names(family: &Family, grouping: &[usize]) -> Vec<String> {
    grouping.iter().map(|&field| family.fields[field].name.clone()).collect()
}

/// Finds what the request names, or says what it could have named.
pub(crate) fn resolve<'a>(
    package: &'a Package,
    request: &Request,
) -> Result<Resolved<'a>, QueryError> {
    let Some(statistic) = package.statistic(&request.from) else {
        let declared = package.statistics.iter().map(|statistic| statistic.name.as_str());
        return Err(QueryError::UnknownStatistic { declared: listed(declared) });
    };
    let family = &package.families[statistic.family];
    if request.every.as_ref().is_some_and(|every| every != statistic.every.name()) {
        let (statistic, declared) = (statistic.name.clone(), statistic.every.name());
        return Err(QueryError::UnknownEvery { statistic, declared });
    }
    let grouping = find_grouping(statistic, family, request.by.as_deref())?;
    Ok(Resolved {
        statistic,
        family,
        measures: find_measures(statistic, request.measures.as_deref())?,
        grouping,
        filter: find_filter(&names(family, grouping), &request.filter)?,
        between: request.between.as_ref().map(find_span).transpose()?,
    })
}

fn find_measures(
    statistic: &Statistic,
    wanted: Option<&[String]>,
) -> Result<Vec<String>, QueryError> {
    let declared: Vec<String> =
        statistic.measures.iter().flat_map(schemas::model::Measure::columns).collect();
    let Some(wanted) = wanted else { return Ok(declared) };
    let mut chosen: Vec<String> = Vec::new();
    for name in wanted {
        if !declared.contains(name) {
            let (statistic, declared) =
                (statistic.name.clone(), listed(declared.iter().map(String::as_str)));
            return Err(QueryError::UnknownMeasure { statistic, declared });
        }
        // Asked for twice is answered once: two columns of one name are no use to anybody.
        if !chosen.contains(name) {
            chosen.push(name.clone());
        }
    }
    Ok(chosen)
}

fn find_grouping<'a>(
    statistic: &'a Statistic,
    family: &Family,
    wanted: Option<&[String]>,
) -> Result<&'a [usize], QueryError> {
    let found = match wanted {
        None => statistic.by.iter().find(|grouping| grouping.is_empty()).or(statistic.by.first()),
        Some(wanted) => statistic.by.iter().find(|grouping| {
            let names = names(family, grouping);
            names.len() == wanted.len() && names.iter().all(|name| wanted.contains(name))
        }),
    };
    found.map(Vec::as_slice).ok_or_else(|| {
        let groupings = statistic.by.iter().map(|grouping| Value::from(names(family, grouping)));
        let declared: Vec<String> = groupings.map(|grouping| grouping.to_string()).collect();
        let declared = listed(declared.iter().map(String::as_str));
        QueryError::UnknownGrouping { statistic: statistic.name.clone(), declared }
    })
}

fn find_filter(
    dimensions: &[String],
    wanted: &BTreeMap<String, Value>,
) -> Result<Vec<(String, Vec<String>)>, QueryError> {
    let unknown = || QueryError::UnknownFilter {
        declared: match dimensions {
            [] => "nothing here, for the total has no dimension; choose a `by`".to_owned(),
            some => {
                let names = listed(some.iter().map(String::as_str));
                format!("a value, or a list of values, for {names}")
            }
        },
    };
    wanted
        .iter()
        .map(|(name, value)| {
            let values = match value.as_array() {
                Some(list) => list.iter().map(text).collect(),
                None => text(value).map(|one| vec![one]),
            };
            let known = dimensions.contains(name);
            let values = values.filter(|values: &Vec<String>| known && !values.is_empty());
            Ok((name.clone(), values.ok_or_else(unknown)?))
        })
        .collect()
}

/// A value as tables write it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Null => Some(NONE.to_owned()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn find_span((from, to): &(String, String)) -> Result<(Millis, Millis), QueryError> {
    let point = |text: &String| {
        let date = (text.len() == 10).then(|| format!("{text}T00:00:00Z"));
        Millis::parse(date.as_ref().unwrap_or(text)).ok_or(QueryError::NoSpan)
    };
    let span = (point(from)?, point(to)?);
    if span.0 < span.1 { Ok(span) } else { Err(QueryError::NoSpan) }
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
