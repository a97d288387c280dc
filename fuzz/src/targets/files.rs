//! Files that an operator writes or fetches: policy, configuration, registries, country database.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use anonymizer::Geo;
use quorate::config::Config;
use schemas::access::{Readers, Sources};
use schemas::notice::Notice;
use schemas::{Package, export, forecast};

use crate::fixture::default_files;

/// One file of the package, named by the first byte, in place of the shipped one; all are wrong in their own ways.
pub(crate) fn policy(data: &[u8]) {
    let [choice, text @ ..] = data else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let mut files = default_files();
    let count = files.len();
    match files.get_mut(usize::from(*choice) % (count + 1)) {
        Some((_, replaced)) => text.clone_into(replaced),
        None => files.push(("another.toml".to_owned(), text.to_owned())),
    }
    let lines = |name: &str| {
        let file = files.iter().find(|(found, _)| found == name);
        file.map_or(1, |(_, text)| text.split('\n').count())
    };
    match Package::from_files(files.clone()) {
        Ok(package) => {
            drop(package.describe());
            drop(forecast::forecast(&package, Some(300)));
            drop((export::typescript(&package), export::c_header(&package)));
            let notice = Notice::of(&package);
            drop(notice.markdown());
            assert_eq!(notice.html().matches("<script").count(), 0, "declared text became markup");
            let again = Package::from_files(files).expect("it was valid before");
            assert_eq!(package.digest, again.digest);
        }
        Err(found) => {
            assert!(!found.is_empty());
            for one in &found {
                assert!((1..=lines(&one.file)).contains(&one.line), "{}: {}", one.file, one.line);
                assert!(one.column >= 1);
            }
        }
    }
}

/// The configuration.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(config) = toml::from_str::<Config>(text)
        && let Err(error) = config.check()
    {
        assert!(!format!("{error:#}").is_empty());
    }
}

/// A file that a target writes and reads again.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for a registry can be made").keep();
    folder.join("registry.toml")
});

/// Registries of sources and readers: what was read is written and read again alike, errors repeat nothing.
pub(crate) fn registry(data: &[u8]) {
    std::fs::write(&*FILE, data).expect("the file can be written");
    match Sources::load(&FILE) {
        Ok(sources) => {
            sources.save(&FILE).expect("it can be written");
            let again = Sources::load(&FILE).expect("what was written can be read");
            assert!(again.iter().eq(sources.iter()), "a registry is the same after a round");
        }
        Err(error) => crate::must_not_repeat(&format!("{error} {error:?}")),
    }
    std::fs::write(&*FILE, data).expect("the file can be written");
    match Readers::load(&FILE) {
        Ok(readers) => {
            readers.save(&FILE).expect("it can be written");
            let again = Readers::load(&FILE).expect("what was written can be read");
            assert!(again.iter().eq(readers.iter()), "a registry is the same after a round");
        }
        Err(error) => crate::must_not_repeat(&format!("{error} {error:?}")),
    }
}

/// A country database: whatever it holds, a lookup gives a country or none.
pub(crate) fn mmdb(data: &[u8]) {
    let Ok(geo) = Geo::from_bytes(data.to_vec(), "fuzzed") else { return };
    let _build = geo.build();
    let addresses = ["1.1.1.1", "81.2.69.142", "203.0.114.1", "223.255.255.255", "2a02:fe80::1"];
    for address in addresses {
        let address: IpAddr = address.parse().expect("it is an address");
        anonymizer::fuzzing::country(&geo, address);
    }
}
