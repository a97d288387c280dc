//! Registry files: read whole, replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::AccessError;

/// Reads a registry. A file that does not exist is an empty registry: nobody may do anything.
pub(super) fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, AccessError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::default()),
        Err(source) => return Err(AccessError::File { path: path.to_owned(), source }),
    };
    toml::from_str(&text).map_err(|error| {
        // The parser's message quotes the file, and the file holds hashes: only the line goes on.
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(0, |before| before.matches('\n').count() + 1);
        AccessError::Malformed { path: path.to_owned(), line }
    })
}

/// Replaces a registry: after a crash there is the old file or the new one, readable by its owner alone.
pub(super) fn write<T: Serialize>(
    path: &Path,
    heading: &str,
    value: &T,
) -> Result<(), AccessError> {
    let body = toml::to_string(value).expect("tables of texts always have a TOML form");
    replace(path, &format!("{heading}\n{body}"))
        .map_err(|source| AccessError::File { path: path.to_owned(), source })
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    // Without this the rename itself may be lost with the power.
    File::open(folder)?.sync_all()
}

/// Whether `name` may stand for a source or reader: it becomes a metrics label and a public site id.
pub(super) fn check_name(name: &str) -> Result<(), AccessError> {
    let mut letters = name.bytes();
    let first = letters.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = letters.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if first && rest && name.len() <= 64 {
        Ok(())
    } else {
        Err(AccessError::Name(name.chars().take(80).collect()))
    }
}
