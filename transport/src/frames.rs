//! Frames for tests.

use std::path::Path;
use std::sync::Arc;

use anonymizer::{Gate, KeyRing, Sealed};
use schemas::outcome::Tally;
use schemas::time::{Clock, HOUR_MS, Millis};
use schemas::{Package, Reason};

const POLICY: &str = r#"
controller = "Test"
version    = "1"
[purposes.improve]
basis  = "legitimate interest"
source = "assumed"
notice = "to test"
[refused]
categories = []
content    = []
"#;
const FAMILY: &str = r#"
family      = "use"
contributor = { field = "serial", called = "devices" }
epoch       = "7 days"
grain       = "1 hour"
late        = "1 day"
purposes    = ["improve"]
[fields]
serial = { type = "string(64)", is = "identifier", transform = "pseudonym", about = "serial number" }
"#;

/// Seals frames without rows, each with another count of refusals.
pub(crate) struct Sealer {
    gate: Gate,
    sealed: std::cell::Cell<u64>,
}

impl Sealer {
    pub(crate) fn new(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a folder");
        let files = vec![
            ("policy.toml".to_owned(), POLICY.to_owned()),
            ("use.toml".to_owned(), FAMILY.to_owned()),
        ];
        let package = Arc::new(Package::from_files(files).expect("package"));
        let kek = dir.join("kek");
        let clock: Clock = Arc::new(|| Millis(0));
        let ring = KeyRing::create(&dir.join("ring"), &kek, &dir.join("keys.jsonl"), &clock);
        let ring = Arc::new(ring.expect("ring"));
        let gate = Gate::new(package, ring, dir.join("archive"));
        Self { gate: gate.expect("gate"), sealed: std::cell::Cell::new(0) }
    }

    pub(crate) fn frame(&self, hour: u32) -> Sealed {
        self.sealed.set(self.sealed.get() + 1);
        let mut tally = Tally::default();
        tally.refused.insert(Reason::Malformed, self.sealed.get());
        let received = Millis(i64::from(hour) * HOUR_MS);
        self.gate.seal_tally(Some(0), tally, received).expect("seal")
    }
}
