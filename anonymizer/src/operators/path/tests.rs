use proptest::prelude::*;

use super::*;

fn routes(templates: &[&str]) -> Paths {
    let template = |text: &&str| {
        let parts = text.split('/').filter(|part| !part.is_empty());
        parts
            .map(|part| match part.strip_prefix(':') {
                Some(name) => RouteSegment::Parameter(name.to_owned()),
                None => RouteSegment::Literal(part.to_owned()),
            })
            .collect()
    };
    Paths::new(&Routes { templates: templates.iter().map(template).collect() })
}

fn of(path: &str) -> String {
    let mut out = "left over".to_owned();
    routes(&["/scans/:scan/report", "/blog/:article", "/2026/sale", "/caf\u{e9}"])
        .write(path, &mut out);
    out
}

#[test]
fn declared_routes_win() {
    assert_eq!(of("/scans/X1-2031-000417/report"), "/scans/:scan/report");
    assert_eq!(of("/scans/jens@example.com/report/"), "/scans/:scan/report");
    assert_eq!(of("/blog/anything-goes;a=b"), "/blog/:article");
    assert_eq!(of("/2026/sale"), "/2026/sale", "declared words are kept as they are");
    assert_eq!(of("/2026/%73ale"), "/2026/sale");
    assert_eq!(of("/scans/x"), "/scans/x", "a route of another length does not fit");
}

#[test]
fn the_first_route_wins() {
    let mut out = String::new();
    routes(&["/a/:one", "/a/b", "/:x/:y"]).write("/a/b", &mut out);
    assert_eq!(out, "/a/:one");
}

#[test]
fn other_parts_pass_if_they_are_words() {
    assert_eq!(of("/"), "/");
    assert_eq!(of(""), "/");
    assert_eq!(of("/About-Us/Team/"), "/About-Us/Team");
    assert_eq!(of("//a///b//"), "/a/b");
    assert_eq!(
        of("/users/417/orders/3fa85f64-5717-4562-b3fc-2c963f66afa6"),
        "/users/:number/orders/:id"
    );
    assert_eq!(of("/u/jens%40example.com/x"), "/u/:email/x");
    assert_eq!(of("/a;jsessionid=ABC123DEF456/b;x"), "/a/b");
    assert_eq!(of("/a%3Bjsessionid=ABC123DEF456"), "/:other");
    assert_eq!(of("/a/./b/../c"), "/a/c");
    assert_eq!(of("/a/%2e/b/%2E%2e/c"), "/a/c");
    assert_eq!(of("/../../a"), "/a");
    assert_eq!(of("/caf%C3%A9s/b"), "/:other/b");
}

#[test]
fn what_goes_on_for_ever_is_cut() {
    assert_eq!(of("/a/b/c/d/e/f/g/h"), "/a/b/c/d/e/f/g/h");
    assert_eq!(of("/a/b/c/d/e/f/g/h/i/j"), "/a/b/c/d/e/f/g/h/:other");
    let long =
        format!("/{}", ["words-and-words-and-words-and-words-and-words-and-so-on"; 8].join("/"));
    assert!(of(&long).len() <= PATH_BYTES_MAX);
    assert!(of(&long).ends_with("/:other"));
}

/// Identifiers as they stand in paths, each with the part that must not be seen again.
fn identifier() -> impl Strategy<Value = (String, String)> {
    let same = |text: String| (text.clone(), text);
    let hex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    prop_oneof![
        hex.prop_map(same),
        "[0-9a-f]{7}[0-9][0-9a-f]{8,24}".prop_map(same),
        "[A-Za-z0-9_-]{8}[0-9][A-Za-z0-9_-]{4}[0-9]{2}[A-Za-z0-9_-]{8,20}".prop_map(same),
        "[0-9]{5,16}".prop_map(same),
        "[A-Z][0-9]-[0-9]{4}-[0-9]{6}".prop_map(same),
        "[a-z]{3,8}[0-9]{3,6}".prop_map(same),
        ("[a-z]{4,8}\\.[a-z]{4,8}", "[a-z]{3,8}\\.(com|dk)")
            .prop_map(|(name, host)| (format!("{name}@{host}"), name)),
        "[A-Za-z]{0,6}[\u{e6}\u{f8}\u{e5}\u{4e00}-\u{4e10}][A-Za-z]{4,8}".prop_map(same),
        "~[a-z]{4,10}".prop_map(|text| (text.clone(), text[1..].to_owned())),
    ]
}

/// Writes a part as clients and proxies write it.
fn written(part: &str, how: u8) -> String {
    let encode =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let once =
        |text: &str| ::url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match how {
        0 => part.to_owned(),
        1 => once(part),
        2 => encode(part),
        3 => once(&encode(part)),
        4 => once(&once(&once(part))),
        5 => format!("{part}.html"),
        6 => format!("{part};v=1;{part}"),
        7 => format!("scan-{part}"),
        8 => format!("scan.{part}.pdf"),
        9 => format!("a={part}"),
        10 => format!("({part})"),
        11 => format!("x;{part}"),
        _ => format!("{part},{part}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn planted_identifiers_never_survive(
        (planted, secret) in identifier(), how in 0_u8..13, before in 0_usize..9, query in any::<bool>(),
    ) {
        let mut url = "https://jens:secret@example.com".to_owned();
        url.push_str(&"/page".repeat(before));
        url.push('/');
        url.push_str(&written(&planted, how));
        url.push_str("/end");
        if query {
            url.push_str(&format!("?id={planted}#{planted}"));
        }
        let cut = super::super::url::Cut::of(&url).unwrap();
        let out = of(cut.parts().path);
        for form in [secret.clone(), planted, written(&secret, 1), written(&secret, 2), written(&secret, 4)] {
            prop_assert!(!out.to_lowercase().contains(&form.to_lowercase()), "{} from {}", out, url);
        }
        prop_assert!(!out.contains("jens") && !out.contains("secret"));
    }

    #[test]
    fn a_route_hides_whatever_stands_in_its_parameter(name in "[a-z]{4,12}", how in 0_u8..13) {
        let part = written(&name, how);
        prop_assume!(!part.is_empty() && !part.starts_with(';'));
        prop_assert_eq!(of(&format!("/blog/{part}")), "/blog/:article");
    }

    #[test]
    fn any_path_gives_a_bounded_template(path in "\\PC{0,400}") {
        let out = of(&path);
        prop_assert!(out.starts_with('/') && out.len() <= PATH_BYTES_MAX && out.is_ascii());
        prop_assert!(!out.contains(['?', '#', '@', '%', ';']));
    }
}
