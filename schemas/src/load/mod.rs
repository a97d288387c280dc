//! From the text of a package to the compiled [`Package`], or to everything that is wrong with it.
//!
//! Reading never stops at a mistake: a part that cannot be understood is replaced by something harmless, and
//! the package is given out only if nothing at all was found. Parts are marked as unsound, so that one mistake
//! is reported once and not again by everything that refers to it.

mod family;
mod field;
mod flags;
mod measure;
mod pattern;
mod period;
mod policy;
mod purpose;
mod recipient;
mod source;
mod statistics;
mod table;
mod transform;
mod types;
pub(crate) mod words;

use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use self::source::SourceFile;
use self::table::Table;
use crate::diagnostic::Diagnostic;
use crate::model::{Digest, Honoured, Package, Stated};

const POLICY: &str = "policy.toml";
const STATISTICS: &str = "statistics.toml";
/// What made-up events look like: lies in a package's folder, and is no part of the package or its digest.
pub const GENERATE_FILE: &str = "generate.toml";
/// Larger files are not written by people.
const FILE_BYTES_MAX: usize = 1 << 20;

impl Package {
    /// Reads the TOML files of a folder: `policy.toml`, `statistics.toml`, and one more for each family.
    /// [`GENERATE_FILE`], other files and folders within it are left alone.
    ///
    /// # Errors
    ///
    /// Every mistake in every file, in order of file and line.
    pub fn load(folder: &Path) -> Result<Self, Vec<Diagnostic>> {
        match read_folder(folder) {
            Ok(files) => Self::from_files(files),
            Err((path, error)) => Err(vec![Diagnostic {
                file: path.display().to_string(),
                line: 1,
                column: 1,
                message: format!("cannot be read ({})", error.kind()),
                instead: format!("the path of a folder with a readable {POLICY}"),
            }]),
        }
    }

    /// As [`Package::load`], from pairs of file name and text.
    ///
    /// # Errors
    ///
    /// Every mistake in every file, in order of file and line.
    pub fn from_files(mut files: Vec<(String, String)>) -> Result<Self, Vec<Diagnostic>> {
        files.retain(|(name, _)| name != GENERATE_FILE);
        files.sort();
        let digest = digest(&files);
        if !files.iter().any(|(name, _)| name == POLICY) {
            return Err(vec![Diagnostic {
                file: POLICY.to_owned(),
                line: 1,
                column: 1,
                message: "the package has no such file".to_owned(),
                instead: "one, with `controller`, `version` and `[purposes]`".to_owned(),
            }]);
        }
        let sources: Vec<SourceFile> =
            files.into_iter().map(|(name, text)| SourceFile::new(name, text)).collect();
        let package = compile(&sources, digest);
        let mut found: Vec<Diagnostic> =
            sources.into_iter().flat_map(SourceFile::into_found).collect();
        if found.is_empty() {
            return Ok(package);
        }
        found.sort();
        found.dedup();
        Err(found)
    }
}

fn read_folder(
    folder: &Path,
) -> Result<Vec<(String, String)>, (std::path::PathBuf, std::io::Error)> {
    let mut files = Vec::new();
    let here = |error| (folder.to_owned(), error);
    for entry in std::fs::read_dir(folder).map_err(here)? {
        let path = entry.map_err(here)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with('.') && name.ends_with(".toml") {
            let text = std::fs::read_to_string(&path).map_err(|error| (path.clone(), error))?;
            files.push((name.to_owned(), text));
        }
    }
    Ok(files)
}

fn digest(files: &[(String, String)]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in files.iter().flat_map(|(name, text)| [name, text]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    Digest(*hasher.finalize().as_bytes())
}

/// What TOML makes of one file; none where it is not TOML.
struct Document<'a> {
    file: &'a SourceFile,
    content: Option<Spanned<DeTable<'a>>>,
}

impl<'a> Document<'a> {
    fn parse(file: &'a SourceFile) -> Self {
        if file.text.len() > FILE_BYTES_MAX {
            file.wrong(&(0..0), "the file is larger than 1 MiB", "smaller files, one a family");
            return Self { file, content: None };
        }
        let (content, errors) = DeTable::parse_recoverable(&file.text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            file.wrong(&span, format!("not TOML: {}", error.message()), TOML_FORM);
        }
        // What recovery made up would only be reported a second time.
        Self { file, content: errors.is_empty().then_some(content) }
    }

    fn table(&'a self) -> Option<Table<'a>> {
        self.content.as_ref().map(|content| Table::new(self.file, 0..0, content.get_ref()))
    }
}

const TOML_FORM: &str =
    "`key = \"text\"`, `key = 1`, `key = [..]` or `key = { .. }`, each key once";

/// Compiles whatever can be; counts only if no file has found a mistake.
fn compile(sources: &[SourceFile], digest: Digest) -> Package {
    let documents: Vec<Document<'_>> = sources.iter().map(Document::parse).collect();
    let named = |name: &str| documents.iter().find(|document| document.file.name == name);
    let mut package = Package {
        controller: String::new(),
        version: String::new(),
        digest,
        residency: None,
        contact: None,
        authority: None,
        fleet: Vec::new(),
        answer_within_days: policy::ANSWER_WITHIN_DAYS,
        answer_source: Stated::Assumed,
        signals: Honoured::default(),
        purposes: Vec::new(),
        recipients: Vec::new(),
        legal_hold: None,
        refused: policy::everything_refused(),
        families: Vec::new(),
        statistics: Vec::new(),
    };
    let policy = named(POLICY).and_then(Document::table);
    let policy_sound = policy.is_some();
    if let Some(table) = policy {
        policy::read(&table, &mut package);
    }
    let mut families = Vec::new();
    let mut all_read = true;
    for document in &documents {
        if [POLICY, STATISTICS].contains(&document.file.name.as_str()) {
            continue;
        }
        let purposes = policy_sound.then_some(package.purposes.as_slice());
        match document.table().and_then(|table| family::read(&table, purposes, &package.refused)) {
            Some(family) => families.push(family),
            None => all_read = false,
        }
    }
    let shared = family::check_names(&mut families);
    if let Some(table) = named(STATISTICS).and_then(Document::table) {
        let purposes = policy_sound.then_some(package.purposes.as_slice());
        let declared =
            statistics::Declared { families: &families, shared: &shared, all_read, purposes };
        package.statistics = statistics::read(&table, &declared);
    }
    if families.is_empty()
        && all_read
        && let Some(document) = named(POLICY)
    {
        document.file.wrong(
            &(0..0),
            "the package declares no family",
            "a file for each kind of event, with `family`, `contributor` and `[fields]`",
        );
    }
    package.families = families.into_iter().map(|draft| draft.family).collect();
    package
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_knows_where_a_file_ends() {
        let one = |name: &str, text: &str| digest(&[(name.to_owned(), text.to_owned())]);
        assert_ne!(one("a", "bc"), one("ab", "c"));
        assert_eq!(one("a", "bc"), one("a", "bc"));
    }
}
