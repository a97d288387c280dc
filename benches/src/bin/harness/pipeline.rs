//! The shipped binary at work: in a fresh folder, as an operator would set it up.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use benches::process::{Used, Watched, bytes_below};

/// Events of one body.
const BODY_EVENTS: usize = 100;
/// Connections that post at once.
const CONNECTIONS: usize = 32;

/// The binary, and where its folders are made.
pub(crate) struct Pipeline {
    binary: PathBuf,
    place: PathBuf,
}

impl Pipeline {
    pub(crate) fn new(binary: &Path, place: &Path) -> Self {
        Self { binary: binary.to_owned(), place: place.to_owned() }
    }

    /// `quorate import` of the file, up to the commit; and the bytes of the events tables.
    pub(crate) fn import(&self, input: &Path) -> io::Result<(Used, u64)> {
        let home = Home::new(&self.binary, &self.place.join("import"))?;
        let mut command = home.command(&["import", "--more-follows"]);
        command.arg(input).stdout(Stdio::null());
        let used = Watched::start(&mut command)?.finish()?;
        home.remove(used)
    }

    /// `quorate run`, with the file posted to it in bodies of 100 events, until all is committed.
    pub(crate) fn http(&self, input: &Path) -> io::Result<(Used, u64)> {
        let home = Home::new(&self.binary, &self.place.join("http"))?;
        let used = home.serve(input)?;
        home.remove(used)
    }

    /// The same with the log in Kafka, on topics of its own, which stay; CPU of the brokers is not counted.
    pub(crate) fn kafka(&self, input: &Path, brokers: &str) -> io::Result<(Used, u64)> {
        let home = Home::new(&self.binary, &self.place.join("kafka"))?;
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().map_err(io::Error::other)?;
        let prefix = format!("bench-{}", since.as_millis());
        home.change(|table| {
            set(table, "kafka", "prefix", prefix.as_str().into());
            set(table, "kafka", "replication", 1.into());
            let properties =
                toml::Table::from_iter([("bootstrap.servers".to_owned(), brokers.into())]);
            set(table, "kafka", "properties", properties.into());
        })?;
        home.print(&["kafka", "topics", "create"])?;
        let used = home.serve(input)?;
        home.remove(used)
    }

    /// `quorate replay` of all that a service took in, into tables beside; filling the log is not counted.
    pub(crate) fn replay(&self, input: &Path) -> io::Result<(Used, u64)> {
        let home = Home::new(&self.binary, &self.place.join("replay"))?;
        home.serve(input)?;
        let beside = home.folder.join("beside");
        let mut command = home.command(&["replay", "--from", "2020-01-01", "--to", "2100-01-01"]);
        command.arg("--into").arg(&beside).stdout(Stdio::null());
        let used = Watched::start(&mut command)?.finish()?;
        home.remove(used)
    }
}

/// A folder that `quorate init` made.
struct Home {
    binary: PathBuf,
    folder: PathBuf,
}

impl Home {
    fn new(binary: &Path, folder: &Path) -> io::Result<Self> {
        let home = Self { binary: binary.to_owned(), folder: folder.to_owned() };
        let mut init = Command::new(binary);
        text(init.arg("init").arg(folder))?;
        home.change(|table| {
            for section in ["ingest", "query", "operator"] {
                set(table, section, "listen", "127.0.0.1:0".into());
            }
            // Once, when the service starts: rounds of release are not what is measured here.
            set(table, "sink", "maintain_every_s", 86_400.into());
        })?;
        Ok(home)
    }

    /// Changes the configuration.
    fn change(&self, change: impl FnOnce(&mut toml::Table)) -> io::Result<()> {
        let file = self.folder.join("quorate.toml");
        let content = std::fs::read_to_string(&file)?;
        let mut table: toml::Table = content.parse().map_err(io::Error::other)?;
        change(&mut table);
        std::fs::write(file, table.to_string())
    }

    /// Runs the service, posts the file to it, and stops it when all is committed.
    fn serve(&self, input: &Path) -> io::Result<Used> {
        let key = self.print(&["source", "add", "bench", "--kind", "server"])?;
        let stdout = self.folder.join("stdout.txt");
        let mut command = self.command(&["run"]);
        let mut service = Watched::start(command.stdout(File::create(&stdout)?))?;
        let address = wait_for_address(&mut service, &stdout)?;
        post(input, address, &key, &mut service)?;
        // A stop commits what was acknowledged.
        service.look();
        service.terminate()?;
        service.finish()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(self.folder.join("quorate.toml")).args(arguments);
        command.env("RUST_LOG", "warn");
        command
    }

    fn print(&self, arguments: &[&str]) -> io::Result<String> {
        text(&mut self.command(arguments))
    }

    /// Removes the folder; hands on what was used and how large the tables were.
    fn remove(self, used: Used) -> io::Result<(Used, u64)> {
        let bytes = bytes_below(&self.folder.join("data").join("events"))?;
        std::fs::remove_dir_all(&self.folder)?;
        Ok((used, bytes))
    }
}

fn set(table: &mut toml::Table, section: &str, key: &str, value: toml::Value) {
    let section = table.entry(section).or_insert_with(|| toml::Table::new().into());
    if let Some(section) = section.as_table_mut() {
        section.insert(key.to_owned(), value);
    }
}

fn text(command: &mut Command) -> io::Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{command:?} ended with {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The service prints its addresses once it listens; the first is that of events.
fn wait_for_address(service: &mut Watched, stdout: &Path) -> io::Result<SocketAddr> {
    loop {
        let text = std::fs::read_to_string(stdout)?;
        let words = text.split(|c: char| c.is_whitespace() || c == '/');
        if let Some(address) = words.filter_map(|word| word.parse().ok()).next() {
            return Ok(address);
        }
        if let Some(status) = service.child().try_wait()? {
            return Err(io::Error::other(format!("the service ended with {status}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Posts the file in bodies of 100 lines, over a few connections that stay open.
fn post(input: &Path, address: SocketAddr, key: &str, service: &mut Watched) -> io::Result<()> {
    let (bodies, taken) = sync_channel::<Vec<u8>>(2 * CONNECTIONS);
    let taken = Arc::new(Mutex::new(taken));
    std::thread::scope(|scope| {
        let posters: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let taken = Arc::clone(&taken);
                scope.spawn(move || post_bodies(&taken, address, key))
            })
            .collect();
        // The posters alone hold the other end now: when all have failed, sending fails too.
        drop(taken);
        let mut reader = BufReader::with_capacity(1 << 20, File::open(input)?);
        loop {
            let body = next_body(&mut reader)?;
            service.look();
            if body.is_empty() || bodies.send(body).is_err() {
                break;
            }
        }
        drop(bodies);
        posters.into_iter().try_for_each(|poster| {
            poster.join().unwrap_or_else(|_| Err(io::Error::other("a poster panicked")))
        })
    })
}

fn next_body(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(64 << 10);
    for _ in 0..BODY_EVENTS {
        reader.read_until(b'\n', &mut body)?;
    }
    Ok(body)
}

fn post_bodies(taken: &Mutex<Receiver<Vec<u8>>>, address: SocketAddr, key: &str) -> io::Result<()> {
    let mut connection = BufReader::new(TcpStream::connect(address)?);
    connection.get_ref().set_nodelay(true)?;
    loop {
        let body = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(body) = body else { return Ok(()) };
        // A service under load says when to come again.
        while post_one(&mut connection, address, key, &body)? == 503 {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

/// Posts one body and reads the answer; its status, which is 202 or 503.
fn post_one(
    connection: &mut BufReader<TcpStream>,
    address: SocketAddr,
    key: &str,
    body: &[u8],
) -> io::Result<u16> {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body)?;

    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let mut length = None;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length: u64 = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    io::copy(&mut connection.by_ref().take(length), &mut io::sink())?;
    match status {
        202 | 503 => Ok(status),
        other => Err(io::Error::other(format!("the service answered {other}"))),
    }
}
