//! TC strings of the Transparency and Consent Framework, versions 2.0 to 2.3: which purposes were consented to, and when.
//!
//! The layout is that of IAB Tech Lab's "Transparency and Consent String with Global Vendor & CMP List Formats", section
//! "The Core String". Of the string nothing is kept but 24 bits and a time: the whole of it is nearly unique to a visitor.
//! It is read to its end all the same, vendors and publisher's restrictions included, since a string that was cut
//! somewhere is none. Other segments (disclosed vendors, publisher's own purposes) say nothing that is asked here.

use schemas::Millis;

/// Longest string that is read, in bytes. Every known vendor by itself, in ranges, takes about half of it.
const BYTES_MAX: usize = 16 << 10;
/// Version of the format; the framework's own version is another field.
const VERSION: u64 = 2;

/// What is taken of a TC string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcString {
    /// Bit `i` stands for purpose `i + 1`: consented to.
    pub consents: u32,
    /// When the choice was made or confirmed; whole days in newer strings.
    pub updated: Millis,
}

impl TcString {
    /// Reads a string; nothing if it is none, or another version's. Never says what stood in it.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let core = text.split('.').next().filter(|_| text.len() <= BYTES_MAX)?;
        let mut bits = Bits { letters: core.as_bytes(), at: 0 };
        if bits.take(6)? != VERSION {
            return None;
        }
        let _created = bits.take(36)?;
        let updated = Millis(i64::try_from(bits.take(36)?.checked_mul(100)?).ok()?);
        // CMP, its version, screen, language, version of the vendors' list, of the policy, and three flags' worth.
        bits.skip(12 + 12 + 6 + 12 + 12 + 6 + 1 + 1 + 12)?;
        let purposes = bits.take(24)?;
        // Legitimate interests, purpose one, country.
        bits.skip(24 + 1 + 12)?;
        bits.vendors()?;
        bits.vendors()?;
        for _ in 0..bits.take(12)? {
            // Purpose and kind of a restriction, then whom it restricts.
            bits.skip(6 + 2)?;
            let ranges = bits.take(12)?;
            bits.ranges(ranges)?;
        }
        bits.end()?;
        let consents = (0..24).filter(|bit| purposes >> (23 - bit) & 1 == 1);
        Some(Self { consents: consents.fold(0, |set, bit| set | 1 << bit), updated })
    }

    /// Whether every one of these purposes, numbered from 1, was consented to.
    #[must_use]
    pub fn covers(self, purposes: &[u8]) -> bool {
        let has = |purpose: &u8| {
            let bit = u32::from(*purpose).checked_sub(1).filter(|bit| *bit < 24);
            bit.is_some_and(|bit| self.consents >> bit & 1 == 1)
        };
        purposes.iter().all(has)
    }
}

/// Bits of base64url without padding, first one first.
struct Bits<'a> {
    letters: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `count` bits as a number; at most 64.
    fn take(&mut self, count: usize) -> Option<u64> {
        let mut value = 0;
        for _ in 0..count {
            let letter = sextet(*self.letters.get(self.at / 6)?)?;
            value = value << 1 | u64::from(letter >> (5 - self.at % 6) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.letters.len() * 6).then_some(())
    }

    /// A list of vendors: a bit each, or ranges.
    fn vendors(&mut self) -> Option<()> {
        let last = usize::try_from(self.take(16)?).ok()?;
        if self.take(1)? == 0 {
            return self.skip(last);
        }
        let ranges = self.take(12)?;
        self.ranges(ranges)
    }

    /// Ranges of vendors: one, or a first and a last.
    fn ranges(&mut self, count: u64) -> Option<()> {
        for _ in 0..count {
            let is_range = self.take(1)? == 1;
            let first = self.take(16)?;
            if is_range && self.take(16)? < first {
                return None;
            }
        }
        Some(())
    }

    /// Whether all that is left are letters: what fills the last byte, or what a later version adds.
    fn end(&self) -> Option<()> {
        self.letters.iter().all(|letter| sextet(*letter).is_some()).then_some(())
    }
}

/// The six bits that a letter stands for.
fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::tc_string;

    #[test]
    fn purposes_and_the_time_are_read() {
        let day = Millis(1_795_392_000_000);
        for ranges in [false, true] {
            let text = tc_string(&[1, 8, 9], day, ranges);
            let read = TcString::read(&text).unwrap();
            assert_eq!(read, TcString { consents: 1 | 1 << 7 | 1 << 8, updated: day });
            assert!(read.covers(&[1, 8, 9]) && read.covers(&[9]));
            assert!(!read.covers(&[1, 2]) && !read.covers(&[0]) && !read.covers(&[25]));
            assert_eq!(TcString::read(&format!("{text}.IBAgAAAgAIAwgAgA")), Some(read));
        }
    }

    /// The example in the framework's own specification.
    #[test]
    fn a_string_of_somebody_else_is_read() {
        let text = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA";
        let read = TcString::read(text).unwrap();
        assert_eq!(read.updated.to_string().get(..10), Some("2021-02-02"));
        let purposes = (1..=24).filter(|purpose| read.covers(&[*purpose]));
        assert_eq!(purposes.collect::<Vec<u8>>(), [2, 10]);
    }

    #[test]
    fn a_string_that_is_cut_or_none_is_not_read() {
        let whole = tc_string(&[1], Millis(1_795_392_000_000), true);
        for length in 0..whole.len() {
            assert_eq!(TcString::read(&whole[..length]), None, "{length}");
        }
        for place in 0..whole.len() {
            let mut broken = whole.clone().into_bytes();
            broken[place] = b'+';
            assert_eq!(TcString::read(&String::from_utf8(broken).unwrap()), None, "{place}");
        }
        let other_version = format!("B{}", &whole[1..]);
        assert_eq!(TcString::read(&other_version), None);
        for text in ["", ".", "C", "${GDPR_CONSENT_755}", &"C".repeat(BYTES_MAX + 1)] {
            assert_eq!(TcString::read(text), None, "{}", text.len());
        }
    }
}
