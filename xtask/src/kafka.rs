//! Apache Kafka: its jars for the tests, and brokers for people.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::KAFKA_VERSION;
use cluster::broker::{self, Broker};

use crate::packages::{self, Need};
use crate::shell::{Outcome, fail, repository, run};

/// What brings the jars, and which.
const POM: &str = "tests/cluster/pom.xml";
/// Brokers of 4.x need this Java, or a newer one.
const JAVA_VERSION: u32 = 17;

/// Data, logs and process numbers of brokers for people.
const FOLDER: &str = "target/kafka";
/// The first broker for people listens here, and has its controller one further.
const PORT: u16 = 19_092;
const BROKERS_MAX: u16 = 9;
const START_WITHIN: Duration = Duration::from_secs(120);

const USAGE: &str = "usage: cargo xtask kafka fetch|start [--brokers N]|stop|status";

const JAVA: Need<'_> = Need {
    names: &["java"],
    variable: None,
    packages: &["openjdk-17-jre-headless"],
    works: is_new_enough,
};
const MAVEN: Need<'_> =
    Need { names: &["mvn"], variable: None, packages: &["maven"], works: packages::always };

/// `cargo xtask kafka …`.
pub(crate) fn command(arguments: &[&str]) -> Outcome {
    match arguments {
        ["fetch"] => fetch(),
        ["start"] => start(1),
        ["start", "--brokers", count] => match count.parse() {
            Ok(count @ 1..=BROKERS_MAX) => start(count),
            _ => fail(format!("1 to {BROKERS_MAX} brokers")),
        },
        ["stop"] => stop(),
        ["status"] => status(),
        _ => fail(USAGE),
    }
}

/// Lays the jars of a broker below `target/tools`, and sees that Java is there.
pub(crate) fn fetch() -> Outcome {
    packages::provide(&[&JAVA])?;
    let jars = cluster::kafka_jars();
    if jars.is_dir() {
        println!("Apache Kafka {KAFKA_VERSION} is there");
        return Ok(());
    }
    let maven = packages::provide(&[&MAVEN])?;
    // Under its name only once it is whole.
    let part = jars.with_extension(format!("part-{}", std::process::id()));
    let mut mvn = Command::new(maven.first().expect("as many are found as are needed"));
    mvn.args(["--batch-mode", "--quiet", "-Dstyle.color=never", "--file", POM]);
    mvn.arg("dependency:copy-dependencies");
    mvn.args(["-DincludeScope=runtime", &format!("-Dkafka.version={KAFKA_VERSION}")]);
    mvn.arg(format!("-DoutputDirectory={}", part.display())).current_dir(repository());
    run(&mut mvn).map_err(|why| {
        format!("{why}\nCould not get Apache Kafka {KAFKA_VERSION}: is Maven Central within reach?")
    })?;
    fs::rename(&part, &jars).map_err(|error| format!("cannot write target/tools: {error}"))?;
    println!("Apache Kafka {KAFKA_VERSION} fetched");
    Ok(())
}

/// Starts brokers that go on when this command is over, on what they had if there are as many as before.
fn start(count: u16) -> Outcome {
    fetch()?;
    if !running().is_empty() {
        return fail("brokers are running; `cargo xtask kafka stop` stops them");
    }
    let folder = repository().join(FOLDER);
    let brokers: Vec<Broker> = (0..count).map(|index| broker(&folder, index)).collect();
    let mark = folder.join("brokers");
    if fs::read_to_string(&mark).ok() != Some(count.to_string()) {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| cannot_write(&folder, &error))?;
        broker::format(&brokers, &[])?;
        fs::write(&mark, count.to_string()).map_err(|error| cannot_write(&folder, &error))?;
    }
    let logs: Vec<PathBuf> = (0..count).map(|index| log(&folder, index)).collect();
    for (index, (broker, log)) in brokers.iter().zip(&logs).enumerate() {
        let process = broker.start(log)?;
        let mark = folder.join(format!("{index}.pid"));
        fs::write(mark, process.id().to_string()).map_err(|error| cannot_write(&folder, &error))?;
    }
    let begun = Instant::now();
    while !logs.iter().all(|log| broker::is_up(log)) {
        if running().len() < logs.len() || begun.elapsed() > START_WITHIN {
            return fail(format!("brokers do not start; their logs are in {FOLDER}"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("bootstrap.servers={}", bootstrap(&brokers));
    Ok(())
}

/// Stops the brokers of [`start`] in order; their data stays.
fn stop() -> Outcome {
    let begun = Instant::now();
    let stopped = running();
    for process in &stopped {
        // It may have ended just now.
        let _: bool = broker::stop(*process);
    }
    while !running().is_empty() {
        if begun.elapsed() > START_WITHIN {
            return fail("brokers do not stop");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{} brokers stopped; their data is in {FOLDER}", stopped.len());
    Ok(())
}

fn status() -> Outcome {
    let folder = repository().join(FOLDER);
    let count = running().len();
    let brokers: Vec<Broker> =
        (0..BROKERS_MAX).zip(0..count).map(|(index, _)| broker(&folder, index)).collect();
    match count {
        0 => println!("no broker is running"),
        _ => println!("{count} brokers are running: bootstrap.servers={}", bootstrap(&brokers)),
    }
    Ok(())
}

fn broker(folder: &Path, index: u16) -> Broker {
    let port = PORT + 10 * index;
    Broker::new(folder.join(format!("broker-{}", index + 1)), port, port + 1, None)
}

fn log(folder: &Path, index: u16) -> PathBuf {
    folder.join(format!("broker-{}.log", index + 1))
}

fn bootstrap(brokers: &[Broker]) -> String {
    brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",")
}

/// Processes of the brokers of [`start`] that are there.
fn running() -> Vec<u32> {
    let folder = repository().join(FOLDER);
    let marks = (0..BROKERS_MAX).map(|index| folder.join(format!("{index}.pid")));
    let processes = marks.filter_map(|mark| fs::read_to_string(mark).ok()?.parse().ok());
    processes.filter(|process| broker::is_running(*process)).collect()
}

fn cannot_write(folder: &Path, error: &std::io::Error) -> String {
    format!("cannot write {}: {error}", folder.display())
}

fn is_new_enough(java: &Path) -> bool {
    // It tells its version where others complain.
    let said = Command::new(java).arg("-version").stdin(Stdio::null()).output();
    said.is_ok_and(|said| {
        version(&String::from_utf8_lossy(&said.stderr)).is_some_and(|major| major >= JAVA_VERSION)
    })
}

/// The major version in `openjdk version "17.0.15" 2025-04-15`; old ones call themselves 1.8.
fn version(said: &str) -> Option<u32> {
    said.split('"').nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_java_is_told_from_new() {
        assert_eq!(version("openjdk version \"17.0.15\" 2025-04-15\n"), Some(17));
        assert_eq!(version("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(version("java version \"1.8.0_412\""), Some(1));
        assert_eq!(version("java: not found"), None);
    }

    #[test]
    fn brokers_for_people_have_ports_of_their_own() {
        let brokers: Vec<Broker> = (0..3).map(|index| broker(Path::new("x"), index)).collect();
        assert_eq!(bootstrap(&brokers), "127.0.0.1:19092,127.0.0.1:19102,127.0.0.1:19112");
    }
}
