//! Where stores are, held against the residency that a package promises.
//!
//! Of an object store of a provider the region decides, by a list that comes with the binary; a folder, brokers and a store
//! behind an endpoint of its own tell nothing of where they are, so that for them the promise is the operator's word.

use anyhow::bail;
use schemas::{Package, eea};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Location, Properties};

/// Regions of three providers in Europe, and the country each is in. After the providers' own lists: "AWS Regions" of the
/// AWS documentation, "Bucket locations" of Google Cloud Storage, "Azure regions list" of Microsoft Learn, as of
/// November 2026. London and Zurich are in it so that they are refused by name.
const REGIONS: &[(&str, &str, &str)] = &[
    ("s3", "eu-central-1", "DE"),
    ("s3", "eu-central-2", "CH"),
    ("s3", "eu-north-1", "SE"),
    ("s3", "eu-south-1", "IT"),
    ("s3", "eu-south-2", "ES"),
    ("s3", "eu-west-1", "IE"),
    ("s3", "eu-west-2", "GB"),
    ("s3", "eu-west-3", "FR"),
    ("s3", "eusc-de-east-1", "DE"),
    ("gs", "eu", "EEA"),
    ("gs", "eur4", "EEA"),
    ("gs", "europe-central2", "PL"),
    ("gs", "europe-north1", "FI"),
    ("gs", "europe-north2", "SE"),
    ("gs", "europe-southwest1", "ES"),
    ("gs", "europe-west1", "BE"),
    ("gs", "europe-west2", "GB"),
    ("gs", "europe-west3", "DE"),
    ("gs", "europe-west4", "NL"),
    ("gs", "europe-west6", "CH"),
    ("gs", "europe-west8", "IT"),
    ("gs", "europe-west9", "FR"),
    ("gs", "europe-west10", "DE"),
    ("gs", "europe-west12", "IT"),
    ("az", "austriaeast", "AT"),
    ("az", "francecentral", "FR"),
    ("az", "francesouth", "FR"),
    ("az", "germanynorth", "DE"),
    ("az", "germanywestcentral", "DE"),
    ("az", "italynorth", "IT"),
    ("az", "northeurope", "IE"),
    ("az", "norwayeast", "NO"),
    ("az", "norwaywest", "NO"),
    ("az", "polandcentral", "PL"),
    ("az", "spaincentral", "ES"),
    ("az", "swedencentral", "SE"),
    ("az", "swedensouth", "SE"),
    ("az", "switzerlandnorth", "CH"),
    ("az", "switzerlandwest", "CH"),
    ("az", "uksouth", "GB"),
    ("az", "ukwest", "GB"),
    ("az", "westeurope", "NL"),
];

/// The region that the library of S3 takes where none is given.
const S3_DEFAULT: &str = "us-east-1";

/// What is known of where a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The region of its options is inside what is promised.
    Inside,
    /// The operator says that it is inside; nobody can check it.
    Asserted,
    /// Neither its options nor the operator say where it is: by promising a residency the operator asserts it.
    Unchecked,
    /// It is outside.
    Outside,
    /// Its region is not in the list.
    Unknown,
}

impl Verdict {
    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Inside => "inside, by its region",
            Self::Asserted => "inside, as the operator asserts",
            Self::Unchecked => "cannot be checked: the operator's assertion",
            Self::Outside => "outside",
            Self::Unknown => "in a region that is not in the list",
        }
    }

    /// Whether a service may start on it.
    #[must_use]
    pub fn is_borne(self) -> bool {
        match self {
            Self::Inside | Self::Asserted | Self::Unchecked => true,
            Self::Outside | Self::Unknown => false,
        }
    }
}

/// A store, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Its table of the configuration.
    pub store: String,
    /// Folder or URL.
    pub place: String,
    /// The region or country that its options or the operator name.
    pub region: Option<String>,
    /// How that fits the promise.
    pub verdict: Verdict,
}

/// Every store of the configuration, held against the package's residency; none where it promises none.
///
/// # Errors
///
/// If an option that lies in a file or the environment cannot be read.
pub fn stores(config: &Config, package: &Package) -> anyhow::Result<Vec<Placed>> {
    let Some(promised) = package.residency.as_deref() else { return Ok(Vec::new()) };
    let here = config.region.as_deref();
    let data = Location::Folder(config.data.clone());
    let none = Properties::default();
    let mut all = vec![("data", &data, &none, here)];
    let roots = [
        ("storage.events", &config.storage.events),
        ("storage.statistics", &config.storage.statistics),
    ];
    for (name, root) in roots {
        if let Some(root) = root {
            all.push((name, &root.url, &root.options, root.region.as_deref()));
        }
    }
    let keys = &config.keyring;
    all.push(("keyring", &keys.dir, &keys.options, keys.region.as_deref()));
    let mut placed = Vec::new();
    for (name, location, options, asserted) in all {
        let asserted = asserted.or(location.folder().and(here));
        let (region, verdict) = judge(promised, location, options, asserted)?;
        let place = location.to_string();
        placed.push(Placed { store: name.to_owned(), place, region, verdict });
    }
    if let Some(kafka) = &config.kafka {
        let (region, verdict) = by_word(promised, "kafka", kafka.region.as_deref());
        let place = "brokers".to_owned();
        placed.push(Placed { store: "kafka".to_owned(), place, region, verdict });
    }
    Ok(placed)
}

/// Refuses stores outside the residency that the package promises.
///
/// # Errors
///
/// The first store that is outside or in an unknown region, with what to do.
pub fn check(config: &Config, package: &Package) -> anyhow::Result<()> {
    for Placed { store, place, region, verdict } in stores(config, package)? {
        let promised = package.residency.as_deref().unwrap_or_default();
        let region = region.unwrap_or_default();
        match verdict {
            Verdict::Inside | Verdict::Asserted | Verdict::Unchecked => {}
            Verdict::Outside => bail!(
                "the policy package promises that data stays in {promised}, and {store} ({place}) is in {region}, outside \
                 it: move the store, or change what is promised"
            ),
            Verdict::Unknown if region.is_empty() => bail!(
                "the policy package promises that data stays in {promised}, and {store} ({place}) does not tell where it \
                 is: write {store}.region, such as \"europe-west3\" or \"DE\""
            ),
            Verdict::Unknown => bail!(
                "the policy package promises that data stays in {promised}, and {store} ({place}) is in {region}, which is no \
                 region known to be inside it: if it is, write the country as {store}.region"
            ),
        }
    }
    Ok(())
}

/// Region and verdict of one store.
fn judge(
    promised: &str,
    location: &Location,
    options: &Properties,
    asserted: Option<&str>,
) -> anyhow::Result<(Option<String>, Verdict)> {
    let Location::Url(url) = location else { return Ok(by_word(promised, "", asserted)) };
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let options = options.read()?;
    let option = |wanted: &[&str]| {
        let named = |name: &String| wanted.contains(&name.to_ascii_lowercase().as_str());
        options.iter().find(|(name, _)| named(name)).map(|(_, value)| value.clone())
    };
    let endpoint = option(&[
        "aws_endpoint",
        "aws_endpoint_url",
        "endpoint",
        "endpoint_url",
        "azure_endpoint",
        "azure_storage_endpoint",
        "google_base_url",
        "base_url",
    ]);
    if endpoint.is_some_and(|endpoint| !is_of_provider(&endpoint)) {
        return Ok(by_word(promised, scheme, asserted));
    }
    let told = match scheme {
        "s3" => Some(
            option(&["aws_region", "region", "aws_default_region", "default_region"])
                .unwrap_or_else(|| S3_DEFAULT.to_owned()),
        ),
        _ => None,
    };
    let Some(told) = told else {
        // The options of these providers name no region: somebody has to.
        let (region, verdict) = by_word(promised, scheme, asserted);
        let verdict = if verdict == Verdict::Unchecked { Verdict::Unknown } else { verdict };
        return Ok((region, verdict));
    };
    let verdict = match (country(scheme, &told), asserted) {
        (Some(country), _) if lies_in(country, promised) => Verdict::Inside,
        (Some(_), _) => Verdict::Outside,
        (None, Some(_)) => return Ok(by_word(promised, scheme, asserted)),
        (None, None) => Verdict::Unknown,
    };
    Ok((Some(told), verdict))
}

/// By the operator's word alone: a country, `EEA`, or a region of the list.
fn by_word(promised: &str, scheme: &str, asserted: Option<&str>) -> (Option<String>, Verdict) {
    let Some(word) = asserted else { return (None, Verdict::Unchecked) };
    let is_country = word.len() == 2 && word.bytes().all(|letter| letter.is_ascii_uppercase());
    let place = if is_country || word == eea::NAME { Some(word) } else { country(scheme, word) };
    let verdict = match place {
        Some(place) if lies_in(place, promised) => Verdict::Asserted,
        Some(_) => Verdict::Outside,
        None => Verdict::Unknown,
    };
    (Some(word.to_owned()), verdict)
}

/// The country of a region, or `EEA`; of any provider where the scheme is none of theirs.
fn country(scheme: &str, region: &str) -> Option<&'static str> {
    let ours = REGIONS.iter().any(|(of, ..)| *of == scheme);
    let region = region.to_ascii_lowercase();
    let found = REGIONS.iter().find(|(of, name, _)| (!ours || *of == scheme) && *name == region);
    found.map(|(.., country)| *country)
}

fn lies_in(place: &str, promised: &str) -> bool {
    place == promised || (promised == eea::NAME && eea::contains(place))
}

/// Whether an endpoint is the provider's own, so that the region of the options is where the data is.
fn is_of_provider(endpoint: &str) -> bool {
    let host = url::Url::parse(endpoint).ok();
    let host = host.as_ref().and_then(|url| url.host_str()).unwrap_or_default().to_owned();
    let ours = [".amazonaws.com", ".amazonaws.eu", ".googleapis.com", ".core.windows.net"];
    ours.iter().any(|ours| host.ends_with(ours))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clocks;
    use crate::config::{Roles, RootConfig};
    use crate::store::{Node, default_package};

    fn package(residency: Option<&str>) -> Package {
        let mut package = Package::from_files(default_package()).unwrap();
        package.residency = residency.map(str::to_owned);
        package
    }

    fn config(url: &str, options: &[(&str, &str)], region: Option<&str>) -> Config {
        let mut properties = Properties::default();
        options.iter().for_each(|(name, value)| properties.set(name, *value));
        let mut config = Config::default();
        let region = region.map(str::to_owned);
        config.storage.events = Some(RootConfig { url: url.into(), options: properties, region });
        config
    }

    fn verdict(residency: &str, config: &Config) -> Verdict {
        let stores = stores(config, &package(Some(residency))).unwrap();
        stores.iter().find(|placed| placed.store == "storage.events").unwrap().verdict
    }

    #[test]
    fn a_store_is_where_its_region_is() {
        let s3 = |region: &str| config("s3://b/e", &[("aws_region", region)], None);
        for (region, expected) in [
            ("eu-central-1", Verdict::Inside),
            ("eu-west-1", Verdict::Inside),
            ("EU-NORTH-1", Verdict::Inside),
            // London and Zurich are in Europe and not in the EEA.
            ("eu-west-2", Verdict::Outside),
            ("eu-central-2", Verdict::Outside),
            ("us-east-1", Verdict::Unknown),
            ("eu-somewhere-9", Verdict::Unknown),
        ] {
            assert_eq!(verdict("EEA", &s3(region)), expected, "{region}");
        }
        assert_eq!(verdict("DE", &s3("eu-central-1")), Verdict::Inside);
        assert_eq!(verdict("DE", &s3("eu-west-1")), Verdict::Outside);
        assert_eq!(verdict("CH", &s3("eu-central-2")), Verdict::Inside);
        assert_eq!(verdict("EEA", &config("s3://b/e", &[], None)), Verdict::Unknown);
    }

    #[test]
    fn what_cannot_be_checked_is_the_operators_word() {
        let own = [("aws_endpoint", "https://minio.example"), ("aws_region", "eu-west-2")];
        for (config, expected) in [
            (config("/srv/events", &[], None), Verdict::Unchecked),
            (config("/srv/events", &[], Some("DE")), Verdict::Asserted),
            (config("/srv/events", &[], Some("GB")), Verdict::Outside),
            (config("/srv/events", &[], Some("Atlantis")), Verdict::Unknown),
            (config("s3://b/e", &own, None), Verdict::Unchecked),
            (config("s3://b/e", &own, Some("eu-central-1")), Verdict::Asserted),
            (config("gs://b/e", &[], None), Verdict::Unknown),
            (config("gs://b/e", &[], Some("europe-west3")), Verdict::Asserted),
            (config("gs://b/e", &[], Some("europe-west6")), Verdict::Outside),
            (config("az://c/e", &[], Some("uksouth")), Verdict::Outside),
            // What the options tell is not talked away; what they tell of nobody may be.
            (config("s3://b/e", &[("region", "eu-west-2")], Some("DE")), Verdict::Outside),
            (config("s3://b/e", &[("region", "eu-new-7")], Some("DE")), Verdict::Asserted),
            (
                config(
                    "s3://b/e",
                    &[("endpoint", "https://s3.eu-west-2.amazonaws.com"), ("region", "eu-west-2")],
                    Some("DE"),
                ),
                Verdict::Outside,
            ),
        ] {
            assert_eq!(verdict("EEA", &config), expected, "{:?}", config.storage);
        }
    }

    #[test]
    fn a_store_outside_is_refused_with_what_to_do_and_no_promise_refuses_none() {
        let london = config("s3://b/e", &[("aws_region", "eu-west-2")], None);
        let error = check(&london, &package(Some("EEA"))).unwrap_err().to_string();
        for part in ["EEA", "storage.events", "s3://b/e", "eu-west-2", "outside"] {
            assert!(error.contains(part), "{error}");
        }
        let error = check(&config("gs://b/e", &[], None), &package(Some("EEA"))).unwrap_err();
        assert!(error.to_string().contains("storage.events.region"), "{error}");
        check(&london, &package(None)).unwrap();
        check(&Config::default(), &package(Some("EEA"))).unwrap();
        let mut abroad = Config { region: Some("US".to_owned()), ..Config::default() };
        assert!(check(&abroad, &package(Some("EEA"))).is_err());
        abroad.region = Some("SE".to_owned());
        check(&abroad, &package(Some("EEA"))).unwrap();
    }

    #[test]
    fn nothing_is_opened_that_is_outside() {
        let folder = tempfile::tempdir().unwrap();
        let policy = folder.path().join("policy");
        std::fs::create_dir(&policy).unwrap();
        for (name, text) in default_package() {
            std::fs::write(policy.join(name), text.replace("# residency", "residency")).unwrap();
        }
        let open = |region: &str| {
            let mut config = Config::default().relative_to(folder.path());
            config.policy = Some(policy.clone());
            config.region = Some(region.to_owned());
            Node::open(config, Clocks::system(), Roles::ALL).err().map(|error| error.to_string())
        };
        assert!(open("US").unwrap().contains("outside"));
        assert_eq!(open("NO"), None);
    }
}
