//! What events of a package look like: which kinds are frequent, what values are usual, what belongs together.
//!
//! Read from `generate.toml` in the package's folder. It is no part of what the policy means, so neither the package
//! nor its digest knows of it: another made-up page is no reason to replay, or to ask anybody for consent again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use schemas::model::{ContributorSource, Family, Field, Kind, Source};
use schemas::time::SECOND_MS;
use schemas::{GENERATE_FILE, Package};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::values;

/// What events of a package look like, by family; empty where the package does not say.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Habits(BTreeMap<String, Habit>);

/// What events of one family look like; what is silent is made up from types and names of fields.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Habit {
    /// Part of all events; what is given is scaled to 1.
    share: Option<f64>,
    /// Who sends.
    from: Option<From>,
    /// How many contributors there are.
    pub(super) contributors: Option<u32>,
    /// Mean number of events in a sitting.
    sitting: Option<u32>,
    /// Longest pause between two events of a sitting, in seconds.
    pause_s: Option<u32>,
    /// Part of the senders who refuse, 0 to 1.
    pub(super) refused: Option<f64>,
    /// Part of the senders who say nothing where consent is asked for, 0 to 1.
    pub(super) silent: Option<f64>,
    values: BTreeMap<String, Usual>,
    first: BTreeMap<String, Usual>,
    given: BTreeMap<String, f64>,
    only: BTreeMap<String, Only>,
}

/// What sends the events of a family.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum From {
    Browser,
    Device,
}

/// Usual values of a field.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Usual {
    /// The first ones far more often.
    Favourites(Vec<Value>),
    /// A number: the median, and by what factor most are larger or smaller.
    Around(Around),
    /// Each as often as its weight says.
    Weights(BTreeMap<String, f64>),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Around {
    typical: f64,
    spread: f64,
}

/// In which events a field is given at all.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Only {
    At(Place),
    /// Where this field has this value.
    Where(BTreeMap<String, String>),
}

/// A place in a sitting.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    First,
}

impl Habits {
    /// Those of the package in `folder`, or of the default one; none where the folder has no such file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not of this form, or names or gives what the package does not declare.
    pub fn load(folder: Option<&Path>, package: &Package) -> anyhow::Result<Self> {
        let Some(folder) = folder else { return Self::parse(schemas::DEFAULT_GENERATE, package) };
        let file = folder.join(GENERATE_FILE);
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text, package),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Those that `text` says of `package`.
    ///
    /// # Errors
    ///
    /// As [`Habits::load`].
    pub fn parse(text: &str, package: &Package) -> anyhow::Result<Self> {
        let habits: Self = toml::from_str(text).context(GENERATE_FILE)?;
        for (name, habit) in &habits.0 {
            let Some((_, family)) = package.family(name) else {
                bail!("{GENERATE_FILE}: the package declares no family `{name}`");
            };
            habit.check(family).with_context(|| format!("{GENERATE_FILE}, `{name}`"))?;
        }
        Ok(habits)
    }

    pub(super) fn of(&self, family: &Family) -> Habit {
        self.0.get(&family.name).cloned().unwrap_or_default()
    }

    /// Whether events of the family come from browsers, and not from devices.
    #[must_use]
    pub fn browses(&self, family: &Family) -> bool {
        match self.0.get(&family.name).and_then(|habit| habit.from) {
            Some(from) => from == From::Browser,
            None => counts_visits(family),
        }
    }
}

fn counts_visits(family: &Family) -> bool {
    family.contributor.source == ContributorSource::Visit
}

impl Habit {
    fn check(&self, family: &Family) -> anyhow::Result<()> {
        let shares = [self.share, self.refused, self.silent].into_iter().flatten();
        if shares.chain(self.given.values().copied()).any(|share| !(0.0..=1.0).contains(&share)) {
            bail!("a share is from 0 to 1");
        }
        if self.contributors == Some(0) || self.sitting == Some(0) || self.pause_s == Some(0) {
            bail!("`contributors`, `sitting` and `pause_s` are at least 1");
        }
        let named = self.given.keys().chain(self.only.keys());
        let wheres = self.only.values().flat_map(Only::fields);
        for name in named.chain(wheres) {
            sent(family, name)?;
        }
        for (name, usual) in self.values.iter().chain(&self.first) {
            let field = sent(family, name)?;
            usual.check(field).with_context(|| format!("field `{name}`"))?;
        }
        Ok(())
    }

    /// Part of all sittings, before it is scaled.
    pub(super) fn weight(&self, family: &Family) -> f64 {
        self.share.unwrap_or(if counts_visits(family) { 0.6 } else { 0.4 })
    }

    /// Mean events in a sitting.
    pub(super) fn length(&self, family: &Family) -> u32 {
        self.sitting.unwrap_or(if counts_visits(family) { 3 } else { 5 })
    }

    /// Longest pause between two events of a sitting, in milliseconds.
    pub(super) fn pause_ms(&self, family: &Family) -> i64 {
        let usual_s = if counts_visits(family) { 120 } else { 480 };
        i64::from(self.pause_s.unwrap_or(usual_s)) * SECOND_MS + 1
    }

    /// How often the field is given at all, if said, 0 to 1.
    pub(super) fn presence(&self, field: &Field) -> Option<f64> {
        self.given.get(&field.name).copied()
    }

    /// A usual value of the field; none where nothing is said of it.
    pub(super) fn draw(
        &self,
        field: &Field,
        is_first: bool,
        random: &mut ChaCha8Rng,
    ) -> Option<Value> {
        let first = self.first.get(&field.name).filter(|_| is_first);
        first.or_else(|| self.values.get(&field.name)).map(|usual| usual.draw(field, random))
    }

    /// Takes out of an event what does not belong there.
    pub(super) fn tidy(&self, event: &mut Map<String, Value>, is_first: bool) {
        for (name, only) in &self.only {
            let belongs = match only {
                Only::At(Place::First) => is_first,
                Only::Where(wanted) => wanted.iter().all(|(field, value)| {
                    event.get(field).and_then(Value::as_str) == Some(value.as_str())
                }),
            };
            if !belongs {
                event.remove(name);
            }
        }
    }
}

/// The field of that name, if events themselves carry it.
fn sent<'f>(family: &'f Family, name: &str) -> anyhow::Result<&'f Field> {
    match family.field(name) {
        Some((_, field)) if field.source == Source::Body => Ok(field),
        _ => bail!("no event carries a field `{name}`"),
    }
}

impl Only {
    fn fields(&self) -> Vec<&String> {
        match self {
            Self::At(_) => Vec::new(),
            Self::Where(wanted) => wanted.keys().collect(),
        }
    }
}

impl Usual {
    fn check(&self, field: &Field) -> anyhow::Result<()> {
        match self {
            Self::Around(Around { typical, spread }) => {
                let is_number = matches!(
                    field.kind,
                    Kind::Integer { .. } | Kind::Duration { .. } | Kind::Float { .. }
                );
                if !is_number || *typical <= 0.0 || *spread < 1.0 {
                    bail!("`typical` above 0 and `spread` from 1 are for numbers");
                }
            }
            Self::Favourites(list) => {
                if list.is_empty() || !list.iter().all(|value| accepts(field, value)) {
                    bail!("the list is empty, or holds what the field does not accept");
                }
            }
            Self::Weights(weights) => {
                let total: f64 = weights.values().sum();
                let sound = weights.values().all(|weight| *weight >= 0.0) && total > 0.0;
                if !sound || !weights.keys().all(|word| accepts(field, &read(field, word))) {
                    bail!("a weight is not positive, or of what the field does not accept");
                }
            }
        }
        Ok(())
    }

    fn draw(&self, field: &Field, random: &mut ChaCha8Rng) -> Value {
        match self {
            Self::Favourites(list) => {
                written(field, &list[values::favourite(list.len(), random)], random)
            }
            Self::Weights(weights) => {
                let total: f64 = weights.values().sum();
                let mut drawn = random.random::<f64>() * total;
                let chosen = weights.iter().find(|(_, weight)| {
                    drawn -= **weight;
                    drawn < 0.0
                });
                let word = chosen.or_else(|| weights.iter().next_back()).map(|(word, _)| word);
                read(field, word.map_or("", String::as_str))
            }
            Self::Around(around) => around.draw(field, random),
        }
    }
}

impl Around {
    fn draw(self, field: &Field, random: &mut ChaCha8Rng) -> Value {
        let law = LogNormal::new(self.typical.ln(), self.spread.ln());
        let value = law.expect("checked: above 0, and from 1").sample(random);
        match field.kind {
            Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
                #[expect(clippy::cast_possible_truncation, reason = "held within the range")]
                let value = (value.round() as i64).clamp(min, max);
                json!(value)
            }
            Kind::Float { min, max } => json!(value.clamp(min, max)),
            Kind::String { .. }
            | Kind::Enum { .. }
            | Kind::Boolean
            | Kind::Timestamp
            | Kind::Version
            | Kind::Url { .. } => Value::Null,
        }
    }
}

/// A word of the file as an event says it.
fn read(field: &Field, word: &str) -> Value {
    let number = match field.kind {
        Kind::Integer { .. } | Kind::Duration { .. } => word.parse::<i64>().ok().map(Value::from),
        Kind::Float { .. } => word.parse::<f64>().ok().map(Value::from),
        Kind::Boolean => word.parse::<bool>().ok().map(Value::from),
        Kind::String { .. }
        | Kind::Enum { .. }
        | Kind::Timestamp
        | Kind::Version
        | Kind::Url { .. } => None,
    };
    number.unwrap_or_else(|| json!(word))
}

/// A favourite as an event says it: a page gets its site, and now and then a query.
fn written(field: &Field, value: &Value, random: &mut ChaCha8Rng) -> Value {
    match (&field.kind, value.as_str()) {
        (Kind::Url { .. }, Some(path)) if path.starts_with('/') => {
            json!(values::page(path, random))
        }
        _ => value.clone(),
    }
}

/// Whether an event with this value would be taken.
fn accepts(field: &Field, value: &Value) -> bool {
    match &field.kind {
        Kind::String { bytes_max, pattern } => value.as_str().is_some_and(|text| {
            let fits = pattern.as_ref().is_none_or(|pattern| pattern.regex.is_match(text));
            text.len() <= *bytes_max as usize && fits
        }),
        Kind::Enum { values, .. } => {
            value.as_str().is_some_and(|text| values.iter().any(|value| value == text))
        }
        Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
            value.as_i64().is_some_and(|number| (min..=max).contains(&&number))
        }
        Kind::Float { min, max } => {
            value.as_f64().is_some_and(|number| (min..=max).contains(&&number))
        }
        Kind::Boolean => value.is_boolean(),
        Kind::Version => value.as_str().is_some_and(|text| {
            text.split('.').all(|part| part.parse::<u32>().is_ok()) && text.split('.').count() <= 4
        }),
        Kind::Url { .. } => {
            value.as_str().is_some_and(|text| text.starts_with('/') || text.starts_with("https://"))
        }
        Kind::Timestamp => false,
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::store::default_package;

    fn package() -> Package {
        Package::from_files(default_package()).unwrap()
    }

    #[test]
    fn engagement_alone_says_how_long_and_links_alone_whither() {
        let package = package();
        let habits = Habits::load(None, &package).unwrap();
        let habit = habits.of(package.family("web").unwrap().1);
        let drawn = json!({"url": "/", "engaged": 5, "referrer": "https://a.example/", "target": "https://b.example"});
        for (name, is_first) in
            [("engagement", true), ("pageview", false), ("outbound_link", false), ("signup", true)]
        {
            let mut event = drawn.as_object().cloned().unwrap();
            event.insert("name".to_owned(), json!(name));
            habit.tidy(&mut event, is_first);
            assert_eq!(event.contains_key("engaged"), name == "engagement");
            assert_eq!(event.contains_key("target"), name == "outbound_link");
            assert_eq!(event.contains_key("referrer"), is_first);
        }
    }

    #[test]
    fn values_are_as_frequent_as_they_are_said_to_be() {
        let package = package();
        let text = "[web.values]\nname = { pageview = 9, login = 1 }\nengaged = { typical = 9000, spread = 2.0 }";
        let habits = Habits::parse(text, &package).unwrap();
        let family = package.family("web").unwrap().1;
        let habit = habits.of(family);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut draw =
            |name: &str| habit.draw(family.field(name).unwrap().1, false, &mut random).unwrap();
        let views = (0..2_000).filter(|_| draw("name") == "pageview").count();
        assert!((1_700..1_900).contains(&views), "{views}");
        let long = (0..2_000).filter(|_| draw("engaged").as_i64().unwrap() > 9_000).count();
        assert!((850..1_150).contains(&long), "{long}");
    }

    #[test]
    fn what_the_package_does_not_take_is_refused() {
        let package = package();
        for (text, word) in [
            ("[nothing]", "no family"),
            ("[web.values]\nshoe_size = [43]", "shoe_size"),
            ("[web.values]\ncountry = [\"DK\"]", "country"),
            ("[web.values]\nname = [\"unheard\"]", "does not accept"),
            ("[web.values]\nengaged = [-1]", "does not accept"),
            ("[web.given]\nengaged = 2.0", "from 0 to 1"),
            ("[web]\npause_s = 0", "pause_s"),
            ("[web]\nweight = 1", "weight"),
        ] {
            let error = format!("{:#}", Habits::parse(text, &package).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    /// Every package that is shipped says what its events look like.
    #[test]
    fn the_shipped_packages_have_habits() {
        let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        for name in ["copenhagen-imaging", "cephio", "lab-dental-digital", "3d4medical", "ceetron"]
        {
            let folder = schemas.join(name);
            let package = Package::load(&folder).unwrap();
            let habits = Habits::load(Some(&folder), &package).unwrap();
            let missing = package.families.iter().find(|one| !habits.0.contains_key(&one.name));
            assert!(missing.is_none(), "{name}: {:?}", missing.map(|family| &family.name));
        }
    }
}
