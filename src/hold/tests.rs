//! Which holds a package allows.

use super::*;

const NOW: Millis = Millis(1_772_409_600_000);

fn package(hold: &str) -> Package {
    let policy = format!(
        "controller = \"C\"\nversion = \"1\"\n[purposes.improve]\nbasis = \"consent\"\n\
         source = \"text\"\nnotice = \"n\"\n{hold}"
    );
    let family = "family = \"web\"\ncontributor = { from = \"visit\" }\npurposes = [\"improve\"]\n\
                  [fields]\npage = { type = [\"a\"], is = \"usage\", about = \"a page\" }\n";
    let files = [("policy.toml", policy), ("web.toml", family.to_owned())];
    let files = files.map(|(name, text)| (name.to_owned(), text));
    Package::from_files(files.into()).unwrap()
}

fn asked(reason: &str, until: &str) -> Add {
    Add {
        family: "web".to_owned(),
        days: None,
        identifier: None,
        reason: reason.to_owned(),
        until: until.to_owned(),
    }
}

#[test]
fn the_package_says_why_and_how_long() {
    let silent = package("");
    assert!(lot(&silent, &asked("claim", "2026-03-04"), NOW).is_err(), "not by default");
    let some = package(
        "[legal_hold]\nat_most = \"10 days\"\nreasons = [\"claim\"]\nnotice = \"for claims\"\n",
    );
    let held = lot(&some, &asked("claim", "2026-03-04"), NOW).unwrap();
    assert_eq!(held.end.as_deref(), Some("2026-03-05T00:00:00.000Z"), "that day is the last");
    assert_eq!(
        (held.kind, held.state, held.reason.as_str()),
        (Kind::Hold, State::Writing, "claim")
    );
    for (reason, until) in [
        ("curiosity", "2026-03-04"),
        ("claim", "2026-03-01"),
        ("claim", "2026-03-13"),
        ("claim", "soon"),
        ("claim", "2026-03-04T00:00"),
    ] {
        assert!(lot(&some, &asked(reason, until), NOW).is_err(), "{reason} {until}");
    }
    assert!(lot(&some, &asked("claim", "2026-03-12"), NOW).is_ok());
}

#[test]
fn the_ledger_keeps_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = Arc::new(anonymizer::Folder::new(dir.path().to_owned()));
    let ledger = ledger(shelf);
    let ended = Ended { put_back: 1, destroyed: 2 };
    for step in [Step::Held { rows: 3 }, Step::Released(ended), Step::Over(ended)] {
        ledger.write("a", step, NOW).unwrap();
    }
    let path = dir.path().join(LEDGER);
    let whole = std::fs::read_to_string(&path).unwrap();
    assert_eq!(whole.lines().count(), 3);
    assert!(
        whole.contains(r#""hold":"a","state":"released","put_back":1,"destroyed":2"#),
        "{whole}"
    );
    // Behind what a crash tore comes a line of its own.
    std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    ledger.write("b", Step::Dropped, NOW).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().last().unwrap().ends_with(r#""hold":"b","state":"dropped"}"#), "{text}");
}
