//! Where the parts of an event stand in the records of a topic that somebody else writes.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How records become events. Every `_field` is a path: names of nested objects with dots between them.
///
/// Read flattened into a table with more keys, so unknown ones are for whoever reads that table to refuse.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct RecordConfig {
    /// Family of every record; or else `family_field`.
    pub family: Option<String>,
    /// Where a record says its family.
    pub family_field: Option<String>,
    /// What stands there, to the family that is meant; what is not listed is a family's own name.
    pub families: BTreeMap<String, String>,
    /// Visits are counted by it: a visitor of a page whose site has this id is the same. Without it, the topic's name in
    /// the configuration.
    pub site: Option<String>,
    /// Declared fields that stand elsewhere than under their own name at the top of a record, by name.
    pub fields: BTreeMap<String, String>,
    /// An id of the event, by which a second copy is recognised; without it, each record counts once.
    pub id_field: Option<String>,
    /// When it happened, RFC 3339 or milliseconds since 1970; without it, when it was received.
    pub time_field: Option<String>,
    /// When it was received, likewise; without it, the record's timestamp.
    pub received_field: Option<String>,
    /// The end user's address, without port; it goes no further than memory.
    pub address_field: Option<String>,
    /// The end user's `User-Agent`.
    pub user_agent_field: Option<String>,
    /// The end user's `Accept-Language`.
    pub language_field: Option<String>,
    /// An object of purposes, as in the native protocol.
    pub consent_field: Option<String>,
    /// By purpose, where `true` or `false` stands for it.
    pub consent: BTreeMap<String, String>,
    /// An object of signals, as in the native protocol.
    pub signals_field: Option<String>,
    /// A TC string where it stands alone.
    pub tcf_field: Option<String>,
    /// Longest record, in bytes; a longer one is refused.
    pub record_bytes_max: usize,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            family: None,
            family_field: None,
            families: BTreeMap::new(),
            site: None,
            fields: BTreeMap::new(),
            id_field: None,
            time_field: None,
            received_field: None,
            address_field: None,
            user_agent_field: None,
            language_field: None,
            consent_field: None,
            consent: BTreeMap::new(),
            signals_field: None,
            tcf_field: None,
            record_bytes_max: 1 << 20,
        }
    }
}
