//! Registries of who may write and read.

use schemas::Millis;
use schemas::access::{AccessError, Readers, SourceKind, Sources};

const NOW: Millis = Millis(1_795_000_000_000);

fn add(sources: &mut Sources, name: &str, kind: SourceKind, entropy: u8) -> String {
    let secret =
        sources.add(name, kind, Vec::new(), Vec::new(), NOW, [entropy; 20]).expect("it is new");
    secret.reveal().to_owned()
}

#[test]
fn a_key_opens_its_source_and_nothing_else() {
    let mut sources = Sources::default();
    let device = add(&mut sources, "scanner", SourceKind::Device, 1);
    let server = add(&mut sources, "backend", SourceKind::Server, 2);
    assert!(device.starts_with("qd_") && server.starts_with("qs_"));
    assert_eq!(device.len(), 3 + 32, "160 bits in base 32");
    assert_eq!(sources.by_key(&device).unwrap().name, "scanner");
    assert_eq!(sources.by_key(&server).unwrap().kind, SourceKind::Server);
    for wrong in ["", "qd_", &device[..34], &device.to_uppercase(), "scanner"] {
        assert!(sources.by_key(wrong).is_none(), "{wrong}");
    }
    let hash = blake3::hash(device.as_bytes()).to_hex();
    assert!(sources.by_key(&hash).is_none(), "what the file holds opens nothing");
}

#[test]
fn a_source_has_several_keys_that_die_one_by_one() {
    let mut sources = Sources::default();
    let old = add(&mut sources, "scanner", SourceKind::Device, 1);
    let new = add(&mut sources, "scanner", SourceKind::Device, 2);
    let ids: Vec<String> =
        sources.iter().next().unwrap().keys.iter().map(|key| key.id.clone()).collect();
    assert_eq!(ids.len(), 2);
    sources.revoke("scanner", Some(&ids[0]), NOW.plus(1)).unwrap();
    assert!(sources.by_key(&old).is_none());
    assert!(sources.by_key(&new).is_some());
    assert_eq!(sources.iter().next().unwrap().keys[0].revoked, Some(NOW.plus(1)));
    assert!(matches!(sources.revoke("scanner", Some(&ids[0]), NOW), Err(AccessError::Unknown(_))));
    sources.revoke("scanner", None, NOW).unwrap();
    assert!(sources.by_key(&new).is_none());
    let third = add(&mut sources, "scanner", SourceKind::Device, 3);
    assert!(sources.by_key(&third).is_some() && sources.by_key(&new).is_none());
    assert!(matches!(sources.revoke("nobody", None, NOW), Err(AccessError::Unknown(_))));
}

#[test]
fn a_site_has_a_public_id_and_its_origins() {
    let mut sources = Sources::default();
    let origins = vec!["https://www.example.com".to_owned()];
    let site = |sources: &mut Sources, origins: Vec<String>| {
        sources
            .add("example.com", SourceKind::Site, vec!["web".to_owned()], origins, NOW, [1; 20])
            .map(|secret| secret.reveal().to_owned())
    };
    assert_eq!(site(&mut sources, origins.clone()).unwrap(), "example.com");
    let found = sources.site("example.com").unwrap();
    assert!(found.may_send("web") && !found.may_send("device_usage"));
    assert!(found.allows_origin("https://www.example.com"));
    assert!(!found.allows_origin("https://www.example.com.evil.test"));
    assert!(sources.by_key("example.com").is_none(), "a public id is no key");
    assert!(matches!(site(&mut sources, origins.clone()), Err(AccessError::Exists { .. })));
    sources.revoke("example.com", None, NOW).unwrap();
    assert!(sources.site("example.com").is_none());
    site(&mut sources, origins).unwrap();
    assert!(sources.site("example.com").is_some());
}

#[test]
fn names_and_origins_have_one_form() {
    let mut sources = Sources::default();
    let mut add = |name: &str, origin: &str| {
        let origins = vec![origin.to_owned()];
        sources.add(name, SourceKind::Site, Vec::new(), origins, NOW, [1; 20]).map(drop)
    };
    for name in ["", "a b", "../x", "-a", &"a".repeat(65), "a\n"] {
        assert!(matches!(add(name, "https://example.com"), Err(AccessError::Name(_))), "{name}");
    }
    for origin in [
        "example.com",
        "https://example.com/",
        "https://Example.com",
        "*",
        "null",
        "https://example.com:443",
    ] {
        assert!(matches!(add("a", origin), Err(AccessError::Origin(_))), "{origin}");
    }
    assert!(add("a", "http://localhost:8080").is_ok());
}

#[test]
fn files_hold_hashes_and_are_the_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sources.toml");
    assert_eq!(Sources::load(&path).unwrap().iter().count(), 0, "no file, nobody");
    let mut sources = Sources::default();
    let families = vec!["device_usage".to_owned()];
    let secret =
        sources.add("scanner", SourceKind::Device, families, Vec::new(), NOW, [7; 20]).unwrap();
    sources.save(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&secret.reveal()[3..]), "{text}");
    let loaded = Sources::load(&path).unwrap();
    assert_eq!(loaded.by_key(secret.reveal()), sources.by_key(secret.reveal()));
    assert!(loaded.by_key(secret.reveal()).is_some());
    sources.revoke("scanner", None, NOW).unwrap();
    sources.save(&path).unwrap();
    assert!(Sources::load(&path).unwrap().by_key(secret.reveal()).is_none());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_broken_file_is_named_by_line_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("readers.toml");
    std::fs::write(&path, "[[reader]]\nname = \"a\"\ncolour = \"canary\"\n").unwrap();
    let error = Readers::load(&path).unwrap_err();
    assert!(matches!(error, AccessError::Malformed { .. }));
    assert!(
        error.to_string().contains("line 3") && !error.to_string().contains("canary"),
        "{error}"
    );
    let hashless = "[[reader]]\nname = \"a\"\n[[reader.tokens]]\nid = \"1\"\nhash = \"xy\"\ncreated = \"2026-01-01T00:00:00Z\"\n";
    std::fs::write(&path, hashless).unwrap();
    assert!(matches!(Readers::load(&path), Err(AccessError::Malformed { .. })));
}

#[test]
fn readers_have_tokens_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("readers.toml");
    let mut readers = Readers::default();
    let first = readers.add("team", NOW, [1; 20]).unwrap();
    let second = readers.add("team", NOW, [2; 20]).unwrap();
    assert!(first.reveal().starts_with("qr_"));
    assert!(matches!(readers.add("team", NOW, [2; 20]), Err(AccessError::Repeated)));
    readers.save(&path).unwrap();
    let mut readers = Readers::load(&path).unwrap();
    assert_eq!(readers.by_token(first.reveal()).unwrap().name, "team");
    let id = readers.iter().next().unwrap().keys[0].id.clone();
    readers.revoke("team", Some(&id), NOW).unwrap();
    assert!(readers.by_token(first.reveal()).is_none());
    assert!(readers.by_token(second.reveal()).is_some());
    assert!(matches!(readers.revoke("other", None, NOW), Err(AccessError::Unknown(_))));
}
