//! A service under one company's package: what is sent to it, and what came out when it stopped.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use quorate::scan::{Report, Scanner};
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Millis, Package};
use serde_json::{Value, json};

use super::tables::{self, Row};
use crate::support::age::Identity;
use crate::support::http::{self, Answer};
use crate::support::place::{ORIGIN, Place, SITE, Service};
use crate::support::search;

/// Contributors of history: enough for every group to be seen.
pub(super) const MANY: usize = 24;

/// Somebody with a browser.
#[derive(Clone)]
pub(super) struct Browser {
    pub(super) address: String,
    pub(super) agent: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Browser {
    /// A Dane with Firefox; another address for each number.
    pub(super) fn number(number: usize) -> Self {
        let address = format!("130.225.{}.{}", 40 + number / 200, 10 + number % 200);
        let agent = format!(
            "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.{number}"
        );
        Self { address, agent, headers: Vec::new() }
    }

    /// The same, whose requests carry this header, too.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// By what a visit is told from others.
    pub(super) fn identifier(&self) -> String {
        json!({ "site": SITE, "address": self.address, "user_agent": self.agent }).to_string()
    }

    /// As a server or an import speaks of them.
    pub(super) fn end_user(&self) -> Value {
        json!({ "address": self.address, "user_agent": self.agent, "language": "da-DK" })
    }
}

/// A service that is being talked to.
pub(super) struct Scene {
    pub(super) place: Place,
    service: Option<Service>,
    folder: PathBuf,
    secrets: Vec<(&'static str, String)>,
    answers: Vec<Vec<u8>>,
    /// Events that were accepted.
    taken: Cell<u64>,
    versions: RefCell<BTreeMap<String, BTreeSet<String>>>,
    kept: BTreeMap<&'static str, Value>,
}

/// What came out.
pub(super) struct Run {
    pub(super) place: Place,
    pub(super) package: Package,
    /// Outcomes, reasons and notes by name.
    pub(super) books: BTreeMap<String, u64>,
    tables: BTreeMap<String, Vec<Row>>,
    secrets: usize,
    found: Report,
    versions: BTreeMap<String, BTreeSet<String>>,
    kept: BTreeMap<&'static str, Value>,
}

/// The folder of a package.
pub(super) fn folder(package: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(package)
}

/// So many milliseconds ago, as events say it.
pub(super) fn ago(ms: i64) -> String {
    quorate::store::system_clock()().plus(-ms).to_string()
}

/// Noon of a day that is over, so many days ago.
pub(super) fn noon(days: i64) -> Millis {
    let now = quorate::store::system_clock()();
    now.truncate(DAY_MS).plus(-days * DAY_MS + 12 * HOUR_MS)
}

impl Scene {
    /// A place for `package`, without a service yet.
    pub(super) fn of(package: &str) -> Self {
        let folder = folder(package);
        let place = Place::with_policy(&folder);
        let (secrets, answers, kept) = (Vec::new(), Vec::new(), BTreeMap::new());
        let versions = RefCell::default();
        let taken = Cell::new(0);
        Self { place, service: None, folder, secrets, answers, taken, versions, kept }
    }

    /// A text that nobody else could have made up; at the end it is looked for everywhere.
    pub(super) fn secret(&mut self, kind: &'static str) -> String {
        let number = self.secrets.len();
        let digits = blake3::hash(&number.to_le_bytes()).to_hex();
        let text = format!("{}-{}", kind.replace(' ', "-"), &digits[..16]);
        self.hide(kind, &text)
    }

    /// Looks for `text` at the end, too.
    pub(super) fn hide(&mut self, kind: &'static str, text: &str) -> String {
        self.secrets.push((kind, text.to_owned()));
        text.to_owned()
    }

    /// The address and user agent of `who` are looked for at the end.
    pub(super) fn hide_connection(&mut self, who: &Browser) {
        self.hide("address", &who.address);
        self.hide("user agent", &who.agent);
    }

    /// Imports events that have their time; what is closed is released.
    #[track_caller]
    pub(super) fn import(&mut self, events: &[Value]) -> String {
        assert!(self.service.is_none(), "a service has the folder");
        let file = self.place.outputs().join("history.ndjson");
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(&file, lines).unwrap();
        let said = self.place.print(&["import", file.to_str().unwrap(), "--site", SITE]);
        // What this test wrote itself is not what came out.
        std::fs::remove_file(file).unwrap();
        self.note_versions();
        said
    }

    pub(super) fn start(&mut self) {
        self.taken.set(self.ended());
        self.service = Some(self.place.start());
    }

    /// Starts the service once more, with a clock that is ahead by this span.
    pub(super) fn start_ahead(&mut self, span: &str) {
        if let Some(service) = self.service.take() {
            service.stop();
        }
        self.service = Some(self.place.start_with(&["run", "--ahead", span], &[]));
    }

    fn service(&self) -> &Service {
        self.service.as_ref().expect("the service was started")
    }

    /// Posts as a page of the site does.
    pub(super) fn browse(&mut self, who: &Browser, events: &Value) -> Answer {
        let mut headers = vec![
            ("Origin", ORIGIN),
            ("Content-Type", "text/plain"),
            ("User-Agent", &who.agent),
            ("X-Forwarded-For", &who.address),
            ("Accept-Language", "da-DK, da;q=0.5"),
        ];
        headers.extend(who.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let target = format!("/v1/events?site={SITE}");
        let to = self.service().events;
        let answer = http::send(to, "POST", &target, &headers, events.to_string().as_bytes());
        self.take(&answer);
        answer
    }

    /// Asks for the image of one pixel, as a page without scripts or an e-mail does.
    pub(super) fn look(&mut self, who: &Browser, query: &str) -> Answer {
        let headers = [("User-Agent", &*who.agent), ("X-Forwarded-For", &*who.address)];
        let target = format!("/v1/pixel.gif?site={SITE}&{query}");
        let answer = http::send(self.service().events, "GET", &target, &headers, b"");
        self.answers.push(answer.bytes.clone());
        answer
    }

    /// Posts under the key of devices, from an address.
    pub(super) fn report(&mut self, from: &Browser, events: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.place.device_key);
        let mut headers = vec![
            ("Authorization", &*authorization),
            ("Content-Type", "application/json"),
            ("User-Agent", &from.agent),
            ("X-Forwarded-For", &from.address),
            ("Accept-Language", "da-DK"),
        ];
        headers.extend(from.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let to = self.service().events;
        let answer = http::send(to, "POST", "/v1/events", &headers, events.to_string().as_bytes());
        self.take(&answer);
        answer
    }

    /// Asks as a reader.
    pub(super) fn read(&mut self, path: &str, question: &Value) -> Answer {
        let authorization = format!("Bearer {}", self.place.token);
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        let to = self.service().statistics;
        let answer = http::send(to, "POST", path, &headers, question.to_string().as_bytes());
        self.answers.push(answer.bytes.clone());
        answer
    }

    /// Rows of a declared grouping of a statistic.
    #[track_caller]
    pub(super) fn statistic(&mut self, name: &str, by: &[&str]) -> Vec<Value> {
        let answer = self.read("/v1/query", &json!({ "from": name, "by": by }));
        assert_eq!(answer.status, 200, "{}", answer.body());
        answer.json()["rows"].as_array().expect("an answer has rows").clone()
    }

    /// `quorate subject …` with the identifier on standard input.
    pub(super) fn subject(&self, arguments: &[&str], identifier: &str) -> Output {
        self.speak("subject", arguments, identifier)
    }

    /// A command with the identifier on standard input.
    pub(super) fn speak(
        &self,
        command: &str,
        arguments: &[impl AsRef<std::ffi::OsStr>],
        identifier: &str,
    ) -> Output {
        let mut command = self.place.command(&[command]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let mut input = child.stdin.take().unwrap();
        input.write_all(identifier.as_bytes()).unwrap();
        drop(input);
        child.wait_with_output().unwrap()
    }

    /// `quorate subject …`, which must succeed; its receipt.
    #[track_caller]
    pub(super) fn request(&self, arguments: &[&str], identifier: &str) -> Value {
        self.settle();
        let output = self.subject(arguments, identifier);
        self.note_versions();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("a receipt is JSON")
    }

    /// Waits until all that was taken is in the tables: a request acts on it there, and not on its way.
    fn settle(&self) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while self.ended() < self.taken.get() {
            assert!(std::time::Instant::now() < deadline, "what was sent is not committed");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Events that were accepted and ended, by the books.
    fn ended(&self) -> u64 {
        let books = search::outcomes(&self.place.data());
        let ends = ["stored", "duplicate", "expired", "suppressed"];
        ends.iter().filter_map(|name| books.get(*name)).sum()
    }

    fn take(&mut self, answer: &Answer) {
        self.answers.push(answer.bytes.clone());
        let accepted = answer.json()["accepted"].as_u64().unwrap_or(0);
        self.taken.set(self.taken.get() + accepted);
    }

    /// Everything that a contributor is told who asks what is stored, decrypted as they would.
    #[track_caller]
    pub(super) fn access(&self, family: &str, identifier: &str) -> Value {
        let identity = Identity::generate();
        let key = identity.recipient();
        let receipt = self.request(&["access", "--family", family, "--to", &key], identifier);
        serde_json::from_slice(&self.export(&receipt, &identity)).expect("an answer is JSON")
    }

    /// What is in the file that a receipt names.
    #[track_caller]
    pub(super) fn export(&self, receipt: &Value, identity: &Identity) -> Vec<u8> {
        let name = receipt["export"]["name"].as_str().expect("a file was written");
        let file = std::fs::read(self.place.data().join("exports").join(name)).unwrap();
        identity.open(&file).expect("it is for this key")
    }

    /// Replaces what is stored of a contributor by this event, under its own id.
    #[track_caller]
    pub(super) fn rectify(&self, family: &str, identifier: &str, event: &Value) -> Value {
        let mut event = event.clone();
        event["time"] = json!(ago(0));
        let file = self.place.outputs().join("corrected.ndjson");
        std::fs::write(&file, format!("{event}\n")).unwrap();
        let name = file.to_str().unwrap();
        let receipt = self.request(&["rectify", "--family", family, "--events", name], identifier);
        std::fs::remove_file(&file).unwrap();
        self.taken.set(self.taken.get() + 1);
        receipt
    }

    /// The ledger of requests.
    #[track_caller]
    pub(super) fn requests(&self) -> Vec<Value> {
        let token = std::fs::read_to_string(self.place.data().join("operator.token")).unwrap();
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", &*authorization)];
        let answer = http::send(self.service().operator, "GET", "/subject/requests", &headers, b"");
        answer.json().as_array().expect("a list of requests").clone()
    }

    /// Reads the versions that commits name, before a checkpoint takes the place of their entries.
    fn note_versions(&self) {
        let events = self.place.data().join("events");
        let Ok(listed) = std::fs::read_dir(events) else { return };
        for folder in listed.map(|entry| entry.unwrap().path()) {
            let family = folder.file_name().unwrap().to_string_lossy().into_owned();
            let named = tables::manifests(&folder);
            let named = named.iter().map(|one| one["policy"].as_str().unwrap().to_owned());
            self.versions.borrow_mut().entry(family).or_default().extend(named);
        }
    }

    /// Keeps something for a test to look at.
    pub(super) fn keep(&mut self, name: &'static str, value: Value) {
        self.kept.insert(name, value);
    }

    /// Stops the service, and looks at everything.
    pub(super) fn end(mut self) -> Run {
        if let Some(service) = self.service.take() {
            service.stop();
        }
        self.note_versions();
        let package = Package::load(&self.folder).expect("the service ran under it");
        let events = self.place.data().join("events");
        let tables = package
            .families
            .iter()
            .map(|family| (family.name.clone(), tables::rows(&events.join(&family.name))));
        let tables = tables.collect();
        let scanner = Scanner::new(self.secrets.iter().cloned()).unwrap();
        let mut found = search::everything(self.place.root(), &scanner);
        for answer in &self.answers {
            scanner.bytes("an answer", answer, &mut found);
        }
        let books = search::outcomes(&self.place.data());
        let (place, secrets, kept) = (self.place, self.secrets.len(), self.kept);
        let versions = self.versions.into_inner();
        Run { place, package, books, tables, secrets, found, versions, kept }
    }
}

impl Run {
    /// All rows of a family.
    pub(super) fn rows(&self, family: &str) -> &[Row] {
        &self.tables[family]
    }

    /// Rows of a family with this value in a column.
    pub(super) fn having(&self, family: &str, column: &str, value: impl Into<Value>) -> Vec<&Row> {
        let value = value.into();
        self.rows(family).iter().filter(|row| row.get(column) == Some(&value)).collect()
    }

    /// The one row of a family with this value in a column.
    #[track_caller]
    pub(super) fn one(&self, family: &str, column: &str, value: impl Into<Value>) -> &Row {
        let value = value.into();
        let rows = self.having(family, column, value.clone());
        assert_eq!(rows.len(), 1, "{column} = {value} of {family}: {rows:#?}");
        rows[0]
    }

    /// What a scene kept under this name.
    pub(super) fn kept(&self, name: &str) -> &Value {
        &self.kept[name]
    }

    /// Columns of a family's table that are declared fields.
    pub(super) fn columns(&self, family: &str) -> Vec<String> {
        let (_, family) = self.package.family(family).expect("declared");
        family.stored_fields().map(|(_, field, _)| field.name.clone()).collect()
    }

    /// No secret is in any file, entry of a store, log line or answer.
    #[track_caller]
    pub(super) fn assert_nothing_found(&self) {
        assert!(self.secrets > 3 && self.found.files > 10, "there was nothing to look for");
        assert_eq!(self.found.found, 0, "{}", search::told(&self.found));
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        self.books.get(name).copied().unwrap_or(0)
    }

    /// Every commit of rows of a family names the version of the policy.
    #[track_caller]
    pub(super) fn assert_versions(&self, family: &str) {
        let named: Vec<&String> = self.versions[family].iter().collect();
        assert_eq!(named, [&self.package.version], "commits of {family}");
    }

    /// Each of these requests is done, nobody is named, and it was due after so many days.
    #[track_caller]
    pub(super) fn assert_requests(&self, kept: &str, kinds: &[&str], days: i64) {
        let requests = self.kept(kept).as_array().unwrap();
        for kind in kinds {
            assert!(requests.iter().any(|one| one["kind"] == *kind), "{kind}: {requests:?}");
        }
        for request in requests {
            let time = |name: &str| Millis::parse(request[name].as_str().unwrap()).unwrap();
            assert_eq!(time("due"), time("received").plus(days * DAY_MS), "{request}");
            assert!(
                request["state"] != "received" && !request["commitment"].is_null(),
                "{request}"
            );
        }
    }

    /// What the package's notice says, without line breaks.
    pub(super) fn notice(&self) -> String {
        self.place.print(&["notice"]).replace('\n', " ")
    }

    /// Nobody may declare a field of these categories: `policy check` refuses each, and names it.
    #[track_caller]
    pub(super) fn assert_refused(&self, file: &str, categories: &[&str]) {
        for category in categories {
            let said = self.check_with(file, &format!("extra = {{ type = \"string(64)\", is = \"{category}\", transform = \"drop\", about = \"extra\" }}"));
            assert!(said.contains(&format!("`{category}` is refused by the policy")), "{said}");
        }
    }

    /// What `policy check` says of the package with one more field in a family's file.
    pub(super) fn check_with(&self, file: &str, field: &str) -> String {
        let copy = tempfile::tempdir().unwrap();
        let from = folder_of(&self.place);
        search::copy_folder(&from, copy.path());
        let path = copy.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\n{field}\n", text.trim_end())).unwrap();
        let mut command = self.place.command(&["policy", "check"]);
        let output = command.arg(copy.path()).output().unwrap();
        assert!(!output.status.success(), "the package is taken with {field}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// The package that a place's configuration names.
fn folder_of(place: &Place) -> PathBuf {
    let text = std::fs::read_to_string(place.home().join("quorate.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    PathBuf::from(table["policy"].as_str().unwrap())
}
