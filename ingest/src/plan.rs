//! What decoding needs of a policy package, compiled once: names to numbers, numbers to fields.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use schemas::model::Category;
use schemas::{Family, Field, Package};

/// Names that an event may carry beside the declared fields of its family.
///
/// They win over a declared field of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    /// Name of the family.
    Type,
    /// Makes a second copy recognisable.
    Id,
    /// When it happened, by the sender's clock.
    Time,
    /// Running number since the device was made, or since `boot`.
    Seq,
    /// How often the device had started.
    Boot,
    /// When it happened, in milliseconds since the device started.
    UptimeMs,
    /// When it was sent, by the clock that gave `time`.
    Sent,
    /// When it was sent, by the clock that gave `uptime_ms`.
    SentUptimeMs,
    /// When its session began, by the clock that gave `time`.
    SessionStart,
    /// When it was received first; believed in an import alone.
    Received,
    /// Purpose to `true`, `false` or `{granted, version, at}`.
    Consent,
    /// `{gpc, dnt, tcf, google}`: signals that came on another way than in headers.
    Signals,
    /// `{address, user_agent, language}` of the person for whom a server speaks.
    EndUser,
}

impl Reserved {
    const ALL: [Self; 13] = [
        Self::Type,
        Self::Id,
        Self::Time,
        Self::Seq,
        Self::Boot,
        Self::UptimeMs,
        Self::Sent,
        Self::SentUptimeMs,
        Self::SessionStart,
        Self::Received,
        Self::Consent,
        Self::Signals,
        Self::EndUser,
    ];

    /// The name in events, answers and refusals.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Id => "id",
            Self::Time => "time",
            Self::Seq => "seq",
            Self::Boot => "boot",
            Self::UptimeMs => "uptime_ms",
            Self::Sent => "sent",
            Self::SentUptimeMs => "sent_uptime_ms",
            Self::SessionStart => "session_start",
            Self::Received => "received",
            Self::Consent => "consent",
            Self::Signals => "signals",
            Self::EndUser => "end_user",
        }
    }
}

/// A known name: what it stands for in each family is in [`FamilyPlan::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Means the same in every family.
    Reserved(Reserved),
    /// Declared by at least one family; index into [`FamilyPlan::slots`].
    Declared(u16),
    /// Declared by none, and by itself says that it holds what the package refuses: index into its refused categories.
    Refused(u8),
}

/// A policy package as decoding sees it.
#[derive(Debug)]
pub struct Plan {
    pub(crate) package: Arc<Package>,
    words: FxHashMap<Box<str>, Word>,
    declared: Vec<Box<str>>,
    families: FxHashMap<Box<str>, usize>,
    purposes: FxHashMap<Box<str>, u8>,
    by_family: Vec<FamilyPlan>,
}

/// The values of an enum, with their indices.
pub(crate) type Listed = FxHashMap<Box<str>, u16>;

/// One family as decoding sees it.
#[derive(Debug)]
pub(crate) struct FamilyPlan {
    /// Declared word to field index, where the family takes that field from the body.
    pub(crate) slots: Vec<Option<u16>>,
    /// Lookups of enum fields, by field index.
    pub(crate) enums: Vec<Option<Listed>>,
    /// Fields that must be there, by field index.
    pub(crate) required: Vec<usize>,
}

impl Plan {
    /// Compiles the lookups of a package.
    #[must_use]
    pub fn new(package: Arc<Package>) -> Self {
        let mut words: FxHashMap<Box<str>, Word> = Reserved::ALL
            .map(|word| (word.name().into(), Word::Reserved(word)))
            .into_iter()
            .collect();
        let mut declared: Vec<Box<str>> = Vec::new();
        for family in &package.families {
            for (_, field) in family.body_fields() {
                words.entry(field.name.as_str().into()).or_insert_with(|| {
                    declared.push(field.name.as_str().into());
                    Word::Declared(u16::try_from(declared.len() - 1).unwrap_or(u16::MAX))
                });
            }
        }
        let families = package.families.iter();
        let by_family =
            families.map(|family| FamilyPlan::new(family, &words, declared.len())).collect();
        let families = package.families.iter().enumerate();
        let families =
            families.map(|(index, family)| (family.name.as_str().into(), index)).collect();
        let purposes = (0_u8..32).zip(&package.purposes);
        let purposes =
            purposes.map(|(index, purpose)| (purpose.name.as_str().into(), index)).collect();
        Self { package, words, declared, families, purposes, by_family }
    }

    /// The package it was compiled from.
    #[must_use]
    pub fn package(&self) -> &Arc<Package> {
        &self.package
    }

    pub(crate) fn word(&self, name: &str) -> Option<Word> {
        self.words.get(name).copied()
    }

    /// What an undeclared name says by itself, if the package refuses that.
    pub(crate) fn refused(&self, name: &str) -> Option<Word> {
        let categories = &self.package.refused.categories;
        let category = (!categories.is_empty()).then(|| Category::of_name(name)).flatten()?;
        let index = categories.iter().position(|refused| *refused == category)?;
        u8::try_from(index).ok().map(Word::Refused)
    }

    /// The refused category of that index, in the package's word.
    pub(crate) fn category(&self, index: u8) -> &'static str {
        let category = self.package.refused.categories.get(usize::from(index));
        category.map_or("", |category| category.name())
    }

    /// How many names mean something.
    pub(crate) fn words(&self) -> usize {
        self.words.len() + self.package.refused.categories.len()
    }

    /// The name that `word` stands for.
    pub(crate) fn name(&self, word: Word) -> &str {
        match word {
            Word::Reserved(word) => word.name(),
            Word::Declared(word) => self.declared.get(usize::from(word)).map_or("", |name| name),
            Word::Refused(index) => self.category(index),
        }
    }

    pub(crate) fn family(&self, name: &str) -> Option<usize> {
        self.families.get(name).copied()
    }

    pub(crate) fn purpose(&self, name: &str) -> Option<u8> {
        self.purposes.get(name).copied()
    }

    /// A field that a family takes from the body, and the values that it lists.
    pub(crate) fn field(&self, family: &str, name: &str) -> Option<(&Field, Option<&Listed>)> {
        let (family, lookups) = self.of(self.family(family)?);
        let Word::Declared(word) = self.word(name)? else { return None };
        let slot = usize::from((*lookups.slots.get(usize::from(word))?)?);
        Some((family.fields.get(slot)?, lookups.enums.get(slot)?.as_ref()))
    }

    pub(crate) fn of(&self, family: usize) -> (&Family, &FamilyPlan) {
        (&self.package.families[family], &self.by_family[family])
    }
}

impl FamilyPlan {
    /// The declared word of index `value` in an enum field.
    pub(crate) fn listed(field: &Field, value: u16) -> &str {
        let word = field.kind.listed().and_then(|values| values.get(usize::from(value)));
        word.map_or("", String::as_str)
    }

    fn new(family: &Family, words: &FxHashMap<Box<str>, Word>, declared: usize) -> Self {
        let mut slots = vec![None; declared];
        for (index, field) in family.body_fields() {
            if let Some(&Word::Declared(word)) = words.get(field.name.as_str())
                && let Some(slot) = slots.get_mut(usize::from(word))
            {
                *slot = u16::try_from(index).ok();
            }
        }
        let lookup = |values: &[String]| {
            (0_u16..).zip(values).map(|(index, value)| (value.as_str().into(), index)).collect()
        };
        let enums = family.fields.iter().map(|field| field.kind.listed().map(lookup));
        let enums = enums.collect();
        let required = family
            .body_fields()
            .filter(|(_, field)| field.required)
            .map(|(index, _)| index)
            .collect();
        Self { slots, enums, required }
    }
}
