//! A month of history, through the same import as `quorate import`.

use std::io::{BufRead, Read};

use anyhow::bail;

use super::place::SITE;
use super::steps::Steps;
use crate::commands::import::import as import_lines;
use crate::generate::Generator;
use crate::store::Store;

/// Imports all that `generator` makes.
///
/// # Errors
///
/// If the tables cannot be written, or the import counts other lines than were given to it.
pub(super) async fn import(
    store: &mut Store,
    generator: &mut Generator<'_>,
    events: u64,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let step = steps.begin("importing a month of history", Some(events));
    let lines = Lines { generator, line: Vec::new(), read: 0 };
    let imported = import_lines(store, lines, SITE, &mut |lines, _| step.at(lines)).await?;
    if imported.received != events {
        bail!("{events} lines were given, {} were read", imported.received);
    }
    step.end();
    Ok(())
}

/// A generator as a file of NDJSON that is never written.
struct Lines<'g, 'p> {
    generator: &'g mut Generator<'p>,
    line: Vec<u8>,
    read: usize,
}

impl BufRead for Lines<'_, '_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.read == self.line.len() {
            self.read = 0;
            self.line.clear();
            if let Some(event) = self.generator.next() {
                self.line.extend_from_slice(event.line().as_bytes());
                self.line.push(b'\n');
            }
        }
        Ok(&self.line[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = (self.read + amount).min(self.line.len());
    }
}

impl Read for Lines<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use schemas::{Millis, Package};

    use super::*;
    use crate::generate::Profile;
    use crate::store::default_package;

    #[test]
    fn every_event_is_a_line() {
        let package = Package::from_files(default_package()).unwrap();
        let profile =
            Profile::history(3, 200, Millis(1_790_000_000_000), Millis(1_790_500_000_000));
        let expected: Vec<String> =
            Generator::new(&package, profile.clone()).map(|event| event.line()).collect();
        let mut generator = Generator::new(&package, profile);
        let lines = Lines { generator: &mut generator, line: Vec::new(), read: 0 };
        let lines: Vec<String> = lines.lines().map(Result::unwrap).collect();
        assert_eq!(lines, expected);
    }
}
