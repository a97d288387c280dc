//! What targets share: the default package, and a key ring of this process.

use std::sync::{Arc, LazyLock, Mutex};

use anonymizer::{Agents, Gate, Geo, KeyRing, Resolver};
use ingest::{Importer, Plan};
use schemas::{Clock, Millis, Package};

/// When everything is received.
pub(crate) const NOW: Millis = Millis(1_795_435_200_000);

/// The package that the binary carries.
pub(crate) static PACKAGE: LazyLock<Arc<Package>> = LazyLock::new(|| {
    let package = Package::from_files(default_files());
    Arc::new(package.expect("the shipped package is valid"))
});

/// Its names, as decoding looks them up.
pub(crate) static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan::new(Arc::clone(&PACKAGE)));

/// Gate 1, and what leads to it.
pub(crate) struct House {
    pub(crate) gate: Gate,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) importer: Mutex<Importer>,
}

/// With keys in a folder for temporary files, which `cargo xtask fuzz` puts below `target/` and removes.
pub(crate) static HOUSE: LazyLock<House> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for keys can be made").keep();
    let clock: Clock = Arc::new(|| NOW);
    let (keys, kek) = (folder.join("keys"), folder.join("key-encryption.key"));
    let ring = KeyRing::create(&keys, &kek, &folder.join("ledger/keys.jsonl"), &clock);
    let ring = Arc::new(ring.expect("keys can be made"));
    let package = Arc::clone(&PACKAGE);
    let gate = Gate::new(Arc::clone(&package), Arc::clone(&ring), folder.join("archive"));
    let gate = gate.expect("the shipped package compiles");
    let (geo, agents) = (Geo::shipped(), Agents::shipped());
    let geo = geo.expect("the shipped database can be read");
    let agents = agents.expect("the shipped patterns can be read");
    let resolver = Arc::new(Resolver::new(Arc::clone(&package), ring, geo, agents));
    let importer =
        Mutex::new(Importer::new(package, Arc::clone(&resolver), "www.example.org", NOW));
    House { gate, resolver, importer }
});

/// Files of the package that the binary carries, by name.
pub(crate) fn default_files() -> Vec<(String, String)> {
    let files = schemas::DEFAULT_FILES.iter();
    files.map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}
