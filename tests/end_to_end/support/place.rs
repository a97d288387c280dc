//! A folder of its own for each test, with everything in it that the service reads and writes.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::{self, Answer};
use super::{printed, quorate, succeed};

/// The origin from which pages of the test site post.
pub(crate) const ORIGIN: &str = "https://shop.example";

/// The public id of the test site.
pub(crate) const SITE: &str = "shop.example";

/// A configured folder with a source of each kind and a reader.
pub(crate) struct Place {
    folder: TempDir,
    /// Key of a device source.
    pub(crate) device_key: String,
    /// Key of a server source.
    pub(crate) server_key: String,
    /// Token of a reader.
    pub(crate) token: String,
}

/// A service in a place; killed if a test ends without stopping it.
pub(crate) struct Service {
    child: Child,
    /// Where events are posted.
    pub(crate) events: SocketAddr,
    /// Where statistics are read.
    pub(crate) statistics: SocketAddr,
    /// Where the operator looks.
    pub(crate) operator: SocketAddr,
}

impl Place {
    /// As `quorate init` makes it, on free ports, committing every second, behind one trusted proxy.
    pub(crate) fn new() -> Self {
        Self::make(None, &["--family", "device_usage"])
    }

    /// The same under the package in another folder; its devices may send all that it declares.
    pub(crate) fn with_policy(policy: &Path) -> Self {
        Self::make(Some(policy), &[])
    }

    fn make(policy: Option<&Path>, of_devices: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = folder.path().join("service");
        succeed(quorate().arg("init").arg(&home));
        let configuration = home.join("quorate.toml");
        let mut place = Self {
            folder,
            device_key: String::new(),
            server_key: String::new(),
            token: String::new(),
        };
        let text = std::fs::read_to_string(&configuration).expect("init writes a configuration");
        let mut table: toml::Table = text.parse().expect("which is TOML");
        set(&mut table, "ingest", "listen", "127.0.0.1:0");
        set(&mut table, "ingest", "trusted_proxies", 1);
        set(&mut table, "ingest", "address_requests_per_s", 0);
        set(&mut table, "query", "listen", "127.0.0.1:0");
        // `quorate status` has to know this one beforehand.
        set(&mut table, "operator", "listen", free_address());
        set(&mut table, "sink", "commit_every_s", 1);
        if let Some(policy) = policy {
            table.insert("policy".to_owned(), policy.display().to_string().into());
        }
        std::fs::write(&configuration, table.to_string()).expect("the folder can be written");
        std::fs::create_dir_all(place.outputs()).expect("the folder can be written");
        std::fs::create_dir_all(place.temporary()).expect("the folder can be written");

        let devices = ["source", "add", "devices", "--kind", "device"];
        place.device_key = place.print(&[&devices, of_devices].concat());
        place.server_key = place.print(&["source", "add", "backend", "--kind", "server"]);
        place.print(&["source", "add", SITE, "--kind", "site", "--origin", ORIGIN]);
        place.token = place.print(&["reader", "add", "team"]);
        place
    }

    /// Changes a key of the configuration.
    pub(crate) fn configure(&self, section: &str, key: &str, value: impl Into<toml::Value>) {
        let file = self.home().join("quorate.toml");
        let text = std::fs::read_to_string(&file).expect("init writes a configuration");
        let mut table: toml::Table = text.parse().expect("which is TOML");
        set(&mut table, section, key, value);
        std::fs::write(&file, table.to_string()).expect("the folder can be written");
    }

    /// Says where this machine is.
    pub(crate) fn set_region(&self, region: &str) {
        let file = self.home().join("quorate.toml");
        let text = std::fs::read_to_string(&file).expect("init writes a configuration");
        let mut table: toml::Table = text.parse().expect("which is TOML");
        table.insert("region".to_owned(), region.into());
        std::fs::write(&file, table.to_string()).expect("the folder can be written");
    }

    /// Leaves the folder where it is, and tells where that is.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.root().to_owned()
    }

    /// Everything that came out: the service's folder and what it printed and answered.
    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The service's folder.
    pub(crate) fn home(&self) -> PathBuf {
        self.root().join("service")
    }

    /// The service's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Where tests put answers, and where standard output and error go.
    pub(crate) fn outputs(&self) -> PathBuf {
        self.root().join("outputs")
    }

    /// Where the process spills to, if it does.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.root().join("temporary")
    }

    /// A command of the binary in this place.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quorate();
        command.arg("--config").arg(self.home().join("quorate.toml")).args(arguments);
        command.env("TMPDIR", self.temporary()).env("RUST_LOG", "trace");
        command
    }

    /// What a command that must succeed prints, without the last line's end.
    #[track_caller]
    pub(crate) fn print(&self, arguments: &[&str]) -> String {
        printed(&mut self.command(arguments)).trim_end().to_owned()
    }

    /// Starts the service, at the most talkative.
    pub(crate) fn start(&self) -> Service {
        self.start_with(&["run"], &[])
    }

    /// Starts the service with these arguments, in an environment that has these too.
    pub(crate) fn start_with(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> Service {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        self.spawn(command, "")
    }

    /// Starts one of several nodes: with these roles, a data folder of its own and all else as configured.
    pub(crate) fn start_node(&self, name: &str, roles: &str) -> Service {
        self.start_node_saying(name, roles, "trace")
    }

    /// Likewise, with log lines from `level` on.
    pub(crate) fn start_node_saying(&self, name: &str, roles: &str, level: &str) -> Service {
        let home = self.home();
        let text = std::fs::read_to_string(home.join("quorate.toml"));
        let mut table: toml::Table = text.expect("init writes it").parse().expect("which is TOML");
        table.insert("data".to_owned(), format!("data-{name}").into());
        set(&mut table, "operator", "listen", free_address());
        let configuration = home.join(format!("{name}.toml"));
        std::fs::write(&configuration, table.to_string()).expect("the folder can be written");
        let mut command = quorate();
        command.arg("--config").arg(configuration).args(["run", "--roles", roles]);
        command.env("TMPDIR", self.temporary()).env("RUST_LOG", level);
        self.spawn(command, name)
    }

    fn spawn(&self, mut command: Command, name: &str) -> Service {
        let dash = if name.is_empty() { "" } else { "-" };
        let [stdout, stderr] =
            ["stdout", "stderr"].map(|kind| self.outputs().join(format!("{kind}{dash}{name}.txt")));
        let error = File::create(&stderr).expect("a file for log lines");
        let output = File::create(&stdout).expect("a file for output");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(error).spawn();
        let child = child.expect("the binary can be started");
        let mut service =
            Service { child, events: UNBOUND, statistics: UNBOUND, operator: UNBOUND };
        service.wait_until_bound(&stdout, &stderr);
        service
    }
}

const UNBOUND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Service {
    /// The service prints its addresses once it listens: those of the roles that it has, and the operator's.
    fn wait_until_bound(&mut self, stdout: &Path, stderr: &Path) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = std::fs::read_to_string(stdout).unwrap_or_default();
            let bound = |what: &str| {
                let line = text.lines().find(|line| line.starts_with(what))?;
                let mut words = line.split(|c: char| c.is_whitespace() || c == '/');
                words.find_map(|word| word.parse().ok())
            };
            // All of them are printed at once.
            if let Some(operator) = bound("operator") {
                self.operator = operator;
                self.events = bound("events").unwrap_or(UNBOUND);
                self.statistics = bound("statistics").unwrap_or(UNBOUND);
                return;
            }
            let ended = self.child.try_wait().expect("the process can be asked");
            let log = || std::fs::read_to_string(stderr).unwrap_or_default();
            assert!(ended.is_none(), "the service ended: {ended:?}\n{text}{}", log());
            assert!(Instant::now() < deadline, "the service does not start:\n{text}{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Posts a body of events under a key.
    pub(crate) fn post(&self, key: &str, body: &str) -> Answer {
        let authorization = format!("Bearer {key}");
        let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
        http::send(self.events, "POST", "/v1/events", &headers, body.as_bytes())
    }

    /// Asks the operator's port.
    pub(crate) fn operator(&self, path: &str) -> Answer {
        http::send(self.operator, "GET", path, &[], b"")
    }

    /// Stops as an operator does; what was acknowledged is committed then.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        let terminate = format!("kill -TERM {}", self.child.id());
        succeed(Command::new("sh").args(["-c", &terminate]));
        let status = self.child.wait().expect("the service can be waited for");
        assert!(status.success(), "the service ended with {status}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // After a stop there is nothing to kill, and nothing to say.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address that nobody listens on, and that the system does not give away again soon.
fn free_address() -> String {
    let listener = TcpListener::bind(UNBOUND).expect("a free port");
    listener.local_addr().expect("a bound port").to_string()
}

fn set(table: &mut toml::Table, section: &str, key: &str, value: impl Into<toml::Value>) {
    let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
    let section = section.as_table_mut().expect("a section of the configuration");
    section.insert(key.to_owned(), value.into());
}
