//! Files as they lie in folders and object stores: which belong there, who may read them, and what their texts say.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use schemas::Millis;
use storage::{Found, Root};

use super::finding::{Code, Finding};
use super::patterns::Rules;
use super::values::Values;
use crate::config::{Config, Location};
use crate::scan;

/// Bytes of a file without known content that are looked at.
const STRAY_BYTES_MAX: u64 = 64 << 20;

/// A root and all files below it.
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) files: Vec<Found>,
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A Parquet file of a table, or what lies beside it in its log.
    Data,
    /// An entry of a table's log, in JSON or as a checkpoint.
    Log,
    /// Lines of JSON, or one.
    Json,
    /// Sealed, hashed or derived: nothing to read for anybody.
    Opaque,
    /// Known, and not to be read: a token.
    Secret,
    /// Nobody knows.
    Stray,
}

impl Place {
    /// Every place of the configuration, each once: data folder, rows, statistics.
    pub(super) async fn all(config: &Config) -> anyhow::Result<Vec<Self>> {
        let mut places: Vec<Self> = Vec::new();
        let roots = [Root::folder(&config.data), config.events_root()?, config.statistics_root()?];
        for root in roots {
            if places.iter().any(|place| place.root.to_string() == root.to_string()) {
                continue;
            }
            let mut files = root.list("").await.with_context(|| format!("cannot list {root}"))?;
            if let (Some(folder), Some(ring)) = (root.as_folder(), config.keyring.dir.folder()) {
                // A ring that lies here is a finding of its own.
                files.retain(|file| !folder.join(&file.name).starts_with(ring));
            }
            places.push(Self { root, files });
        }
        Ok(places)
    }

    /// Names and times of the files below `folder`, of all places.
    pub(super) fn below<'a>(
        places: &'a [Self],
        folder: &'a str,
    ) -> impl Iterator<Item = &'a Found> {
        let files = places.iter().flat_map(|place| &place.files);
        files.filter(move |file| {
            file.name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

/// What a file of a place is.
pub(super) fn what(name: &str) -> What {
    let mut parts = name.split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match (first, second) {
        ("events" | "statistics", table) if !table.is_empty() => in_table(name, 2),
        ("ledger", "outcomes" | "releases") => in_table(name, 2),
        ("ledger", "keys.jsonl" | "requests.jsonl") => What::Json,
        ("policies" | "suppression", file) if file.ends_with(".json") => What::Json,
        // What a crash left of a write; it is swept away at the next start.
        ("ledger" | "policies" | "suppression", file) if file.ends_with(".tmp") => What::Json,
        ("log" | "index" | "staging" | "spill" | "apart" | "exports", _) => What::Opaque,
        ("clock.json", "") => What::Json,
        ("operator.token", "") => What::Secret,
        ("LOCK" | "REHEARSAL" | "beside.txt" | "STORE", "") => What::Opaque,
        _ => What::Stray,
    }
}

/// What a file of a table is whose folder has so many parts.
fn in_table(name: &str, parts: usize) -> What {
    let inside: Vec<&str> = name.split('/').skip(parts).collect();
    match inside.as_slice() {
        ["_delta_log", file] => {
            let entry = file.ends_with(".json") || file.ends_with(".parquet");
            if entry || *file == "_last_checkpoint" { What::Log } else { What::Stray }
        }
        [file] if file.ends_with(".parquet") => What::Data,
        [day, file] if day.starts_with("day=") && file.ends_with(".parquet") => What::Data,
        _ => What::Stray,
    }
}

/// Looks at the files of a place: those that nobody knows, those that no table names, and the texts. `named` are the data
/// files that tables name, below the roots.
pub(super) fn look(
    place: &Place,
    named: &BTreeSet<String>,
    values: &mut Values,
    findings: &mut Vec<Finding>,
) -> u64 {
    let mut files = 0;
    for file in &place.files {
        let full = place.root.join(&file.name).to_string();
        let kind = what(&file.name);
        let unnamed = kind == What::Data && !named.contains(&file.name);
        if kind == What::Stray {
            findings.push(Finding::new(Code::Stray, "nobody knows this file", full.clone()));
        } else if unnamed {
            let what = "a data file that the table's log does not name";
            findings.push(Finding::new(Code::Stray, what, full.clone()));
        }
        if kind == What::Secret || (kind == What::Data && !unnamed) {
            continue;
        }
        files += 1;
        let looked = read(&place.root, &file.name).map(|bytes| {
            texts(&file.name, kind, bytes, values, findings);
        });
        match looked {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => {
                findings.push(Finding::new(Code::Unreadable, "the file cannot be read", full));
            }
        }
    }
    files
}

/// The content of a file, or the beginning of one that is large.
fn read(root: &Root, name: &str) -> std::io::Result<Vec<u8>> {
    let Some(folder) = root.as_folder() else { return root.read(name) };
    let mut bytes = Vec::new();
    std::fs::File::open(folder.join(name))?.take(STRAY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn texts(name: &str, kind: What, bytes: Vec<u8>, values: &mut Values, findings: &mut Vec<Finding>) {
    let mut log = |text: &str, values: &mut Values| {
        values.text(name, name, text, Rules::STRICT);
        if name.starts_with("events/") && tells_values(text) {
            let what = "the table's log holds least and greatest values, or a predicate";
            findings.push(Finding::new(Code::ColumnStatistics, what, name));
        }
    };
    if bytes.starts_with(b"PAR1") {
        let raw = bytes.clone();
        let decoded = scan::decoded(bytes, &mut |column, lines, count| {
            values.values += count;
            let text = String::from_utf8_lossy(lines);
            match kind {
                What::Log => log(&text, values),
                What::Data | What::Json | What::Opaque | What::Secret | What::Stray => {
                    let place = format!("{name}, column {column}");
                    text.lines().for_each(|line| values.text(&place, &place, line, Rules::ALL));
                }
            }
        });
        if decoded.is_err() {
            values.opaque(name, name, &raw);
        }
        return;
    }
    match (kind, std::str::from_utf8(&bytes)) {
        (What::Json, Ok(text)) => values.lines(name, text),
        (What::Log, Ok(text)) => log(text, values),
        (What::Stray, Ok(text)) => values.text(name, name, text, Rules::ALL),
        (What::Json | What::Log | What::Stray | What::Data | What::Opaque | What::Secret, _) => {
            values.opaque(name, name, &bytes);
        }
    }
}

/// Whether an entry of a table's log tells of values: it may count rows, and nothing else.
fn tells_values(entry: &str) -> bool {
    ["minValues", "maxValues", "\"predicate\""].iter().any(|part| entry.contains(part))
}

/// Who else may read rows and keys, and whether the key-encryption key lies with what it opens.
pub(super) fn guarded(config: &Config, findings: &mut Vec<Finding>) {
    let events = config.storage.events.as_ref().and_then(|root| root.url.folder());
    for folder in [Some(config.data.as_path()), events].into_iter().flatten() {
        if open_to_others(folder) {
            let what = "others on this machine may look into the folder";
            findings.push(Finding::new(Code::ReadableByOthers, what, folder.display().to_string()));
        }
    }
    let key = &config.keyring.key_encryption_key;
    let mut secrets = vec![key.clone(), config.operator_token()];
    if let Some(folder) = config.keyring.dir.folder() {
        secrets.extend(entries(&folder.join("keys")));
    }
    for secret in secrets {
        if mode(&secret).is_some_and(|mode| mode & 0o077 != 0) {
            let what = "others on this machine may read the file";
            findings.push(Finding::new(Code::ReadableByOthers, what, secret.display().to_string()));
        }
    }
    let roots = [config.storage.events.as_ref(), config.storage.statistics.as_ref()];
    let roots = roots.into_iter().flatten().filter_map(|root| root.url.folder());
    let copied = roots.chain([config.data.as_path()]).chain(config.keyring.dir.folder());
    if let Some(with) = copied.into_iter().find(|folder| lies_in(key, folder)) {
        let what =
            format!("the key-encryption key lies in {}: a copy of it has both", with.display());
        findings.push(Finding::new(Code::KeysKept, what, key.display().to_string()));
    }
    if let Location::Folder(ring) = &config.keyring.dir
        && lies_in(ring, &config.data)
    {
        let with = config.data.display();
        let what = format!("the key ring lies in {with}: a copy of the data has the keys");
        findings.push(Finding::new(Code::KeysKept, what, ring.display().to_string()));
    }
    if let Err(error) = crate::harden::check_folders(&config.keyring) {
        let place = config.keyring.dir.to_string();
        findings.push(Finding::new(Code::KeysKept, error.to_string(), place));
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn lies_in(path: &Path, folder: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    match (whole(path), whole(folder)) {
        (Ok(path), Ok(folder)) => path.starts_with(folder),
        _ => false,
    }
}

fn mode(path: &Path) -> Option<u32> {
    Some(std::fs::metadata(path).ok()?.permissions().mode())
}

/// Whether somebody who is neither owner nor of the group can come to a folder and look into it.
fn open_to_others(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let enters = |path: &Path| mode(path).is_some_and(|mode| mode & 0o001 != 0);
    folder.ancestors().all(enters)
}

/// Time of a file, RFC 3339.
pub(super) fn written(file: &Found) -> String {
    Millis(file.modified_ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_place() {
        for (name, expected) in [
            ("events/web/day=2026-11-22/fresh_e1_a_xb.parquet", What::Data),
            ("events/web/_delta_log/00000000000000000002.json", What::Log),
            ("events/web/_delta_log/00000000000000000002.checkpoint.parquet", What::Log),
            ("events/web/_delta_log/notes.txt", What::Stray),
            ("events/web/copy.csv", What::Stray),
            ("events/web/other/copy.parquet", What::Stray),
            ("events/x", What::Stray),
            ("statistics/visitors/part-0.parquet", What::Data),
            ("ledger/outcomes/mixed_e0_a.parquet", What::Data),
            ("ledger/keys.jsonl", What::Json),
            ("ledger/other.jsonl", What::Stray),
            ("policies/0a.json", What::Json),
            ("suppression/list.json", What::Json),
            ("log/keyspaces/1/tables/3", What::Opaque),
            ("operator.token", What::Secret),
            ("clock.json", What::Json),
            ("dump.sql", What::Stray),
        ] {
            assert_eq!(what(name), expected, "{name}");
        }
    }

    #[test]
    fn a_log_may_count_rows_and_nothing_else() {
        assert!(!tells_values(r#"{"add":{"path":"a","stats":"{\"numRecords\":53}"}}"#));
        assert!(tells_values(
            r#"{"add":{"stats":"{\"numRecords\":5,\"minValues\":{\"page\":\"/\"}}"}}"#
        ));
        assert!(tells_values(
            r#"{"commitInfo":{"operationParameters":{"predicate":"page = '/'"}}}"#
        ));
    }

    #[test]
    fn a_folder_is_open_if_everything_above_it_is() {
        let top = tempfile::tempdir_in("/tmp").unwrap();
        let inner = top.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (outer_mode, inner_mode, open) in
            [(0o700, 0o755, false), (0o755, 0o755, true), (0o755, 0o750, false)]
        {
            set(top.path(), outer_mode);
            set(&inner, inner_mode);
            assert_eq!(open_to_others(&inner), open, "{outer_mode:o} {inner_mode:o}");
        }
    }
}
