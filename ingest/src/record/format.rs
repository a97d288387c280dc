//! A configuration of records, compiled: which name at which place means what.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use schemas::Package;

use super::RecordConfig;
use crate::error::Error;
use crate::plan::{Plan, Reserved, Word};

/// Deepest path that can be configured, in names.
const PATH_MAX: usize = 16;
/// Words of the native protocol that `fields` may place, beside declared fields.
const PLACED: [Reserved; 6] = [
    Reserved::Seq,
    Reserved::Boot,
    Reserved::UptimeMs,
    Reserved::Sent,
    Reserved::SentUptimeMs,
    Reserved::SessionStart,
];

/// How records of one topic become events; see the module.
pub struct RecordFormat {
    pub(super) plan: Plan,
    pub(super) family: Option<String>,
    pub(super) families: FxHashMap<Box<str>, Box<str>>,
    pub(super) site: String,
    pub(super) record_bytes_max: usize,
    /// Objects that something is found in; the first is the record.
    objects: Vec<Object>,
}

/// What is found in an object, by name.
type Object = FxHashMap<Box<str>, Step>;

/// What a name means.
enum Step {
    /// There is more inside: index of an object.
    Inside(usize),
    /// The value is this.
    Here(Vec<Target>),
}

/// What a value stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A name of the native protocol, or a declared field.
    Word(Word),
    /// Of the end user.
    Address,
    /// Of the end user.
    UserAgent,
    /// Of the end user.
    Language,
    /// `true` or `false` for the purpose of that index.
    Purpose(u8),
    /// A TC string.
    Tcf,
}

/// What stands at a place.
pub(super) enum Found<'f> {
    Inside(usize),
    Here(&'f [Target]),
}

impl RecordFormat {
    /// Compiles a configuration for a package; `name` is the topic's in the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the key that cannot be, and what would be right.
    pub fn new(package: Arc<Package>, config: &RecordConfig, name: &str) -> Result<Self, Error> {
        let plan = Plan::new(package);
        let known = |family: &str, key: &str| match plan.family(family) {
            Some(_) => Ok(()),
            None => Err(Error::Config(format!("{key} = {family:?} is no family of the package"))),
        };
        if let Some(family) = &config.family {
            known(family, "family")?;
        }
        for family in config.families.values() {
            known(family, "a value of families")?;
        }
        let families = config.families.iter();
        let families = families.map(|(said, meant)| (said.as_str().into(), meant.as_str().into()));
        let mut format = Self {
            family: config.family.clone(),
            families: families.collect(),
            site: config.site.clone().unwrap_or_else(|| name.to_owned()),
            record_bytes_max: config.record_bytes_max,
            objects: vec![Object::default()],
            plan,
        };
        for (key, path, target) in format.configured(config)? {
            format.place(path, target).map_err(|why| Error::Config(format!("{key}: {why}")))?;
        }
        format.place_declared(&config.fields);
        Ok(format)
    }

    /// What the configuration places: key, path, meaning.
    fn configured<'c>(
        &self,
        config: &'c RecordConfig,
    ) -> Result<Vec<(String, &'c str, Target)>, Error> {
        let word = |word| Target::Word(Word::Reserved(word));
        let single = [
            ("family_field", &config.family_field, word(Reserved::Type)),
            ("id_field", &config.id_field, word(Reserved::Id)),
            ("time_field", &config.time_field, word(Reserved::Time)),
            ("received_field", &config.received_field, word(Reserved::Received)),
            ("address_field", &config.address_field, Target::Address),
            ("user_agent_field", &config.user_agent_field, Target::UserAgent),
            ("language_field", &config.language_field, Target::Language),
            ("consent_field", &config.consent_field, word(Reserved::Consent)),
            ("signals_field", &config.signals_field, word(Reserved::Signals)),
            ("tcf_field", &config.tcf_field, Target::Tcf),
        ];
        let mut all: Vec<(String, &str, Target)> = single
            .into_iter()
            .filter_map(|(key, path, target)| Some((key.to_owned(), path.as_deref()?, target)))
            .collect();
        if config.consent_field.is_some() && !config.consent.is_empty() {
            return Err(Error::Config("either consent_field or consent can be set".to_owned()));
        }
        for (purpose, path) in &config.consent {
            let key = format!("consent.{purpose}");
            let index = self.plan.purpose(purpose);
            let index = index
                .ok_or_else(|| Error::Config(format!("{key} is no purpose of the package")))?;
            all.push((key, path, Target::Purpose(index)));
        }
        for (name, path) in &config.fields {
            let key = format!("fields.{name}");
            let word = self.placeable(name);
            let word = word.ok_or_else(|| {
                Error::Config(format!("{key} is no field that these records may fill"))
            })?;
            all.push((key, path, Target::Word(word)));
        }
        Ok(all)
    }

    /// The word of a name that `fields` may place.
    fn placeable(&self, name: &str) -> Option<Word> {
        match self.plan.word(name)? {
            Word::Reserved(word) => PLACED.contains(&word).then_some(Word::Reserved(word)),
            word @ Word::Declared(_) => self.may_fill(name).then_some(word),
            Word::Refused(_) => None,
        }
    }

    /// Whether a family that these records may be of takes the field from a body.
    fn may_fill(&self, name: &str) -> bool {
        match &self.family {
            Some(family) => self.plan.field(family, name).is_some(),
            None => true,
        }
    }

    /// Declared fields stand under their own names at the top, unless configured otherwise or the name is taken.
    fn place_declared(&mut self, elsewhere: &BTreeMap<String, String>) {
        let package = Arc::clone(self.plan.package());
        for family in &package.families {
            for (_, field) in family.body_fields() {
                let name = field.name.as_str();
                if elsewhere.contains_key(name) || !self.may_fill(name) {
                    continue;
                }
                if let Some(word @ Word::Declared(_)) = self.plan.word(name) {
                    // An object there holds what was configured, and no value of the field.
                    drop(self.place(name, Target::Word(word)));
                }
            }
        }
    }

    /// Notes what stands at a path.
    fn place(&mut self, path: &str, target: Target) -> Result<(), String> {
        let names: Vec<&str> = path.split('.').collect();
        if names.iter().any(|name| name.is_empty()) || names.len() > PATH_MAX {
            return Err(format!("{path:?} must be 1 to {PATH_MAX} names with dots between them"));
        }
        let [inside @ .., last] = names.as_slice() else {
            return Err("a path has at least one name".to_owned());
        };
        let mut at = 0;
        for name in inside {
            let next = self.objects.len();
            let step = self.objects[at].entry((*name).into()).or_insert(Step::Inside(next));
            at = match step {
                Step::Inside(index) => *index,
                Step::Here(_) => return Err(format!("{name:?} of {path:?} is a value already")),
            };
            if at == next {
                self.objects.push(Object::default());
            }
        }
        let step = self.objects[at].entry((*last).into()).or_insert_with(|| Step::Here(Vec::new()));
        match step {
            Step::Inside(_) => return Err(format!("{path:?} is an object that holds others")),
            Step::Here(targets) if targets.contains(&target) => {}
            Step::Here(targets) => targets.push(target),
        }
        let Some(Step::Here(targets)) = self.objects[at].get(*last) else { return Ok(()) };
        if targets.len() > 1 && targets.iter().any(|target| target.is_object()) {
            return Err(format!(
                "{path:?} is an object of its own, and nothing else can stand there"
            ));
        }
        Ok(())
    }

    /// What a name in an object means. A name with dots is a path that somebody wrote flat.
    pub(super) fn find(&self, object: usize, name: &str) -> Option<Found<'_>> {
        let here = &self.objects[object];
        if let Some(step) = here.get(name) {
            return Some(match step {
                Step::Inside(index) => Found::Inside(*index),
                Step::Here(targets) => Found::Here(targets),
            });
        }
        let (first, rest) = name.split_once('.')?;
        match here.get(first)? {
            Step::Inside(index) => self.find(*index, rest),
            Step::Here(_) => None,
        }
    }

    /// How many values can stand in a record, all names once.
    pub(super) fn places(&self) -> usize {
        self.plan.words()
    }
}

impl Target {
    /// Whether its value may be an object with names of its own.
    pub(super) fn is_object(self) -> bool {
        matches!(self, Self::Word(Word::Reserved(Reserved::Consent | Reserved::Signals)))
    }
}
