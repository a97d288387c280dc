use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn of(host: &str) -> Option<String> {
    let mut out = "left over".to_owned();
    write(host, &mut out).then_some(out)
}

#[test]
fn sites_keep_their_names() {
    for (host, domain) in [
        ("example.com", "example.com"),
        ("WWW.Example.COM", "example.com"),
        ("www.example.com.", "example.com"),
        ("news.ycombinator.com", "news.ycombinator.com"),
        ("lm.facebook.com", "lm.facebook.com"),
        ("123movies.com", "123movies.com"),
        ("office365.com", "office365.com"),
        ("163.com", "163.com"),
        ("4chan.org", "4chan.org"),
        ("t.co", "t.co"),
        ("www.com", "www.com"),
        ("bbc.co.uk", "bbc.co.uk"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("a.b.c.d.e.example.com", ":other.c.d.e.example.com"),
        ("localhost", "localhost"),
    ] {
        assert_eq!(of(host).as_deref(), Some(domain), "{host}");
    }
}

#[test]
fn addresses_people_and_machines_do_not() {
    for (host, domain) in [
        ("192.0.2.1", ":ip"),
        ("[2001:db8::1]", ":ip"),
        ("0x7f.1", ":ip"),
        ("3221225985", ":ip"),
        ("jens-macbook", ":local"),
        ("jens-macbook.local", ":local"),
        ("printer.home.arpa", ":local"),
        ("3fa85f64-5717-4562-b3fc-2c963f66afa6.example.com", ":id.example.com"),
        ("u417293.example.com", ":token.example.com"),
        ("417293.example.com", ":number.example.com"),
        ("3fa85f64a.com", ":id.com"),
        ("abcdef1234567890.com", ":id.com"),
        ("jens1234567890x.com", ":token.com"),
        ("jens%40mail.example.com", ":email.example.com"),
        ("a_b(c).example.com", ":other.example.com"),
        ("\u{e9}.example.com", ":other.example.com"),
    ] {
        assert_eq!(of(host).as_deref(), Some(domain), "{host}");
    }
    assert_eq!(of(""), None);
    assert_eq!(of("."), None);
}

proptest! {
    #[test]
    fn planted_identifiers_never_survive(
        identifier in "[0-9a-f]{7}[0-9][0-9a-f]{8,24}|[0-9]{5,16}|[a-z]{3,8}[0-9]{4,6}", after in "\\.[a-z]{2,8}\\.(com|dk)",
    ) {
        let out = of(&format!("{identifier}{after}")).unwrap();
        prop_assert!(!out.contains(&identifier), "{}", out);
        let out = of(&format!("{identifier}.com")).unwrap();
        prop_assert!(!out.contains(&identifier) || identifier.len() <= SITE_BYTES_MAX, "{}", out);
        let out = of(&format!("a.{identifier}.b{after}")).unwrap();
        prop_assert!(!out.contains(&identifier), "{}", out);
    }

    #[test]
    fn addresses_never_survive(bits in any::<u32>(), long in any::<u128>()) {
        let short = Ipv4Addr::from_bits(bits);
        prop_assert_eq!(of(&short.to_string()), Some(":ip".to_owned()));
        prop_assert_eq!(of(&bits.to_string()), Some(":ip".to_owned()));
        let long = Ipv6Addr::from_bits(long);
        prop_assert_eq!(of(&format!("[{long}]")), Some(":ip".to_owned()));
    }

    #[test]
    fn any_host_gives_a_bounded_name(host in "\\PC{0,200}") {
        if let Some(out) = of(&host) {
            prop_assert!(out.len() <= 6 * 64 && out.is_ascii());
            prop_assert!(!out.contains(['@', '%', '/', ' ']));
        }
    }
}
