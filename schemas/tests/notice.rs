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
    for (name, package) in [("default", "default"), ("clinic", "tests/notice/clinic")] {
        let notice = notice(package);
        compare(&format!("{name}.html"), &notice.html());
        compare(&format!("{name}.md"), &notice.markdown());
        let json = serde_json::to_string_pretty(&notice).unwrap();
        compare(&format!("{name}.json"), &format!("{json}\n"));
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
    for package in ["default", "tests/notice/clinic"] {
        let notice = notice(package);
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
    assert_eq!(tags(&page).len(), tags(&usual).len());
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
    assert_eq!(text.lines().count(), plain.markdown().lines().count() + 1);
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
