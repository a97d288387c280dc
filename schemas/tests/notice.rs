//! Notices of whole packages, against the pages as they were last looked at.
//!
//! With `GOLDEN=write` in the environment of `cargo test` the pages are written instead of compared; look at them.

use std::path::{Path, PathBuf};

use schemas::Package;
use schemas::notice::{Notice, STYLE_HASH};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn notice(name: &str) -> Notice {
    let package = Package::load(&folder(name)).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    });
    Notice::of(&package)
}

fn compare(name: &str, found: &str) {
    let path = folder("tests/notice").join(name);
    if std::env::vars().any(|(name, value)| name == "GOLDEN" && value == "write") {
        std::fs::write(&path, found).expect("the golden file can be written");
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let first = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
    assert!(expected == found, "{name} differs, first in {first:#?}");
}

#[test]
fn pages_are_as_they_were_looked_at() {
    let pages =
        [("default", "default"), ("clinic", "tests/notice/clinic"), ("promises", "tests/language")];
    for (name, package) in pages {
        let notice = notice(package);
        compare(&format!("{name}.html"), &notice.html());
        compare(&format!("{name}.md"), &notice.markdown());
        let json = serde_json::to_string_pretty(&notice).unwrap();
        compare(&format!("{name}.json"), &format!("{json}\n"));
    }
}

/// Folders of packages beside the default one, each of a published policy.
fn published() -> Vec<String> {
    let entries = std::fs::read_dir(folder(".")).expect("the crate has a folder");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut found: Vec<String> = names
        .filter(|name| name != "default" && folder(name).join("policy.toml").is_file())
        .collect();
    found.sort();
    found
}

/// Each page was read beside the published text that its package keeps: `README.md` of the package says which.
#[test]
fn pages_of_published_policies_are_as_they_were_reviewed() {
    let published = published();
    assert_eq!(published.len(), 5, "{published:?}");
    for name in published {
        compare(&format!("{name}.md"), &notice(&name).markdown());
    }
}

/// The policy that the page needs is one that allows its style and nothing else.
#[test]
fn the_hash_is_that_of_the_style_in_the_page() {
    let page = notice("default").html();
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = data_encoding::BASE64.encode(digest.as_ref());
    assert_eq!(STYLE_HASH, format!("'sha256-{hash}'"));
    assert!(!rest.contains("<style") && !page.contains(" style="));
}

#[test]
fn a_page_asks_for_nothing() {
    let page = notice("tests/notice/clinic").html();
    for word in
        ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "http:", "https:", " on"]
    {
        let attribute = page.match_indices('<').any(|(at, _)| {
            page[at..].split_once('>').is_some_and(|(tag, _)| word == " on" && tag.contains(word))
        });
        assert!(!attribute, "{word}");
        assert!(word == " on" || !page.contains(word), "{word}");
    }
    let anchors: Vec<&str> =
        page.split("href=\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert!(anchors.len() > 5);
    for anchor in anchors {
        let id = anchor.strip_prefix('#').unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{anchor}");
    }
}

/// Every declared word is in both, and so is every sentence of one in the other.
#[test]
fn both_forms_say_the_same() {
    let ours = ["default", "tests/notice/clinic", "tests/language"].map(str::to_owned);
    for package in ours.into_iter().chain(published()) {
        let notice = notice(&package);
        let (page, text) = (notice.html(), notice.markdown());
        let fields = notice.families.iter().flat_map(|family| &family.fields);
        let names = fields.map(|field| field.name.clone());
        let words = names
            .chain(notice.statistics.iter().map(|one| one.name.clone()))
            .chain(notice.purposes.iter().map(|one| one.name.clone()))
            .chain(notice.families.iter().map(|one| one.name.clone()));
        for word in words {
            assert!(page.contains(&format!("<code>{word}</code>")), "{word}");
            assert!(text.contains(&format!("`{word}`")), "{word}");
        }
        let count = |of: &str, what: &str| of.matches(what).count();
        assert_eq!(count(&page, "<h2"), count(&text, "\n## "));
        assert_eq!(count(&page, "<h3"), count(&text, "\n### "));
        assert_eq!(count(&page, "<li>"), count(&text, "\n- ") + count(&page, "<li><a"));
        assert_eq!(count(&page, "<tr "), count(&text, "\n| ") - count(&text, "\n| ---"));
    }
}

const HOSTILE: &str = "</style><script>alert(1)</script>\" onload='x' & | `code` *b* _i_ [a](javascript:x) <!-- \\n# no\\n\\n| --- |\\n\\u202e\\u0007 ![](x) \\\\";

fn hostile() -> Notice {
    let mut files: Vec<(String, String)> = Vec::new();
    for (name, text) in schemas::DEFAULT_FILES {
        let mut lines = Vec::new();
        for line in text.lines() {
            let mut line = line.to_owned();
            for key in [
                "about = \"",
                "about       = \"",
                "notice = \"",
                "title    = \"",
                "controller = \"",
                "version    = \"",
            ] {
                if let Some((before, rest)) = line.split_once(key) {
                    let (_, after) = rest.split_once('"').expect("a text ends");
                    line = format!("{before}{key}{}\"{after}", HOSTILE.replace('"', "\\\""));
                }
            }
            lines.push(line);
        }
        let told = "contact = \"<b>|\"\nauthority = \"<i>|\"";
        let text = lines.join("\n").replace("# residency = \"EEA\"", told);
        files.push((name.to_owned(), text));
    }
    let package = Package::from_files(files).unwrap_or_else(|found| {
        panic!("{}", found.iter().map(|one| format!("{one}\n")).collect::<String>())
    });
    Notice::of(&package)
}

#[test]
fn declared_text_is_text_wherever_it_stands() {
    let (notice, plain) = (hostile(), notice("default"));
    let tags = |page: &str| -> Vec<String> {
        let found = page.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0.to_owned());
        found.filter(|tag| !tag.starts_with("td")).collect()
    };
    let (page, text) = (notice.html(), notice.markdown());
    let usual = plain.html();
    assert!(page.contains("&lt;script&gt;alert(1)"));
    // Where requests and complaints go: two lines of a list more, each with a term.
    assert_eq!(tags(&page).len(), tags(&usual).len() + 2 * 4);
    for forbidden in ["<script", "</style><", "<b>", "<!--", "onload='", "\u{202e}", "\u{7}"] {
        assert!(!page.contains(forbidden), "{forbidden:?} in the page");
    }
    for forbidden in ["<script", "<b>", "<!--", "\n# no", "[a](", "![", "\u{202e}", "\u{7}"] {
        assert!(!text.contains(forbidden), "{forbidden:?} in the text");
    }
    let bars = |line: &str| line.replace("\\\\", "").replace("\\|", "").matches('|').count();
    let rows = |text: &str| -> Vec<usize> {
        text.lines().filter(|line| line.starts_with('|')).map(bars).collect()
    };
    assert_eq!(rows(&text), rows(&plain.markdown()), "no cell more, no row more");
    assert_eq!(text.lines().count(), plain.markdown().lines().count() + 2);
}

/// What nobody asked for is not said, and what is ignored is said to be.
#[test]
fn a_promise_is_said_and_its_absence_too() {
    let (promises, plain) = (notice("tests/language").markdown(), notice("default").markdown());
    for said in [
        "**Requests go to:** privacy@example.com",
        "**Complaints go to:** Datatilsynet, Denmark",
        "30 days (stated in the privacy policy)",
        "Do Not Track. Not heeded: it is counted, and changes nothing else.",
        "Global Privacy Control is honoured, but for the purpose service",
        "14 days after the day of the event; assumed: the privacy policy does not name it",
        "one of the versions 2023-11 and 2024-05 of the text, for 365 days",
        "by its purposes 1, 8 and 9 and Google's consent mode, by its type analytics\\_storage can give and refuse consent",
        "Where `under_13` says that it comes from a child",
        "Where `geolocation` says that location is off",
        "`visits.variant`: emptied 14 days after",
        "for 730 days at most, for a reason of these: statute and claim",
        "| Example Insight Inc.: compares products | third party | statistics that may be published | US, outside the European Economic Area | standard contractual clauses | stated in the privacy policy |",
        "Nothing of it is given to anybody else.",
        "No decision about anybody is made",
    ] {
        assert!(promises.contains(said), "{said} in\n{promises}");
    }
    for said in [
        "Nothing rests on consent",
        "Nobody but Example Ltd: nothing of it is given to anybody else.",
        "for nobody and for no reason",
        "Write to Example Ltd.",
        "Global Privacy Control and Do Not Track are honoured.",
    ] {
        assert!(plain.contains(said), "{said} in\n{plain}");
    }
    assert!(!plain.contains("Requests go to") && !plain.contains("comes from a child"));
}

#[test]
fn a_signal_does_what_the_bases_allow() {
    let notice = notice("tests/notice/clinic");
    let signal = &notice.signals[0];
    assert_eq!((signal.name, notice.signals[1].name), ("Sec-GPC", "DNT"));
    assert!(signal.means.contains("an objection to the purpose site."), "{}", signal.means);
    assert!(
        signal.means.contains("refusal of consent for the purpose improve"),
        "{}",
        signal.means
    );
    assert!(
        signal.means.contains("does not end the purposes billing and safety"),
        "{}",
        signal.means
    );
    let effect = |name: &str| {
        let family = notice.families.iter().find(|family| family.name == name).unwrap();
        family.under_signal.clone()
    };
    assert_eq!(
        (effect("scan").ends, effect("scan").stands),
        (vec!["improve".to_owned()], vec!["billing".to_owned()])
    );
    assert!(
        effect("scan").means.contains("The count of scanners stands, for the purpose billing.")
    );
    assert!(effect("advice").stands.is_empty());
    assert!(effect("advice").means.contains("no pseudonym is kept"));
    assert!(effect("fault").ends.is_empty());
    assert!(effect("fault").means.starts_with("Nothing changes."));
}
