//! What would become of one record, and why. Nothing is stored, and no builder is touched.

use anonymizer::{Gate, Resolver};
use schemas::Millis;
use serde_json::Value;

use super::format::{Found, RecordFormat};
use super::{Record, sending};
use crate::collect::resolve;
use crate::error::Error;
use crate::explain::{Explained, Trial, Undeclared, category};
use crate::rows::people;

impl RecordFormat {
    /// Puts one record through decoding, checks and gate 1.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`] if a key is missing.
    pub fn explain(
        &self,
        resolver: &Resolver,
        gate: &Gate,
        record: Record<'_>,
        now: Millis,
    ) -> Result<Explained, Error> {
        let decoded = self.decode([record]);
        let persons = people(&decoded)
            .map(|person| resolve(resolver, person, &self.site, now))
            .collect::<Result<Vec<_>, _>>()?;
        let sent_over = resolve(resolver, None, &self.site, now)?;
        let package = self.plan.package();
        let trial = Trial { gate, sent_over, persons, package, now, seen: None };
        trial.judge(&self.plan, &decoded, &sending(now), self.undeclared(record))
    }

    /// Paths in the record that mean nothing. Whoever tries a record out may read the topic.
    fn undeclared(&self, record: Record<'_>) -> Vec<Undeclared> {
        let mut paths = Vec::new();
        let text = self.text(record.value).unwrap_or_default();
        if let Ok(Value::Object(record)) = serde_json::from_str(text) {
            self.unknown(0, "", &record, &mut paths);
        }
        paths
    }

    fn unknown(
        &self,
        object: usize,
        before: &str,
        record: &serde_json::Map<String, Value>,
        paths: &mut Vec<Undeclared>,
    ) {
        for (name, value) in record {
            match (self.find(object, name), value) {
                (Some(Found::Here(_)), _) | (Some(Found::Inside(_)), Value::Null) => {}
                (Some(Found::Inside(object)), Value::Object(inner)) => {
                    self.unknown(object, &format!("{before}{name}."), inner, paths);
                }
                (Some(Found::Inside(_)), _) => paths.push((format!("{before}{name}"), None)),
                (None, _) => {
                    let path = format!("{before}{name}");
                    paths.push((path, category(&self.plan, name)));
                }
            }
        }
    }
}
