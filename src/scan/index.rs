//! Finds any of very many byte strings in one pass.
//!
//! A demo looks for tens of thousands of values in twenty forms each. An Aho-Corasick automaton over
//! them needs hundreds of megabytes; here the last bytes of each pattern are looked up in a bitmap at
//! every position, and only what passes it is compared.

use super::Form;

/// Bytes looked up at each position: the shortest pattern.
pub(super) const WINDOW: usize = 7;
const WINDOW_MASK: u64 = (1 << (8 * WINDOW)) - 1;

/// Bits of the bitmap for each pattern, so that few positions pass it by chance.
const BITS_PER_PATTERN: usize = 32;

/// What a file holds where it was given room and nothing was written yet.
const EMPTY: [u8; 4096] = [0; 4096];

struct Pattern {
    start: usize,
    length: usize,
    needle: u32,
    form: Form,
}

/// Collects patterns.
pub(super) struct Builder {
    folded: bool,
    arena: Vec<u8>,
    patterns: Vec<Pattern>,
}

/// Patterns, ready to be looked for.
pub(super) struct Index {
    folded: bool,
    arena: Vec<u8>,
    patterns: Vec<Pattern>,
    /// Last bytes of a pattern and its number, in order.
    tails: Vec<(u64, u32)>,
    filter: Vec<u64>,
    shift: u32,
}

impl Builder {
    /// Upper and lower case of ASCII letters are one.
    pub(super) fn folded() -> Self {
        Self { folded: true, arena: Vec::new(), patterns: Vec::new() }
    }

    /// Bytes as they are.
    pub(super) fn exact() -> Self {
        Self { folded: false, arena: Vec::new(), patterns: Vec::new() }
    }

    /// Adds a pattern of at least [`WINDOW`] bytes.
    pub(super) fn add(&mut self, bytes: &[u8], needle: u32, form: Form) {
        debug_assert!(bytes.len() >= WINDOW, "a pattern shorter than the window is never found");
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        if self.folded {
            self.arena[start..].make_ascii_lowercase();
        }
        let added = &self.arena[start..];
        // The forms of one value repeat each other where case or encoding changes nothing.
        let is_known = |known: &Pattern| {
            known.form == form && self.arena[known.start..][..known.length] == *added
        };
        if self.patterns.iter().rev().take_while(|known| known.needle == needle).any(is_known) {
            self.arena.truncate(start);
            return;
        }
        self.patterns.push(Pattern { start, length: bytes.len(), needle, form });
    }

    pub(super) fn build(self) -> Index {
        let Self { folded, arena, patterns } = self;
        let mut tails: Vec<(u64, u32)> = (0..)
            .zip(&patterns)
            .map(|(number, pattern)| {
                let end = pattern.start + pattern.length;
                let tail = arena[end - WINDOW..end].iter();
                (tail.fold(0, |window, &byte| window << 8 | u64::from(byte)), number)
            })
            .collect();
        tails.sort_unstable();

        let bits = (patterns.len() * BITS_PER_PATTERN).next_power_of_two().max(1 << 12);
        let shift = u64::BITS - bits.ilog2();
        let mut filter = vec![0_u64; bits / 64];
        for &(tail, _) in &tails {
            let (word, bit) = slot(tail, shift);
            filter[word] |= bit;
        }
        Index { folded, arena, patterns, tails, filter, shift }
    }
}

impl Index {
    /// Calls `found` with needle, form and end of every occurrence.
    pub(super) fn search(&self, bytes: &[u8], found: &mut dyn FnMut(u32, Form, usize)) {
        let mut window = 0;
        for (block, start) in bytes.chunks(EMPTY.len()).zip((0..).step_by(EMPTY.len())) {
            // Stores preallocate their files. Nothing ends behind the first zeros of an empty block.
            let length = if block == EMPTY { WINDOW } else { block.len() };
            for (&byte, position) in block[..length].iter().zip(start..) {
                let byte = if self.folded { byte.to_ascii_lowercase() } else { byte };
                window = (window << 8 | u64::from(byte)) & WINDOW_MASK;
                let (word, bit) = slot(window, self.shift);
                if self.filter[word] & bit != 0 {
                    self.compare(window, &bytes[..=position], found);
                }
            }
        }
    }

    /// Reports the patterns that `bytes` ends with.
    fn compare(&self, window: u64, bytes: &[u8], found: &mut dyn FnMut(u32, Form, usize)) {
        let first = self.tails.partition_point(|&(tail, _)| tail < window);
        let candidates = self.tails[first..].iter().take_while(|&&(tail, _)| tail == window);
        for &(_, number) in candidates {
            let pattern = &self.patterns[number as usize];
            let expected = &self.arena[pattern.start..][..pattern.length];
            let Some(start) = bytes.len().checked_sub(pattern.length) else { continue };
            let equal = match self.folded {
                true => bytes[start..].eq_ignore_ascii_case(expected),
                false => bytes[start..] == *expected,
            };
            if equal {
                found(pattern.needle, pattern.form, bytes.len());
            }
        }
    }
}

/// The bitmap's word and bit for a window: the high bits of a multiplicative hash.
fn slot(window: u64, shift: u32) -> (usize, u64) {
    let hash = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    // At most as many as the bitmap has bits, which are in memory.
    (usize::try_from(hash / 64).unwrap_or(usize::MAX), 1 << (hash % 64))
}
