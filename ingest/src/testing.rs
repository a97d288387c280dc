//! What unit tests share.

use std::path::Path;
use std::sync::Arc;

use schemas::Package;
use schemas::access::SourceKind;

use crate::auth::Principal;

/// The package in `tests/package`.
pub(crate) fn package() -> Arc<Package> {
    load("tests/package")
}

/// The package in `tests/consent`: purposes that ask for versions and times and heed consent managers, and flags.
pub(crate) fn consent() -> Arc<Package> {
    load("tests/consent")
}

fn load(folder: &str) -> Arc<Package> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    match Package::load(&folder) {
        Ok(package) => Arc::new(package),
        Err(diagnostics) => {
            let all: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("{}", all.join("\n"))
        }
    }
}

/// The package that the binary carries, with fields of a shop in the family `web`.
pub(crate) fn shop() -> Arc<Package> {
    let files = schemas::DEFAULT_FILES.iter().map(|(name, text)| {
        let own = if *name == "web.toml" { include_str!("../tests/shop_fields.toml") } else { "" };
        ((*name).to_owned(), format!("{text}{own}"))
    });
    let package = Package::from_files(files.collect::<Vec<_>>());
    Arc::new(package.unwrap_or_else(|_| panic!("the shipped package is valid")))
}

impl Principal {
    /// A source that may send everything.
    pub(crate) fn named(name: &str, kind: SourceKind) -> Self {
        Self { name: name.to_owned(), kind, permitted: None, origins: Vec::new() }
    }
}
