//! Packages that must load, and what they compile to.

use arrow::datatypes::DataType;
use schemas::forecast::{self, ASSUMPTIONS};
use schemas::model::{
    Category, ContributorSource, Every, Field, GoogleConsent, Honoured, Kind, Measure, Mechanism,
    PurposeSet, Receives, Role, RouteSegment, Source, Stated, Transform, Truncate, Utm,
};
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Family, Millis, Package, columns};

fn folder(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn default_files() -> Vec<(String, String)> {
    schemas::DEFAULT_FILES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
}

fn load(files: Vec<(String, String)>) -> Package {
    Package::from_files(files).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    })
}

fn field<'a>(family: &'a Family, name: &str) -> &'a Field {
    family.field(name).expect("the field is declared").1
}

/// The base of the golden tests, with a list of values in place of its products.
fn with_products(products: &str, otherwise: &str) -> Result<Package, Vec<schemas::Diagnostic>> {
    let usage = include_str!("golden/base/usage.toml")
        .replace("type = [\"one\", \"two\"]", &format!("type = [{products}]{otherwise}"));
    Package::from_files(vec![
        ("policy.toml".to_owned(), include_str!("golden/base/policy.toml").to_owned()),
        ("usage.toml".to_owned(), usage),
    ])
}

#[test]
fn the_default_package_is_the_same_in_its_folder_and_in_the_binary() {
    let loaded = Package::load(&folder("default")).unwrap();
    assert_eq!(loaded.digest, load(default_files()).digest);
    let names: Vec<&str> = loaded.families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names, ["device_usage", "web"]);
}

#[test]
fn the_example_means_what_it_says() {
    let package = Package::load(&folder("tests/example")).unwrap();
    assert_eq!(package.residency.as_deref(), Some("EEA"));
    assert_eq!(package.fleet, [("x1".to_owned(), 300), ("kathea".to_owned(), 900)]);
    assert_eq!((package.purposes[0].name.as_str(), package.answer_within_days), ("improve", 30));
    let (_, family) = package.family("device_usage").unwrap();
    assert_eq!(family.contributor.source, ContributorSource::Field(0));
    assert_eq!((family.epoch_days, family.grain_ms), (28, HOUR_MS));
    assert_eq!((family.late_ms, family.dedupe_window_ms), (7 * DAY_MS, 28 * DAY_MS));
    assert!(matches!(
        field(family, "version").transform,
        Transform::Truncate(Truncate::MajorMinor)
    ));
    assert_eq!(field(family, "country").source, Source::Address);
    let Kind::Enum { values, otherwise } = &field(family, "scan_program").kind else { panic!() };
    assert_eq!((values.len(), *otherwise, values[4].as_str()), (5, Some(4), "other"));
    let Kind::Duration { unit_ms, max, .. } = field(family, "duration").kind else { panic!() };
    assert_eq!((unit_ms, max), (1, 3_600_000));
    assert_eq!(field(family, "error").expires, Millis::parse("2027-12-31T00:00:00Z"));
    let scans = package.statistic("scans").unwrap();
    let columns: Vec<String> = scans.measures.iter().flat_map(Measure::columns).collect();
    assert_eq!(columns, ["events", "mean_duration", "p50_duration", "p95_duration"]);
    assert_eq!((scans.every, scans.clamp.events, scans.by.len()), (Every::Day, Some(60), 2));
    let threshold = Mechanism::Threshold { min_contributors: 10, rounding: 5 };
    assert_eq!(scans.mechanism, threshold);
}

#[test]
fn a_web_family_has_short_times_and_fields_of_the_connection() {
    let package = load(default_files());
    let (_, web) = package.family("web").unwrap();
    assert_eq!(web.contributor.source, ContributorSource::Visit);
    assert_eq!((web.epoch_days, web.late_ms, web.dedupe_window_ms), (1, 2 * HOUR_MS, 2 * DAY_MS));
    let (url, _) = web.field("url").unwrap();
    let page = field(web, "page");
    assert_eq!(page.source, Source::Field(url));
    let Transform::Path(routes) = &page.transform else { panic!() };
    assert_eq!(routes.templates[0][0], RouteSegment::Literal("blog".to_owned()));
    assert_eq!(routes.templates[0][1], RouteSegment::Parameter("article".to_owned()));
    let campaign = field(web, "utm_campaign");
    assert!(matches!(campaign.transform, Transform::Utm(Utm::Campaign)));
    assert!(matches!(campaign.kind, Kind::String { pattern: Some(_), .. }));
    let sent: Vec<&str> = web.body_fields().map(|(_, field)| field.name.as_str()).collect();
    assert_eq!(sent, ["name", "url", "referrer", "target", "engaged", "scroll_depth"]);
}

#[test]
fn what_is_silent_gets_the_defaults_of_its_contributor() {
    let text = |contributor: &str| {
        format!(
            "family = \"f\"\ncontributor = {contributor}\npurposes = [\"improve\"]\n[fields]\n\
             serial = {{ type = \"string(9)\", is = \"identifier\", transform = \"pseudonym\", about = \"serial\" }}\n"
        )
    };
    let policy = include_str!("golden/base/policy.toml").to_owned();
    let family = |contributor: &str| {
        let files = vec![
            ("policy.toml".to_owned(), policy.clone()),
            ("f.toml".to_owned(), text(contributor)),
        ];
        load(files).families.remove(0)
    };
    let device = family("{ field = \"serial\" }");
    assert_eq!((device.epoch_days, device.late_ms), (28, 7 * DAY_MS));
    assert_eq!((device.dedupe_window_ms, device.grain_ms), (28 * DAY_MS, HOUR_MS));
    assert_eq!(device.contributor.called, "contributors");
    let visit = family("{ from = \"visit\" }");
    assert_eq!((visit.epoch_days, visit.late_ms), (1, 2 * HOUR_MS));
    assert_eq!(visit.dedupe_window_ms, 2 * DAY_MS);
    assert_eq!(visit.contributor.called, "visitors");
    let package = load(vec![
        ("policy.toml".to_owned(), policy.clone()),
        ("f.toml".to_owned(), text("{ from = \"visit\" }")),
    ]);
    assert_eq!(package.refused.categories.len(), 11, "a silent package refuses everything");
    assert_eq!(package.refused.content.len(), 3);
}

#[test]
fn consent_recipients_flags_and_periods_are_read() {
    let package = load(vec![
        ("policy.toml".to_owned(), include_str!("language/policy.toml").to_owned()),
        ("visits.toml".to_owned(), include_str!("language/visits.toml").to_owned()),
        ("statistics.toml".to_owned(), include_str!("language/statistics.toml").to_owned()),
    ]);
    let (agreed, website) = package.purpose("website").unwrap();
    assert_eq!((website.source, website.keep_source), (Stated::Text, Stated::Assumed));
    assert_eq!((website.keep_days, website.consent_days), (Some(14), Some(365)));
    assert_eq!(website.consent_versions, ["2023-11", "2024-05"]);
    assert_eq!(website.tcf, [1, 8, 9]);
    assert_eq!(website.google, Some(GoogleConsent::AnalyticsStorage));
    let (security, _) = package.purpose("security").unwrap();
    let (contract, _) = package.purpose("service").unwrap();
    let kept = |purposes: &[usize]| {
        let set = purposes.iter().fold(PurposeSet::default(), |set, one| set.with(*one));
        package.kept_days(set)
    };
    assert_eq!((kept(&[agreed]), kept(&[agreed, security])), (Some(14), Some(30)));
    assert_eq!((kept(&[security, contract]), kept(&[])), (None, None), "one has no end");
    assert_eq!(package.signals, Honoured { gpc: true, dnt: false });
    assert_eq!(
        (package.contact.as_deref(), package.answer_source),
        (Some("privacy@example.com"), Stated::Text)
    );
    let [hosting, insight] = &package.recipients[..] else { panic!() };
    assert_eq!((hosting.role, hosting.receives), (Role::Processor, Receives::Rows));
    assert_eq!((insight.role, insight.receives), (Role::ThirdParty, Receives::Publishable));
    assert_eq!(insight.safeguard.as_deref(), Some("standard contractual clauses"));
    let hold = package.legal_hold.as_ref().unwrap();
    assert_eq!((hold.days_max, hold.reasons.len()), (730, 2));
    let (_, visits) = package.family("visits").unwrap();
    let named = |index: Option<usize>| visits.fields[index.unwrap()].name.as_str();
    assert_eq!(
        (named(visits.flags.age), named(visits.flags.location)),
        ("under_13", "geolocation")
    );
    assert_eq!(visits.kept_source, Stated::Text);
    assert_eq!(field(visits, "variant").category, Category::Experiment);
    let purposes = package.statistic("pages").unwrap().purposes.unwrap();
    assert!(purposes.has(agreed) && !purposes.has(security));
    assert_eq!(package.statistic("all").unwrap().purposes, None);
}

#[test]
fn the_table_of_a_family_has_its_stored_fields_between_the_fixed_columns() {
    let package = Package::load(&folder("tests/example")).unwrap();
    let schema = package.families[0].stored_schema();
    let names: Vec<&str> = schema.fields().iter().map(|column| column.name().as_str()).collect();
    assert_eq!(&names[..4], [columns::DAY, columns::TIME, columns::CONTRIBUTOR, columns::EPOCH]);
    let declared = ["product", "version", "country", "scan_program", "duration", "error"];
    assert_eq!(&names[4..10], declared, "no serial number");
    assert_eq!(&names[10..], ["_key", "_clock", "_partition", "_position", "_row", "_purposes"]);
    let kind = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(kind("day"), DataType::Date32);
    assert_eq!(kind("time"), columns::timestamp());
    assert_eq!(kind("duration"), DataType::Int64);
    assert_eq!(kind("version"), DataType::Utf8);
    assert_eq!(kind("contributor"), DataType::Binary);
    let required: Vec<&str> = schema
        .fields()
        .iter()
        .filter(|column| !column.is_nullable())
        .map(|column| column.name().as_str())
        .collect();
    assert_eq!(required, ["day", "time", "epoch", "_partition", "_position", "_row"]);
}

#[test]
fn dropped_fields_have_no_column_and_foreign_identifiers_are_binary() {
    let package = with_products("\"one\", \"two\"", "").unwrap();
    let schema = package.families[0].stored_schema();
    assert!(schema.field_with_name("note").is_err());
    assert!(schema.field_with_name("serial").is_err());
    assert_eq!(schema.field_with_name("other").unwrap().data_type(), &DataType::Binary);
    assert_eq!(schema.field_with_name("weight").unwrap().data_type(), &DataType::Float64);
    assert_eq!(schema.field_with_name("ok").unwrap().data_type(), &DataType::Boolean);
    assert_eq!(schema.field_with_name("began").unwrap().data_type(), &columns::timestamp());
}

#[test]
fn a_list_has_at_most_65535_values() {
    let list = |count: usize| {
        (0..count).map(|value| format!("\"v{value}\"")).collect::<Vec<_>>().join(",")
    };
    let package = with_products(&list(65_534), ", otherwise = \"other\"").unwrap();
    let Kind::Enum { values, otherwise } = &field(&package.families[0], "product").kind else {
        panic!()
    };
    assert_eq!((values.len(), *otherwise), (65_535, Some(65_534)));
    for (count, otherwise) in [(65_535, ", otherwise = \"other\""), (65_536, "")] {
        let found = with_products(&list(count), otherwise).unwrap_err();
        assert!(found[0].message.contains("more than 65535 values (65536)"), "{}", found[0]);
    }
}

#[test]
fn every_file_and_name_is_in_the_digest() {
    let digest = |files: Vec<(String, String)>| load(files).digest;
    let files = default_files();
    let mut reversed = files.clone();
    reversed.reverse();
    assert_eq!(digest(files.clone()), digest(reversed));
    let mut commented = files.clone();
    commented[0].1.push_str("# one more line\n");
    assert_ne!(digest(files.clone()), digest(commented));
    let mut renamed = files.clone();
    renamed[1].0 = "site.toml".to_owned();
    assert_ne!(digest(files.clone()), digest(renamed));
    assert_eq!(digest(files).to_string().len(), 64);
}

#[test]
fn a_folder_without_a_package_says_so() {
    let empty = tempfile::tempdir().unwrap();
    let found = Package::load(empty.path()).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().starts_with("policy.toml:1:1: the package has no such file"));
    let found = Package::load(&empty.path().join("nowhere")).unwrap_err();
    assert!(found[0].message.contains("cannot be read"));
    let policy = include_str!("golden/base/policy.toml").to_owned();
    let huge = "#".repeat((1 << 20) + 1);
    let files = vec![("policy.toml".to_owned(), policy.clone()), ("huge.toml".to_owned(), huge)];
    let found = Package::from_files(files).unwrap_err();
    assert!(found[0].message.contains("larger than 1 MiB"));
    let found = Package::from_files(vec![("policy.toml".to_owned(), policy)]).unwrap_err();
    assert!(found[0].message.contains("declares no family"));
}

#[test]
fn other_files_of_the_folder_are_left_alone() {
    let copy = tempfile::tempdir().unwrap();
    for (name, text) in default_files() {
        std::fs::write(copy.path().join(name), text).unwrap();
    }
    std::fs::write(copy.path().join("README.md"), [0xff, 0xfe]).unwrap();
    std::fs::write(copy.path().join(".hidden.toml"), "family = ").unwrap();
    assert_eq!(Package::load(copy.path()).unwrap().digest, load(default_files()).digest);
    std::fs::write(copy.path().join("bad.toml"), [0xff, 0xfe]).unwrap();
    let found = Package::load(copy.path()).unwrap_err();
    assert!(found[0].file.ends_with("bad.toml"), "{}", found[0]);
}

#[test]
fn bounds_and_clamps_are_in_units_at_rest() {
    let statistics = "[statistics.s]\nfrom = \"usage\"\nevery = \"day\"\n\
        measures = [{ sum = \"idle\" }, { quantiles = \"idle\", at = [0.5] }]\n\
        clamp = { events = 5, sums = { idle = 100 } }\n";
    let usage = include_str!("golden/base/usage.toml").to_owned()
        + "idle = { type = \"s\", range = [3, 3600], is = \"usage\", transform = { bucket = 5 }, about = \"time\" }\n";
    let package = load(vec![
        ("policy.toml".to_owned(), include_str!("golden/base/policy.toml").to_owned()),
        ("usage.toml".to_owned(), usage),
        ("statistics.toml".to_owned(), statistics.to_owned()),
    ]);
    let (index, idle) = package.families[0].field("idle").unwrap();
    assert!(matches!(idle.transform, Transform::Bucket(5_000.0)));
    assert_eq!(package.statistics[0].clamp.sums, [(index, 100_000.0)]);
    assert_eq!(package.statistics[0].by, [Vec::<usize>::new()]);
    let Measure::Sum(number) = &package.statistics[0].measures[0] else { panic!() };
    assert_eq!((number.min, number.max, number.bucket), (0.0, 3_600_000.0, 5_000.0));
}

#[test]
fn refusals_quote_declared_words_only() {
    let package = load(default_files());
    let (_, web) = package.family("web").unwrap();
    assert_eq!(field(web, "scroll_depth").kind.expected(), "whole number from 0 to 100");
    assert_eq!(
        field(web, "engaged").kind.expected(),
        "whole number of milliseconds from 0 to 3600000"
    );
    assert!(field(web, "utm_source").kind.expected().contains("[A-Za-z][A-Za-z0-9_-]{0,30}"));
    assert!(field(web, "name").kind.expected().contains("pageview"));
}

#[test]
fn a_description_names_every_field_purpose_and_statistic() {
    let package = load(default_files());
    let text = package.describe();
    let fields = package.families.iter().flat_map(|family| &family.fields).map(|field| &field.name);
    let purposes = package.purposes.iter().map(|purpose| &purpose.notice);
    let statistics = package.statistics.iter().map(|statistic| &statistic.title);
    for word in fields.chain(purposes).chain(statistics) {
        assert!(text.contains(word.as_str()), "{word} is missing in\n{text}");
    }
    assert!(text.contains("a row is gone 30 days after it came at the latest"), "{text}");
    assert!(text.contains("pseudonym") && text.contains("staff only, not anonymous"));
}

#[test]
fn a_forecast_counts_groups_that_reach_k_and_states_its_assumptions() {
    let package = Package::load(&folder("tests/example")).unwrap();
    let forecasts = forecast::forecast(&package, None).unwrap();
    let one = |grouping: &str| {
        let found = forecasts
            .iter()
            .find(|one| one.statistic == "active_devices" && one.grouping == grouping);
        found.unwrap()
    };
    assert_eq!((one("all").contributors, one("all").visible), (1200, 1));
    let product = one("product");
    assert_eq!((product.visible, product.groups), (2, 2.0));
    assert!((product.covered - 1.0).abs() < 1e-9, "the fleet says how products spread");
    let country = one("product and country");
    assert!(country.visible > 2 && (country.visible as f64) < country.groups);
    assert!(country.covered > 0.3 && country.covered < 1.0);
    let text = forecast::table(&forecasts);
    assert!(text.starts_with(ASSUMPTIONS));
    assert!(text.contains("product and version"));
    let few = forecast::forecast(&package, Some(9)).unwrap();
    assert!(few.iter().all(|one| one.visible == 0 && one.covered == 0.0));
    assert!(forecast::forecast(&load(default_files()), None).is_none(), "no fleet, no guess");
}

/// The packages of five published policies, each in its folder.
const POLICIES: [&str; 5] =
    ["copenhagen-imaging", "cephio", "lab-dental-digital", "3d4medical", "ceetron"];

#[test]
fn the_five_policies_load_and_every_family_has_a_statistic() {
    for name in POLICIES {
        let package = Package::load(&folder(name)).unwrap_or_else(|found| {
            panic!("{name}:\n{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
        });
        for (index, family) in package.families.iter().enumerate() {
            let told = package.statistics.iter().any(|statistic| statistic.family == index);
            assert!(told, "{name}: nothing is ever seen of `{}`", family.name);
        }
    }
}

#[test]
fn what_made_up_events_look_like_is_no_part_of_a_package() {
    let mut files = default_files();
    let digest = load(files.clone()).digest;
    files.push((schemas::GENERATE_FILE.to_owned(), "what = [\"ever\"]".to_owned()));
    assert_eq!(load(files).digest, digest);
}
