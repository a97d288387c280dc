//! `quorate demo` without a terminal: it ends, with success, and shows what it must.

use crate::support::{printed, quorate};

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
}
