use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::testing::shop;

const LIMITS: Limits = Limits { events_max: 1, event_bytes_max: 1000 };

/// The fields of the event, in order, the site first, and how many names were undeclared.
fn told(body: &str) -> Result<(Vec<String>, u32), BodyError> {
    let plan = Plan::new(shop());
    let decoded = decode(&plan, body.as_bytes(), LIMITS)?;
    let cells = &decoded.cells;
    let [event] = &cells.events[..] else { panic!("not one event") };
    assert_eq!(event.fault, None);
    let mut fields = vec![format!("site={}", decoded.site().unwrap_or_default())];
    for entry in &cells.entries[event.entries.clone()] {
        let value = match (cells.text(entry.cell), entry.cell) {
            (Some(text), _) => text.to_owned(),
            (None, Cell::Null) => "null".to_owned(),
            (None, Cell::Boolean(truth)) => truth.to_string(),
            (None, Cell::Nested) => "nested".to_owned(),
            (None, Cell::Said(_)) => "said".to_owned(),
            (None, cell) => cell.float().expect("a number").to_string(),
        };
        fields.push(format!("{}={value}", plan.name(entry.word)));
    }
    assert_eq!(fields.remove(1), "type=web");
    Ok((fields, event.undeclared))
}

/// The same, without the site.
fn fields(body: &str) -> Vec<String> {
    told(body).map(|(fields, _)| fields[1..].to_vec()).unwrap_or_else(|error| panic!("{error}"))
}

fn undeclared(body: &str) -> u32 {
    told(body).map_or_else(|error| panic!("{error}"), |(_, undeclared)| undeclared)
}

#[test]
fn short_and_long_names_say_the_same() {
    let short = r#"{"n":"pageview","u":"https://a.example/x","d":"a.example","r":"https://b.example/",
        "p":{"plan":"pro"},"$":{"amount":15.5,"currency":"EUR"},"v":36,"h":0,"w":1280,"i":false}"#;
    let long = r#"{"name":"pageview","url":"https://a.example/x","domain":"a.example","referrer":"https://b.example/",
        "props":{"plan":"pro"},"revenue":{"amount":15.5,"currency":"EUR"},"interactive":false}"#;
    let expected = [
        "site=a.example",
        "name=pageview",
        "url=https://a.example/x",
        "referrer=https://b.example/",
        "plan=pro",
        "revenue=15.5",
        "currency=EUR",
    ];
    let expected = Ok((expected.map(str::to_owned).to_vec(), 0));
    assert_eq!(told(short), expected);
    assert_eq!(told(long), expected);
}

#[test]
fn properties_come_as_an_object_or_as_a_text_that_holds_one() {
    let object = r#"{"n":"x","p":{"plan":"p\u0072o","colour":"red","note":{"a":[1]}}}"#;
    let text =
        r#"{"n":"x","p":"{\"plan\":\"p\\u0072o\",\"colour\":\"red\",\"note\":{\"a\":[1]}}"}"#;
    for body in [object, text] {
        assert_eq!(fields(body), ["name=x", "plan=pro"], "{body}");
        assert_eq!(undeclared(body), 2, "{body}");
    }
    let plain = r#"{"n":"x","$":"{\"amount\":3}"}"#;
    assert_eq!(fields(plain), ["name=x", "revenue=3"]);
}

#[test]
fn properties_cannot_say_what_the_event_says_itself() {
    let body = r#"{"n":"x","p":{"name":"y","url":"https://c.example/","referrer":"r","engaged":1,"scroll_depth":2,
        "revenue":3,"currency":"EUR","type":"device_usage","id":"1","time":1,"consent":{"website":true},
        "end_user":{"address":"192.0.2.1"},"site":"other","country":"DK","events":[]}}"#;
    assert_eq!(fields(body), ["name=x"]);
    assert_eq!(undeclared(body), 15);
    assert_eq!(undeclared(r#"{"n":"x","type":"device_usage","id":"1","end_user":{}}"#), 3);
}

/// The trackers say nothing of it; who else posts here may, where the native protocol has it.
#[test]
fn consent_and_signals_may_stand_beside_the_properties() {
    let body = r#"{"n":"x","consent":{"website":true},"signals":{"gpc":true},"p":{"signals":{"gpc":false}}}"#;
    assert_eq!(fields(body), ["name=x", "consent=said", "signals=said"]);
    assert_eq!(undeclared(body), 1);
    assert!(told(r#"{"n":"x","consent":{},"consent":{}}"#).is_err());
}

#[test]
fn names_of_refused_things_are_counted_wherever_they_stand() {
    for body in [
        r#"{"n":"x","email":"y"}"#,
        r#"{"n":"x","p":{"email":"y"}}"#,
        r#"{"n":"x","p":"{\"email\":\"y\"}"}"#,
        r#"{"n":"x","$":{"email":"y"}}"#,
    ] {
        assert_eq!(
            (fields(body), undeclared(body)),
            (vec!["name=x".to_owned(), "e-mail=1".to_owned()], 1)
        );
    }
    let twice = r#"{"n":"x","email":1,"p":"{\"email\":1}","$":{"mail":1}}"#;
    assert_eq!(fields(twice), ["name=x", "e-mail=3"]);
}

#[test]
fn what_holds_no_properties_costs_nothing_but_itself() {
    for p in [
        "\"garbage\"",
        "\"\"",
        "[1,{\"plan\":\"pro\"}]",
        "17",
        "true",
        r#""[[[[""#,
        r#""{\"plan\":""#,
    ] {
        let body = format!(r#"{{"n":"x","p":{p},"sd":5}}"#);
        assert_eq!(fields(&body), ["name=x", "scroll_depth=5"], "{body}");
        assert_eq!(undeclared(&body), 1, "{body}");
    }
    assert_eq!(undeclared(r#"{"n":"x","p":null,"$":null}"#), 0);
    let deep = format!(r#"{{"n":"x","p":"{}"}}"#, "[".repeat(20_000));
    assert_eq!(undeclared(&deep), 1);
    let deep = format!(r#"{{"n":"x","p":"{{\"plan\":{}}}"}}"#, "[".repeat(20_000));
    assert_eq!((fields(&deep), undeclared(&deep)), (vec!["name=x".to_owned()], 1));
}

#[test]
fn a_click_on_a_link_says_where_to_and_other_events_do_not() {
    for p in [r#"{"url":"https://b.example/x"}"#, r#""{\"url\":\"https://b.example/x\"}""#] {
        let click = format!(r#"{{"p":{p},"n":"Outbound Link: Click"}}"#);
        assert_eq!(fields(&click), ["name=outbound_link", "target=https://b.example/x"]);
        assert_eq!(undeclared(&click), 0);
        let download = format!(r#"{{"n":"File Download","p":{p}}}"#);
        assert_eq!(
            (fields(&download), undeclared(&download)),
            (vec!["name=download".to_owned()], 1)
        );
        for revenue in ["\"{}\"", "{}", "null"] {
            let sale = format!(r#"{{"n":"Outbound Link: Click","p":{p},"$":{revenue}}}"#);
            assert_eq!(
                fields(&sale),
                ["name=outbound_link", "target=https://b.example/x"],
                "{sale}"
            );
        }
    }
}

#[test]
fn a_site_is_the_first_of_a_list() {
    for (d, site) in
        [("a.example,b.example", "a.example"), ("a.example", "a.example"), (",b", ""), ("", "")]
    {
        let (fields, _) = told(&format!(r#"{{"d":"{d}"}}"#)).unwrap();
        assert_eq!(fields, [format!("site={site}")]);
    }
    let escaped = told(r#"{"d":"a\u002eexample,b"}"#).unwrap();
    assert_eq!(escaped.0, ["site=a.example"]);
    assert_eq!(told(r#"{"d":7}"#).unwrap().0, ["site="]);
}

#[test]
fn names_are_found_as_they_are_declared() {
    for (sent, kept) in [
        ("pageview", "pageview"),
        ("Signup", "signup"),
        ("File Download", "download"),
        ("Outbound Link: Click", "outbound_link"),
        ("Form: Submission", "form"),
        ("404", "error"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("", ""),
    ] {
        assert_eq!(fields(&format!(r#"{{"n":"{sent}"}}"#)), [format!("name={kept}")]);
    }
}

#[test]
fn measures_beyond_their_range_are_its_end() {
    for (e, sd, expected) in [
        ("3830", "82", ["engaged=3830", "scroll_depth=82"]),
        ("9e99", "255", ["engaged=3600000", "scroll_depth=100"]),
        ("-5", "-1", ["engaged=0", "scroll_depth=0"]),
        ("12.6", "99.9", ["engaged=13", "scroll_depth=100"]),
        ("\"5\"", "null", ["engaged=5", "scroll_depth=null"]),
    ] {
        assert_eq!(fields(&format!(r#"{{"e":{e},"sd":{sd}}}"#)), expected);
    }
}

#[test]
fn a_fragment_is_part_of_the_page_where_it_is_a_path_and_the_tracker_says_so() {
    for (u, page) in [
        ("https://a.example/#/orders/open", "https://a.example/orders/open"),
        ("https://a.example/app/#!/orders?q=1", "https://a.example/app/orders"),
        (
            "https://a.example/app?utm_source=x#/orders&y",
            "https://a.example/app/orders?utm_source=x",
        ),
        ("https://a.example#/o#token", "https://a.example/o"),
        ("https://a.example/#access_token=1", "https://a.example/#access_token=1"),
        ("https://a.example/", "https://a.example/"),
    ] {
        for h in ["1", "true"] {
            assert_eq!(fields(&format!(r#"{{"h":{h},"u":"{u}"}}"#)), [format!("url={page}")]);
        }
        for h in ["0", "false", "null", "\"1\"", "[]"] {
            assert_eq!(fields(&format!(r#"{{"h":{h},"u":"{u}"}}"#)), [format!("url={u}")]);
        }
    }
}

#[test]
fn what_stands_twice_is_an_error_and_so_is_what_is_no_object() {
    for body in [
        r#"{"n":"a","n":"b"}"#,
        r#"{"n":"a","name":"b"}"#,
        r#"{"p":{},"props":{}}"#,
        r#"{"d":"a","domain":"b"}"#,
    ] {
        assert_eq!(told(body), Err(BodyError::Repeats), "{body}");
    }
    let many = format!(r#"{{"p":{{{}"plan":"pro"}}}}"#, r#""plan":"pro","#.repeat(1000));
    assert_eq!(told(&many), Err(BodyError::Repeats));
    for body in ["[]", "7", "null", "true", r#""n""#, r#"[{"n":"a"}]"#] {
        assert_eq!(told(body), Err(BodyError::NoEvent), "{body}");
    }
    assert_eq!(told(" "), Err(BodyError::Empty));
    assert!(matches!(told(r#"{"n":"a""#), Err(BodyError::Truncated { .. })));
    assert!(matches!(told(r#"{"n":"a"} {}"#), Err(BodyError::Syntax { .. })));
    assert!(matches!(told(&"[".repeat(9000)), Err(BodyError::TooDeep { .. })));
    let plan = Plan::new(shop());
    let decoded = decode(&plan, b"{\"n\":\"\xff\"}", LIMITS);
    assert!(matches!(decoded, Err(BodyError::NotUtf8 { line: 1, column: 7 })));
}

#[test]
fn texts_are_as_long_as_configured_and_no_longer() {
    let plan = Plan::new(shop());
    let body = format!(r#"{{"u":"https://a.example/{}"}}"#, "x".repeat(1000));
    let decoded = decode(&plan, body.as_bytes(), LIMITS).unwrap();
    assert_eq!(decoded.cells.events[0].fault, Some(crate::decode::Fault::TooLong));
}

#[test]
fn a_large_body_of_nothing_is_read_in_no_time() {
    let body = format!(r#"{{"n":"x","p":"{}"}}"#, r#"{\"a\":"#.repeat(200_000));
    let start = Instant::now();
    assert_eq!(undeclared(&body), 1);
    assert!(start.elapsed().as_secs() < 5);
}

proptest! {
    #[test]
    fn no_error_repeats_what_it_read(
        word in "[a-z]{9}canary",
        at in 0_usize..9,
        cut in 0_usize..200,
    ) {
        let mut values = ["\"n\"", "\"u\"", "\"d\"", "{\"plan\":\"a\"}", "1", "2", "null", "{}", "[]"]
            .map(str::to_owned);
        values[at] = format!("\"{word}\\u00e9{word}\"");
        let names = ["n", "u", "d", "p", "e", "sd", "r", "$", &word];
        let pairs = names.iter().zip(&values).map(|(name, value)| format!("\"{name}\":{value}"));
        let body = format!("{{{}}}", pairs.collect::<Vec<_>>().join(","));
        let end = (0..=cut.min(body.len())).rev().find(|end| body.is_char_boundary(*end));
        for body in [&body[..end.unwrap_or(0)], &body] {
            let plan = Plan::new(shop());
            if let Err(error) = decode(&plan, body.as_bytes(), LIMITS) {
                let said = format!("{error} {error:?}");
                prop_assert!(!said.contains("canary"));
            }
        }
    }
}
