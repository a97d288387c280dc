use proptest::prelude::*;

use super::*;

fn of(part: &str) -> &'static str {
    match decoded(part) {
        Ok(text) => classify(&text).map_or("words", Identifier::placeholder),
        Err(found) => found.placeholder(),
    }
}

#[test]
fn words_pass() {
    for part in [
        "about-us",
        "products",
        "x1-scanner",
        "v2",
        "covid-19",
        "index.html",
        "myAccount",
        "MyAccount",
        "FAQ",
        "Privacy_Policy",
        "mp4",
        "top-10-tips",
        "getting-started",
        "documentation",
        "a",
        "en",
        "jquery.min.js",
        "lengths",
        "README",
        "wp-content",
        "caf%65",
        "dk",
    ] {
        assert_eq!(of(part), "words", "{part}");
    }
}

#[test]
fn identifiers_do_not() {
    for (part, placeholder) in [
        ("3fa85f64-5717-4562-b3fc-2c963f66afa6", ":id"),
        ("3FA85F64-5717-4562-B3FC-2C963F66AFA6", ":id"),
        ("3fa85f6457174562b3fc2c963f66afa6", ":id"),
        ("deadbeef1", ":id"),
        ("report-5f2a9c3d.pdf", ":id"),
        ("~jens", ":id"),
        ("jens@example.com", ":email"),
        ("jens%40example.com", ":email"),
        ("jens%2540example.com", ":email"),
        ("jens%252540example.com", ":email"),
        ("@jens", ":email"),
        ("417", ":number"),
        ("4520123456", ":number"),
        ("%34%31%37", ":number"),
        ("2026-11-22", ":number"),
        ("192.168.1.7", ":number"),
        ("+45%2020%2012%2034%2056", ":number"),
        ("1.5", ":number"),
        ("order-12345", ":token"),
        ("X1-2031-000417", ":token"),
        ("jens1987", ":token"),
        ("dQw4w9WgXcQ", ":token"),
        ("eyJhbGciOiJIUzI1NiJ9", ":token"),
        ("dGhpc2lzYXRva2Vu", ":token"),
        ("AbCdEfGhIj", ":token"),
        ("IwARxyz", ":token"),
        ("qwrtpsdfgh", ":token"),
        ("abcdefghijklmnopqrst", ":token"),
        ("caf%C3%A9", ":other"),
        ("\u{e9}t\u{e9}", ":other"),
        ("%FF%FE", ":other"),
        ("a%00b", ":other"),
        ("100%", ":other"),
        ("%25%25252534", ":other"),
        ("a=b", ":other"),
        ("a+b", ":other"),
        ("id:7", ":other"),
        (":id", ":other"),
        ("-", ":other"),
        ("a%2Fb", ":other"),
        ("a%3Bjsessionid=7", ":other"),
        ("(jens)", ":other"),
    ] {
        assert_eq!(of(part), placeholder, "{part}");
    }
}

#[test]
fn long_parts_do_not() {
    let long = ["word"; 14].join("-");
    assert!(long.len() > PART_BYTES_MAX);
    assert_eq!(of(&long), ":token");
}

proptest! {
    #[test]
    fn what_passes_reads_like_words(part in "\\PC{0,80}") {
        if let Ok(text) = decoded(&part) && classify(&text).is_none() {
            prop_assert!(text.len() <= PART_BYTES_MAX);
            prop_assert!(text.bytes().filter(u8::is_ascii_digit).count() <= DIGITS_MAX);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        }
    }

    #[test]
    fn the_short_way_is_a_way(part in "[a-z]{0,17}([-_.]?[a-z]{0,9}){0,4}|[a-zA-Z0-9_.-]{0,70}") {
        if plain_words(&part) {
            prop_assert_eq!(decoded(&part).unwrap(), part.as_str());
            prop_assert_eq!(classify(&part), None);
        }
    }

    #[test]
    fn decoding_undoes_encoding(text in "[a-z@/ ;%]{1,20}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        prop_assert_eq!(percent_decoded(encoded.as_bytes()), text.into_bytes());
    }
}
