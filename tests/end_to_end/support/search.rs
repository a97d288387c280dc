//! The search through everything that came out, stores of keys and values included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quorate::scan::{Report, Scanner};
use sink::Counted;
use storage::Root;

/// Searches every file below `root`: raw, decoded where it is Parquet, and each entry of every fjall
/// store, where a value may lie in compressed blocks.
pub(crate) fn everything(root: &Path, scanner: &Scanner) -> Report {
    let mut report = Report::default();
    scanner.folder(root, &mut report).expect("every file can be read");
    for store in stores(root) {
        entries(&store, scanner, &mut report);
    }
    report
}

/// What the finding tests print: places and forms, each once.
pub(crate) fn told(report: &Report) -> String {
    let mut lines: Vec<String> = report
        .findings
        .iter()
        .map(|found| format!("{} as {} in {}", found.kind, found.form, found.place))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines.join("\n")
}

/// Folders of fjall stores below `root`: they hold its journals and its keyspaces.
pub(crate) fn stores(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("keyspaces").is_dir() {
            found.push(folder);
            continue;
        }
        let entries = std::fs::read_dir(&folder).expect("the folder can be listed");
        let entries = entries.map(|entry| entry.expect("the folder can be listed").path());
        folders.extend(entries.filter(|path| path.is_dir() && !path.is_symlink()));
    }
    found
}

/// Searches keys and values of a store, from a copy: opening one changes its files.
fn entries(store: &Path, scanner: &Scanner, report: &mut Report) {
    let copy = tempfile::tempdir().expect("a temporary folder");
    copy_folder(store, copy.path());
    let database = fjall::Database::builder(copy.path()).open().expect("a store that was closed");
    for name in database.list_keyspace_names() {
        let options = fjall::KeyspaceCreateOptions::default;
        let keyspace = database.keyspace(&name, options).expect("a listed keyspace");
        let place = format!("{}, keyspace {}", store.display(), &*name);
        for entry in keyspace.iter() {
            let (key, value) = entry.into_inner().expect("a whole entry");
            report.values += 1;
            scanner.bytes(&place, &key, report);
            scanner.bytes(&place, &value, report);
        }
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the copy can be written");
    for entry in std::fs::read_dir(from).expect("the folder can be listed") {
        let entry = entry.expect("the folder can be listed");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

/// What the books say, by name of outcome, reason or note; families and partitions together.
pub(crate) fn outcomes(data: &Path) -> BTreeMap<String, u64> {
    outcomes_at(&data.into(), data)
}

/// As [`outcomes`], of any root; a folder of this machine is for what has to be fetched.
pub(crate) fn outcomes_at(root: &Root, staging: &Path) -> BTreeMap<String, u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let rows = runtime.block_on(sink::outcomes(root, staging)).expect("the books");
    let mut sums = BTreeMap::new();
    for row in rows {
        let name = match row.counted {
            Counted::Received => "received",
            Counted::Outcome(outcome) => outcome.name(),
            Counted::Refused(reason) => reason.name(),
            Counted::Note(note) => note.name(),
            Counted::Named(..) => continue,
        };
        *sums.entry(name.to_owned()).or_default() += row.count;
    }
    sums
}
