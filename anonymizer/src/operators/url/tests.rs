use proptest::prelude::*;

use super::*;

fn of(text: &str) -> Option<(String, String, String)> {
    let cut = Cut::of(text)?;
    let Parts { host, path, query } = cut.parts();
    Some((host.to_owned(), path.to_owned(), query.to_owned()))
}

fn cut(text: &str, host: &str, path: &str, query: &str) {
    let expected = Some((host.to_owned(), path.to_owned(), query.to_owned()));
    assert_eq!(of(text), expected, "{text}");
}

#[test]
fn urls_are_cut() {
    cut("https://example.com/a/b?c=d#e", "example.com", "/a/b", "c=d");
    cut("HTTP://Example.com", "Example.com", "", "");
    cut("https://jens:secret@example.com:8443/a", "example.com", "/a", "");
    cut("https://jens@example.com@other.example/a", "other.example", "/a", "");
    cut("https://[2001:db8::1]:8443/a", "[2001:db8::1]", "/a", "");
    cut("https://example.com?c=/d", "example.com", "", "c=/d");
    cut("https://example.com#/a@b", "example.com", "", "");
    cut("//example.com/a", "example.com", "/a", "");
    cut("/a/b?c#d", "", "/a/b", "c");
    cut("/a@b:7//c", "", "/a@b:7//c", "");
    cut("https:/example.com/a", "example.com", "/a", "");
    cut("  https://example.com/a\n", "example.com", "/a", "");
    cut("https://exa\tmple.com\\a\\b", "example.com", "/a/b", "");
    cut("/a b\\c?d", "", "/a%20b/c", "d");
}

#[test]
fn what_is_no_page_is_not() {
    for text in [
        "",
        "a",
        "a/b",
        "mailto:jens@example.com",
        "javascript:alert(1)",
        "data:text/plain,jens",
        "file:///home/jens",
        "android-app://com.example",
        "https://",
        "https://:80/",
        "ftp://a.example/b",
        "blob:https://example.com/3fa85f64",
        "https:",
        "?a",
        "#a",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
}

#[test]
fn a_path_does_not_become_a_host() {
    // Read by the standard's rules this is another host, not a path: it must not be taken for one.
    assert!(of("/\\jens.example/secret").is_none_or(|(host, ..)| host == "jens.example"));
    assert_eq!(of("/\t/jens.example/a").map(|(host, ..)| host), None);
}

/// URLs as they come, and as they should not.
fn any_url() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![Just("https://"), Just("http://"), Just("https:"), Just("HTTPS://")];
    let user = prop_oneof![Just(""), Just("jens@"), Just("jens:secret@"), Just("a@b@")];
    let host = prop_oneof![
        Just("example.com"),
        Just("www.example.co.uk"),
        Just("192.0.2.1"),
        Just("[2001:db8::1]"),
        Just("localhost")
    ];
    let port = prop_oneof![Just(""), Just(":8443"), Just(":80")];
    let rest = "([/][a-zA-Z0-9._~;=@:%-]{0,8}){0,4}([?][a-z=&/@%0-9]{0,12})?(#[a-z/?@]{0,8})?";
    (scheme, user, host, port, rest).prop_map(|(a, b, c, d, e)| format!("{a}{b}{c}{d}{e}"))
}

proptest! {
    /// The standard's own parser, by another road.
    #[test]
    fn the_cut_agrees_with_the_standard(text in any_url()) {
        let Ok(standard) = ::url::Url::parse(&text) else { return Ok(()) };
        let (host, path, query) = of(&text).expect("the standard takes it");
        prop_assert_eq!(Some(host.as_str()), standard.host_str());
        prop_assert_eq!(query, standard.query().unwrap_or(""));
        // The standard resolves dots, and writes an empty path as a slash; both are done later here.
        if !path.contains('.') && !path.to_lowercase().contains("%2e") {
            let path = if path.is_empty() { "/" } else { &path };
            prop_assert_eq!(path, standard.path());
        }
    }

    #[test]
    fn user_information_is_never_in_a_part(user in "[a-z]{12}", host in "[a-z]{3}\\.example", path in "(/[a-z]{1,5}){0,3}") {
        for separator in ["@", ":secret@", "%40x@"] {
            let (found, path, query) = of(&format!("https://{user}{separator}{host}{path}")).unwrap();
            prop_assert!(!found.contains(&user) && !path.contains(&user) && !query.contains(&user));
        }
    }

    #[test]
    fn any_text_is_survived(text in ".{0,100}") {
        of(&text);
        of(&format!("https://{text}"));
        of(&format!("/{text}"));
    }
}
