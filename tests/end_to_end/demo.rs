//! `quorate demo` without a terminal: it ends, with success, shows what it must, and tells how to look at its page.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{http, printed, quorate};

#[test]
fn the_demo_shows_books_an_event_a_statistic_and_a_search_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let mut command = quorate();
    command.args(["demo", "--events", "20000", "--data"]).arg(&data).current_dir(folder.path());
    let screen = printed(&mut command);
    for needed in [
        "received",
        "stored",
        "duplicate",
        "refused", // the books
        "sent",
        "kept", // one event, before and after
        "█",
        "hidden",       // a statistic as bars, with groups under k hidden
        "0 found",      // the search
        "quorate init", // what to do next
    ] {
        assert!(screen.contains(needed), "{needed:?} is missing:\n{screen}");
    }
    let numbers = |word: &str| -> Vec<u64> {
        let lines = screen.lines().filter(|line| line.contains(word));
        lines
            .flat_map(|line| line.split_whitespace())
            .filter_map(|word| word.replace([',', '\u{202f}', '_'], "").parse().ok())
            .collect()
    };
    assert!(numbers("received").contains(&20_000), "{screen}");
    assert!(
        screen.lines().all(|line| line.chars().count() <= 120),
        "one screen is not wider:\n{screen}"
    );
    the_page_of_the_demo_opens(&screen);
}

/// Every package that is shipped shows, made-up, what its company would see of each of its families.
#[test]
fn the_demo_of_each_policy_shows_statistics_of_each_family() {
    let policies = ["copenhagen-imaging", "cephio", "lab-dental-digital", "3d4medical", "ceetron"];
    std::thread::scope(|scope| {
        let (first, second) = policies.split_at(2);
        for some in [first, second] {
            scope.spawn(move || some.iter().for_each(|policy| shows_each_family(policy)));
        }
    });
}

#[track_caller]
fn shows_each_family(policy: &str) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("demo");
    let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(policy);
    let mut command = quorate();
    command.args(["demo", "--events", "8000", "--policy"]).arg(&policy).arg("--data").arg(&data);
    let screen = printed(&mut command);
    assert!(screen.contains("█") && screen.contains("0 found"), "{screen}");
    let package = schemas::Package::load(&policy).unwrap();
    for (index, family) in package.families.iter().enumerate() {
        let (name, called) = (&family.name, &family.contributor.called);
        let of_it = package.statistics.iter().filter(|statistic| statistic.family == index);
        let visible = of_it.map(|statistic| &statistic.name).any(|statistic| {
            let statement =
                format!("select count(*) as n from {statistic} where {called} is not null");
            let mut command = quorate();
            command.arg("--config").arg(data.join("quorate.toml")).args(["sql", &statement]);
            printed(&mut command)
                .split(['|', '\n'])
                .any(|cell| cell.trim().parse::<u64>().is_ok_and(|count| count > 0))
        });
        assert!(visible, "nothing is seen of {name} in {}", policy.display());
    }
}

/// Ends the process whatever becomes of the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The line that the demo prints, run as it stands there, and the page that it names, asked as a browser does.
#[track_caller]
fn the_page_of_the_demo_opens(screen: &str) {
    let line = screen.lines().find(|line| line.trim_end().ends_with(" run")).expect(screen);
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("quorate"));
    let child = quorate().args(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = Ended(child);
    let output = BufReader::new(child.0.stdout.take().unwrap());
    let page = output.lines().map_while(Result::ok).find(|line| line.starts_with("page"));
    let page = page.expect("it says where the page is");
    let address = page.split(['/', ' ']).find_map(|word| word.parse::<SocketAddr>().ok()).unwrap();
    let answer = http::send(address, "GET", "/", &[], b"");
    assert_eq!(answer.status, 200);
    assert!(answer.body().contains("assets/index.js"), "{}", answer.body());
    let token = screen.split_whitespace().find(|word| word.starts_with("qr_")).expect(screen);
    let bearer = format!("Bearer {token}");
    let answer = http::send(address, "GET", "/v1/statistics", &[("Authorization", &bearer)], b"");
    assert_eq!(answer.status, 200, "{}", answer.body());
    assert!(answer.json()[0]["complete_until"].is_string(), "{}", answer.body());
}
