//! Places of the log that cannot be read: tried again, then passed over and counted, so that one bad block neither
//! stops the worker for ever nor goes unnoticed.

use std::collections::BTreeMap;
use std::ops::Range;

use transport::LogError;

/// Rounds in which a place has to be unreadable before it is passed over: what failed once may be read yet.
const ATTEMPTS: u32 = 3;

/// Frames that were acknowledged and cannot be read, as met since the start.
#[derive(Default)]
pub(super) struct Damage {
    /// By partition and first position: how often it was met, and how many positions it has.
    met: BTreeMap<(u16, u64), (u32, u64)>,
}

/// What is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) partition: u16,
    pub(super) positions: Range<u64>,
    /// Whether this is the first time, and so to be told.
    pub(super) is_new: bool,
}

impl Damage {
    /// Notes that reading failed so; gives the positions to pass over once they have been met often enough.
    ///
    /// Where the frame before was passed over, one attempt is enough: damage comes in blocks.
    pub(super) fn meet(&mut self, error: &LogError) -> Option<Gone> {
        let (partition, positions) = error.gone()?;
        let before =
            positions.start.checked_sub(1).and_then(|last| self.met.get(&(partition, last)));
        let follows = before.is_some_and(|(times, _)| *times >= ATTEMPTS);
        let (times, count) = self.met.entry((partition, positions.start)).or_default();
        *times = if follows && *times == 0 { ATTEMPTS } else { *times + 1 };
        *count = positions.end - positions.start;
        let is_new = *times == ATTEMPTS;
        (*times >= ATTEMPTS).then_some(Gone { partition, positions, is_new })
    }

    /// Frames passed over so far.
    pub(super) fn frames(&self) -> u64 {
        self.met.values().filter(|(times, _)| *times >= ATTEMPTS).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_passed_over_at_the_third_attempt_and_its_neighbour_at_once() {
        let mut damage = Damage::default();
        let corrupt = |position| LogError::Corrupt { partition: 1, position };
        assert_eq!((damage.meet(&corrupt(7)), damage.meet(&corrupt(7))), (None, None));
        let gone = |positions, is_new| Some(Gone { partition: 1, positions, is_new });
        assert_eq!(damage.meet(&corrupt(7)), gone(7..8, true));
        assert_eq!(damage.meet(&corrupt(8)), gone(8..9, true));
        assert_eq!(damage.meet(&corrupt(10)), None);
        // Met again after a round that came to nothing.
        assert_eq!(damage.meet(&corrupt(7)), gone(7..8, false));
        assert_eq!(damage.frames(), 2);
        let lost = LogError::Lost { partition: 0, from: 3, to: 9 };
        assert_eq!((damage.meet(&lost), damage.meet(&lost)), (None, None));
        assert!(damage.meet(&lost).is_some_and(|gone| gone.positions == (3..9)));
        assert_eq!(damage.frames(), 8);
        assert_eq!(damage.meet(&LogError::Stopped), None);
    }
}
