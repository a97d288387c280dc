use super::*;

fn country(geo: &Geo, address: &str) -> Option<String> {
    geo.country(address.parse().unwrap()).map(|code| code.as_str().to_owned())
}

#[test]
fn the_shipped_database_knows_countries() {
    let geo = Geo::shipped().unwrap();
    for (address, code) in [
        ("130.225.0.1", "DK"),
        ("129.132.1.1", "CH"),
        ("128.32.206.1", "US"),
        ("::ffff:130.225.0.1", "DK"),
        ("2001:878::1", "DK"),
        ("2001:638::1", "DE"),
    ] {
        assert_eq!(country(&geo, address).as_deref(), Some(code), "{address}");
    }
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:192.168.1.1",
    ] {
        assert_eq!(country(&geo, address), None, "{address}");
    }
    assert!(geo.build() > Millis::parse("2026-01-01T00:00:00Z").unwrap());
}

#[test]
fn codes_are_two_upper_case_letters_of_a_country() {
    assert_eq!(country_code("DK").unwrap().as_str(), "DK");
    for code in ["", "D", "dk", "Dk", "DNK", "D1", "AP", "EU", "ZZ", "XX", "\u{e5}"] {
        assert!(country_code(code).is_none(), "{code}");
    }
}

/// The smallest MaxMind database: one node, one record for the lower half of all IPv4 addresses.
fn database(record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Record size 24: left is data offset 0 (node count + 16), right is empty (node count).
    bytes.extend_from_slice(&[0, 0, 17, 0, 0, 1]);
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(record);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let text = |text: &str| [&[0x40 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let short = |value: u8| vec![0xa1, value];
    let long = |value: u8| vec![0xc1, value];
    let mut metadata = vec![0xe9];
    for (key, value) in [
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", vec![0xa0]),
        ("build_epoch", vec![0x01, 0x02, 9]),
        ("database_type", text("test")),
        ("description", vec![0xe0]),
        ("ip_version", short(4)),
        ("languages", vec![0x00, 0x04]),
        ("node_count", long(1)),
        ("record_size", short(24)),
    ] {
        metadata.extend(text(key));
        metadata.extend(value);
    }
    bytes.extend(metadata);
    bytes
}

#[test]
fn both_layouts_are_found_out() {
    let flat = database(b"\xe1\x4ccountry_code\x42DK");
    let nested = database(b"\xe1\x47country\xe1\x48iso_code\x42SE");
    let flat = Geo::from_bytes(flat, "flat").unwrap();
    assert_eq!(country(&flat, "1.2.3.4").as_deref(), Some("DK"));
    assert_eq!(country(&flat, "200.2.3.4"), None);
    assert_eq!(flat.build(), Millis(9_000));
    let nested = Geo::from_bytes(nested, "nested").unwrap();
    assert_eq!(country(&nested, "1.2.3.4").as_deref(), Some("SE"));
}

#[test]
fn what_is_no_country_database_is_refused() {
    let city = database(b"\xe1\x44city\x43Aal");
    let odd = database(b"\xe1\x4ccountry_code\x42dk");
    for (bytes, words) in [
        (city, "neither"),
        (odd, "neither"),
        (vec![], "not a MaxMind database"),
        (vec![0; 1_000], "not a MaxMind database"),
    ] {
        let error = Geo::from_bytes(bytes, "given").err().expect("refused").to_string();
        assert!(error.contains(words) && error.contains("given"), "{error}");
    }
    assert!(matches!(Geo::open(Path::new("/nowhere/at/all")), Err(Error::Io { .. })));
}
