//! Files whose name holds a checksum of their content: Parquet has none that its readers here look at, and a changed bit
//! may only give other values.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Before the checksum in a name: `…_x<32 hexadecimal digits>.parquet`.
const MARK: &str = "_x";
const ENDING: &str = ".parquet";
const CHECKSUM_BYTES: usize = 16;

/// Passes on what is written, and adds it up.
pub struct Checked<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W> Checked<W> {
    /// Begins with an empty file.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// What was written to, and the name it has to have instead of `name` (which ends in `.parquet`).
    pub fn finish(self, name: &str) -> (W, String) {
        let stem = name.strip_suffix(ENDING).unwrap_or(name);
        (self.inner, format!("{stem}{MARK}{}{ENDING}", checksum(&self.hasher)))
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Whether the file's content is the one that its name tells of; true where the name tells of none.
///
/// # Errors
///
/// If the file cannot be read.
pub fn is_whole(path: &Path) -> io::Result<bool> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match Check::of(name) {
        Some(check) => check.reads(&mut File::open(path)?),
        None => Ok(true),
    }
}

/// As [`is_whole`], of an open file from where it stands to its end.
///
/// # Errors
///
/// If the file cannot be read.
pub fn is_whole_file(name: &str, file: &mut File) -> io::Result<bool> {
    Check::of(name).map_or(Ok(true), |check| check.reads(file))
}

/// Holds content against the checksum in a name.
pub(crate) struct Check {
    told: String,
    hasher: blake3::Hasher,
}

impl Check {
    /// None if the name, or path, tells of no checksum.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let told = name.strip_suffix(ENDING)?.rsplit_once(MARK)?.1;
        let told = (told.len() == 2 * CHECKSUM_BYTES).then(|| told.to_owned())?;
        Some(Self { told, hasher: blake3::Hasher::new() })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    fn reads(mut self, file: &mut File) -> io::Result<bool> {
        self.hasher.update_reader(file)?;
        Ok(self.is_whole())
    }

    pub(crate) fn is_whole(&self) -> bool {
        checksum(&self.hasher) == self.told
    }
}

fn checksum(hasher: &blake3::Hasher) -> String {
    let mut bytes = [0; CHECKSUM_BYTES];
    hasher.finalize_xof().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_is_found_and_a_name_without_checksum_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut checked = Checked::new(Vec::new());
        checked.write_all(b"some rows").unwrap();
        let (content, name) = checked.finish("fresh_e1_0123456789abcdef0123456789abcdef.parquet");
        let path = dir.path().join(&name);
        std::fs::write(&path, &content).unwrap();
        assert!(is_whole(&path).unwrap(), "{name}");
        for bit in 0..8 * content.len() {
            let mut changed = content.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, changed).unwrap();
            assert!(!is_whole(&path).unwrap(), "bit {bit}");
        }
        std::fs::write(&path, &content[1..]).unwrap();
        assert!(!is_whole(&path).unwrap());
        assert!(
            is_whole(&dir.path().join("fresh_e1_0123456789abcdef0123456789abcdef.parquet"))
                .unwrap()
        );
    }
}
