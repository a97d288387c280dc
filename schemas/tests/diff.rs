//! `schemas::diff` on pairs of packages: each is a base text and one edit of it.

use schemas::Package;
use schemas::diff::{Diff, Direction};

const BASE: [(&str, &str); 4] = [
    ("policy.toml", include_str!("diff/policy.toml")),
    ("use.toml", include_str!("diff/use.toml")),
    ("web.toml", include_str!("diff/web.toml")),
    ("statistics.toml", include_str!("diff/statistics.toml")),
];

fn load(files: Vec<(String, String)>, what: &str) -> Package {
    Package::from_files(files).unwrap_or_else(|found| {
        panic!("{what}: {}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    })
}

/// The base with one text in it instead of another, which must stand there once.
fn edited(from: &str, to: &str) -> Package {
    let mut found = 0;
    let files = BASE.map(|(name, text)| {
        found += text.matches(from).count();
        (name.to_owned(), text.replacen(from, to, 1))
    });
    assert_eq!(found, 1, "{from:?} stands once in the base");
    load(files.to_vec(), to)
}

fn base() -> Package {
    load(BASE.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec(), "base")
}

/// Edits that widen, and what the report says of it. The other way round each narrows.
const WIDENINGS: &[(&str, &str, &str)] = &[
    // Policy.
    ("residency = \"EEA\"\n", "", "no longer promises that data stays in EEA"),
    ("contact = \"privacy@example.com\"\n", "", "names no contact any more"),
    ("authority = \"the authority\"\n", "", "names no authority any more"),
    ("\"30 days\", source", "\"45 days\", source", "the time to answer a request is 45 days"),
    ("gpc = \"objection\"", "gpc = \"ignored\"", "no longer honours Global Privacy Control"),
    ("dnt = \"objection\"", "dnt = \"ignored\"", "no longer honours Do Not Track"),
    ("[\"name\", \"e-mail\"]", "[\"name\"]", "no longer refuses the category e-mail"),
    ("[\"image\", \"dicom\"]", "[\"image\"]", "no longer refuses the content dicom"),
    // Purposes.
    (
        "[purposes.bill]",
        "[purposes.more]\nbasis = \"consent\"\nnotice = \"for more\"\n\n[purposes.bill]",
        "purpose more: starts: for more (consent)",
    ),
    (
        "basis = \"legitimate interest\"",
        "basis = \"contract\"",
        "the basis is contract, was legitimate interest",
    ),
    (
        "keep = \"20 days\"",
        "keep = \"21 days\"",
        "how long its values are kept is 21 days, was 20 days",
    ),
    ("keep = \"20 days\"\n", "", "is as long as the row, was 20 days"),
    (
        "[\"a\", \"b\"]\nconsent_for",
        "[\"a\", \"b\", \"c\"]\nconsent_for",
        "takes consent to version c",
    ),
    ("consent_versions = [\"a\", \"b\"]\n", "", "takes consent to any version"),
    (
        "consent_for = \"365 days\"",
        "consent_for = \"366 days\"",
        "how long a consent holds is 366 days",
    ),
    ("consent_for = \"365 days\"\n", "", "how long a consent holds is without end"),
    ("tcf = [1, 8]", "tcf = [1]", "no longer needs consent to the TCF purpose 8"),
    ("tcf = [10]\n", "", "heeds TCF no more, was 10"),
    ("google = \"security_storage\"\n", "", "heeds Google's consent mode no more"),
    // Recipients.
    (
        "[legal_hold]",
        "[recipients.more]\nname = \"More\"\nrole = \"processor\"\nreceives = \"statistics\"\nabout = \"a\"\n\n[legal_hold]",
        "recipient more: More receives statistics (processor)",
    ),
    (
        "name = \"Host B.V.\"\nrole = \"processor\"\nreceives = \"rows\"\ncountry = \"NL\"\nsafeguard = \"none is needed\"\n",
        "name = \"Host B.V.\"\nrole = \"processor\"\nreceives = \"rows\"\ncountry = \"NL\"\n",
        "names no safeguard any more",
    ),
    ("at_most = \"100 days\"", "at_most = \"101 days\"", "its longest time is 101 days"),
    ("[\"claim\", \"statute\"]", "[\"claim\", \"statute\", \"audit\"]", "takes the reason audit"),
    // Families.
    (
        "epoch = \"14 days\"",
        "epoch = \"28 days\"",
        "how long a pseudonym holds is 28 days, was 14 days",
    ),
    (
        "grain = \"1 hour\"\nlate",
        "grain = \"30 minutes\"\nlate",
        "what times are rounded to is 30 minutes",
    ),
    ("late = \"2 days\"", "late = \"3 days\"", "how late an event counts is 3 days"),
    ("dedupe = \"14 days\"", "dedupe = \"15 days\"", "how long a second copy is known is 15 days"),
    (
        "purposes = [\"site\", \"improve\"]",
        "purposes = [\"site\", \"improve\", \"bill\"]",
        "also serve the purpose bill",
    ),
    ("age = \"is_child\", ", "", "no longer refuses events of children by is_child"),
    (", location = \"is_located\"", "", "no longer leaves out places by is_located"),
    // Fields.
    (
        "\nok = {",
        "\nextra = { type = \"boolean\", is = \"usage\", about = \"something else\" }\nok = {",
        "usage.extra: starts: something else (as sent), for site and improve",
    ),
    (
        "\nok = {",
        "\nextra = { type = \"boolean\", is = \"usage\", transform = \"drop\", about = \"something else\" }\nok = {",
        "(used, not stored)",
    ),
    (
        "is = \"location\", about = \"part",
        "is = \"usage\", about = \"part",
        "what it is about is usage, was location",
    ),
    ("[\"dose\", \"quick\"]", "[\"dose\", \"quick\", \"slow\"]", "tells `slow`"),
    (
        "[\"dose\", \"quick\"]",
        "[\"dose\", \"quick\", \"other\"], otherwise = \"other\"",
        "counts any other value as `other`",
    ),
    ("pattern = \"[a-z]{1,6}\"", "pattern = \"[a-z0-9]{1,7}\"", "takes the form [a-z0-9]{1,7}"),
    ("\"string(8)\"", "\"string(9)\"", "takes text of at most 9 bytes, took 8"),
    ("range = [0, 100]", "range = [0, 101]", "takes whole number from 0 to 101"),
    ("range = [0, 100]", "range = [-1, 100]", "from -1 to 100"),
    (
        "\"integer\", range = [0, 100]",
        "\"float\", range = [0.0, 100.0]",
        "takes number from 0 to 100",
    ),
    ("range = [0.0, 10.0]", "range = [0.0, 11.0]", "takes number from 0 to 11"),
    (
        "\"s\", range = [0, 60],",
        "\"ms\", range = [0, 60000],",
        "takes whole number of milliseconds",
    ),
    ("range = [0, 600]", "range = [0, 601]", "whole number of seconds from 0 to 601"),
    ("{ bucket = 1 }", "{ bucket = 0.5 }", "what is kept is rounded down to a multiple of 0.5"),
    (", transform = { bucket = 1 }", "", "what is kept is as sent"),
    ("{ bucket = 10 }", "{ bucket = 5 }", "rounded down to 5 seconds"),
    (
        "{ truncate = \"6 hours\" }",
        "{ truncate = \"1 hour\" }",
        "rounded down to 1 hour, was rounded down to 6 hours",
    ),
    (
        "{ truncate = \"major\" }",
        "{ truncate = \"major.minor\" }",
        "major and minor version, was major version",
    ),
    ("transform = { truncate = \"major\" }", "transform = \"keep\"", "what is kept is as sent"),
    (
        "\"string(100)\", is = \"usage\", transform = \"drop\"",
        "\"string(100)\", is = \"identifier\", transform = \"pseudonym\"",
        "what is kept is pseudonym for one epoch of 14 days, was nothing",
    ),
    (
        "purposes = [\"improve\"], about = \"whether it",
        "purposes = [\"improve\", \"bill\"], about = \"whether it",
        "also serves the purpose bill",
    ),
    ("part = { ", "part = { required = true, ", "an event without it is refused"),
    ("2030-01-01", "2031-01-01", "the day from which it is dropped is 2031-01-01"),
    ("expires = \"2030-01-01\", ", "", "the day from which it is dropped is never"),
    (
        "routes = [\"/blog/:article\", \"/\"]",
        "routes = [\"/\"]",
        "paths like /blog/:article are not kept as that",
    ),
    (
        "routes = [\"/blog/:article\", \"/\"]",
        "routes = [\"/blog/about\", \"/blog/:article\", \"/\"]",
        "paths like /blog/about are kept as that",
    ),
    // Statistics.
    (
        "[statistics.read]",
        "[statistics.more]\ntitle = \"More\"\nfrom = \"web\"\nmeasures = [\"visitors\"]\nevery = \"day\"\nby = [[]]\n\n[statistics.read]",
        "statistic more: starts: More; visitors every day, by all",
    ),
    (
        "measures = [\"devices\", \"events\", ",
        "measures = [\"devices\", \"events\", \"unattributed_events\", ",
        "also tells events outside the count of devices",
    ),
    ("at = [0.5]", "at = [0.5, 0.9]", "also tells 90% quantiles of took"),
    ("[[], [\"program\"], ", "[[], [\"program\"], [\"country\"], ", "is also told by country"),
    ("every = \"week\"", "every = \"day\"", "its period is day, was week"),
    ("min_contributors = 20", "min_contributors = 19", "the fewest contributors of a group is 19"),
    ("rounding = 10", "rounding = 5", "what counts are rounded to is 5"),
    ("events = 50, ", "events = 51, ", "the most events of one contributor is 51"),
    ("took = 1000", "took = 1001", "the largest sum of took of one contributor is 1001000"),
    (
        "clamp = { events = 50, sums = { took = 1000 } }",
        "clamp = { events = 50 }",
        "is not bounded, was 1000000",
    ),
    (
        "purposes = [\"improve\"]\nevery",
        "purposes = [\"improve\", \"site\"]\nevery",
        "also counts events for site",
    ),
    ("purposes = [\"improve\"]\nevery", "every", "counts events whatever they are for"),
];

/// Edits that narrow, and what the report says of the way back, which widens.
const NARROWINGS: &[(&str, &str, &str)] = &[
    ("residency = \"EEA\"", "residency = \"NL\"", "where data stays is EEA, was NL"),
    (
        "basis = \"legitimate interest\"",
        "basis = \"consent\"",
        "the basis is legitimate interest, was consent",
    ),
    ("role = \"public\"", "role = \"third party\"", "its role is public, was third party"),
    (
        "receives = \"statistics\"",
        "receives = \"publishable statistics\"",
        "what it receives is statistics, was publishable statistics",
    ),
    ("country = \"US\"", "country = \"NL\"", "its country is US, was NL"),
    (
        "[legal_hold]\nat_most = \"100 days\"\nreasons = [\"claim\", \"statute\"]\nnotice = \"where a court asks\"\n",
        "",
        "rows can be kept apart for up to 100 days, for claim and statute",
    ),
    (
        "notice = \"to make it better\"",
        "keep = \"10 days\"\nnotice = \"to make it better\"",
        "how long its values are kept is as long as the row, was 10 days",
    ),
    (
        "[recipients.shop]\nname = \"Shop Inc.\"\nrole = \"processor\"\nreceives = \"statistics\"\ncountry = \"US\"\nsafeguard = \"standard contractual clauses\"\nabout = \"sells\"\n",
        "",
        "Shop Inc. receives statistics (processor, US)",
    ),
    (
        "ok = { type = \"boolean\", is = \"usage\", purposes = [\"improve\"], about = \"whether it worked\" }\n",
        "",
        "usage.ok: starts: whether it worked",
    ),
    (
        "pattern = \"[a-z]{1,6}\"",
        "pattern = \"(?:one|two)\"",
        "takes the form [a-z]{1,6}, took (?:one|two)",
    ),
    (
        "\"string(8)\", pattern = \"[a-z]{1,6}\"",
        "[\"one\", \"two\"]",
        "takes text of at most 8 bytes",
    ),
    (
        ", \"/\"]",
        ", \"/\", \"/shop/:item\"]",
        "paths like /shop/:item are not kept as that any more",
    ),
    (
        "purposes = [\"site\", \"improve\"]",
        "purposes = [\"improve\"]",
        "also serve the purpose site",
    ),
    ("every = \"week\"", "every = \"epoch\"", "its period is week, was epoch of 14 days"),
    (", { sum = \"took\" }", "", "also tells sum of took"),
    (", [\"program\", \"country\"]", "", "is also told by country and program"),
];

/// What cannot be compared is wider both ways, and says so.
const INCOMPARABLE: &[(&str, &str)] = &[
    ("controller = \"Example Ltd\"", "controller = \"Example AG\""),
    ("tcf = [1, 8]\n", ""),
    ("google = \"analytics_storage\"\n", ""),
    ("google = \"security_storage\"", "google = \"ad_storage\""),
    ("name = \"Host B.V.\"", "name = \"Other B.V.\""),
    ("country = \"US\"", "country = \"IN\""),
    ("country = \"US\"\n", ""),
    ("field = \"serial\"", "field = \"spare\""),
    ("pattern = \"[a-z]{1,6}\"", "pattern = \"[a-m]{2,8}\""),
    ("count = { type = \"integer\", range = [0, 100]", "count = { type = \"boolean\""),
    ("{ bucket = 10 }", "{ bucket = 15 }"),
    ("grain = \"1 hour\"\nlate", "grain = \"90 minutes\"\nlate"),
    ("age = \"is_child\"", "age = \"is_located\""),
    ("{ utm = \"source\" }", "{ utm = \"medium\" }"),
];

/// Words alone.
const NEITHER: &[(&str, &str)] = &[
    ("version = \"1\"", "version = \"2\""),
    ("privacy@example.com", "data@example.com"),
    ("source = \"text\"\nkeep", "source = \"assumed\"\nkeep"),
    ("notice = \"to bill by use\"", "notice = \"to send bills\""),
    ("dpv = \"ServiceOptimisation\"\n", ""),
    ("about = \"runs the servers\"", "about = \"keeps the servers\""),
    ("about = \"one use\"\n", ""),
    ("kept_source = \"text\"\n", ""),
    ("about = \"program\"", "about = \"program that ran\""),
    ("title = \"Readers\"", "title = \"Who reads\""),
    ("[\"program\", \"country\"]", "[\"country\", \"program\"]"),
    ("[[], [\"program\"], ", "[[\"program\"], [], "),
    ("routes = [\"/blog/:article\"", "routes = [\"/blog/:post\""),
    ("residency = \"EEA\"", "residency = \"EEA\" # as before"),
    ("controller = \"Example Ltd\"", "fleet = { one = 5 }\ncontroller = \"Example Ltd\""),
    ("basis = \"legitimate interest\"", "basis = \"public interest\""),
    (
        "receives = \"publishable statistics\"\nabout",
        "receives = \"publishable statistics\"\nsource = \"text\"\nabout",
    ),
];

#[test]
fn every_widening_is_found_and_every_narrowing_passes() {
    let base = base();
    for (from, to, says) in WIDENINGS {
        let other = edited(from, to);
        let wider = Diff::between(&base, &other);
        assert_eq!(wider.result, Direction::Wider, "{to}\n{}", wider.text());
        assert!(wider.text().contains(says), "{says:?} in\n{}", wider.text());
        for change in &wider.changes {
            assert_eq!(change.direction.is_wider(), !change.why.is_empty(), "{change:?}");
        }
        let narrower = Diff::between(&other, &base);
        assert_eq!(narrower.result, Direction::Narrower, "{to}\n{}", narrower.text());
        assert_eq!(narrower.changes.len(), wider.changes.len(), "{to}\n{}", narrower.text());
    }
}

#[test]
fn every_narrowing_passes_and_the_way_back_is_wider() {
    let base = base();
    for (from, to, says) in NARROWINGS {
        let other = edited(from, to);
        let narrower = Diff::between(&base, &other);
        assert_eq!(narrower.result, Direction::Narrower, "{to}\n{}", narrower.text());
        let wider = Diff::between(&other, &base);
        assert_eq!(wider.result, Direction::Wider, "{to}\n{}", wider.text());
        assert!(wider.text().contains(says), "{says:?} in\n{}", wider.text());
    }
}

#[test]
fn what_cannot_be_compared_is_wider_both_ways() {
    let base = base();
    for (from, to) in INCOMPARABLE {
        let other = edited(from, to);
        for diff in [Diff::between(&base, &other), Diff::between(&other, &base)] {
            assert_eq!(diff.result, Direction::Wider, "{to}\n{}", diff.text());
            assert!(
                diff.text().contains("cannot be compared, so it counts as wider"),
                "{to}\n{}",
                diff.text()
            );
        }
    }
}

#[test]
fn words_alone_are_neither() {
    let base = base();
    for (from, to) in NEITHER {
        let other = edited(from, to);
        for diff in [Diff::between(&base, &other), Diff::between(&other, &base)] {
            assert_eq!(diff.result, Direction::Neither, "{to}\n{}", diff.text());
        }
    }
}

#[test]
fn what_both_widens_and_narrows_is_wider() {
    let base = base();
    for (from, to) in [
        ("[\"dose\", \"quick\"]", "[\"dose\", \"slow\"]"),
        ("range = [0, 100]", "range = [50, 150]"),
        ("[\"name\", \"e-mail\"]", "[\"name\", \"health\"]"),
        ("purposes = [\"improve\"], about", "purposes = [\"site\"], about"),
        ("min_contributors = 20\nrounding = 10", "min_contributors = 40\nrounding = 5"),
        ("[purposes.bill]", "[purposes.pay]"),
    ] {
        let other = edited(from, to);
        for diff in [Diff::between(&base, &other), Diff::between(&other, &base)] {
            assert_eq!(diff.result, Direction::Wider, "{to}\n{}", diff.text());
        }
    }
}

#[test]
fn nothing_differs_from_itself() {
    let all = WIDENINGS.iter().chain(NARROWINGS).map(|(from, to, _)| (from, to));
    let all = all.chain(INCOMPARABLE.iter().chain(NEITHER).map(|(from, to)| (from, to)));
    for (from, to) in all {
        let package = edited(from, to);
        let diff = Diff::between(&package, &package.clone());
        assert_eq!(diff.changes, [], "{to}");
        assert_eq!(diff.result, Direction::Neither);
        assert!(diff.text().contains("Nothing changes"), "{}", diff.text());
    }
}

#[test]
fn a_family_that_comes_is_told_once_and_whole() {
    let without = |name: &str| {
        let files = BASE.iter().filter(|(file, _)| ![name, "statistics.toml"].contains(file));
        load(files.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(), name)
    };
    let (less, more) = (without("web.toml"), without(""));
    let diff = Diff::between(&less, &more);
    assert_eq!(diff.changes.len(), 1, "{}", diff.text());
    let says = &diff.changes[0].says;
    assert!(
        says.contains(
            "page, campaign, site before and browser; of visitors, for site, for up to 3 days"
        ),
        "{says}"
    );
    assert_eq!(Diff::between(&more, &less).result, Direction::Narrower);
}

/// A text of a package neither ends a line nor steers a terminal.
#[test]
fn a_report_is_lines_of_text_and_json() {
    let other = edited("notice = \"to make it better\"", "notice = \"to\\u001b[31m\\nmake\"");
    let other = Diff::between(&base(), &other);
    let more = edited(
        "[purposes.bill]",
        "[purposes.evil]\nbasis = \"consent\"\nnotice = \"a\\u001b[31m\\nb\"\n\n[purposes.bill]",
    );
    let diff = Diff::between(&base(), &more);
    assert_eq!(other.result, Direction::Neither);
    assert!(!diff.text().contains('\u{1b}') && diff.text().contains("a [31m b"), "{}", diff.text());
    let json = serde_json::to_value(&diff).unwrap();
    assert_eq!(json["result"], "wider");
    assert_eq!(json["changes"][0]["place"], "purpose evil");
    assert_eq!(json["old"]["version"], "1");
    assert_eq!(json["new"]["digest"].as_str().map(str::len), Some(64));
}
