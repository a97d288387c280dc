//! Contributors of a group, as far as a threshold has to know them.

use std::collections::BTreeSet;

/// A stand-in for one contributor within one computation: 16 bytes, never stored.
///
/// 64 of a pseudonym's 128 bits: two contributors in a group of hidden cells are taken for one with a
/// probability under 2^-50 (a thousand of them), and that errs towards hiding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contributor {
    /// The key epoch of the pseudonym.
    pub epoch: i32,
    /// The first bytes of it.
    pub hash: u64,
}

/// The contributors of a group, against a threshold k.
///
/// One device has another pseudonym in each epoch, and a period can hold rows of two epochs (rows that came
/// late). Contributors therefore count as distinct for certain only within one epoch, and the epoch with the
/// most of them decides. Memory: the contributors of a crowd of k or more are not kept.
#[derive(Clone, Debug)]
pub enum Crowd {
    /// Fewer than k for all we know: these.
    Few(BTreeSet<Contributor>),
    /// At least k.
    Enough,
}

impl Crowd {
    /// Nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::Few(BTreeSet::new())
    }

    /// Counts `contributors` against `k`.
    #[must_use]
    pub fn of(contributors: impl IntoIterator<Item = Contributor>, k: u64) -> Self {
        let set: BTreeSet<_> = contributors.into_iter().collect();
        if distinct(&set) >= k { Self::Enough } else { Self::Few(set) }
    }

    /// All crowds together, against `k`.
    #[must_use]
    pub fn union<'a>(crowds: impl IntoIterator<Item = &'a Self>, k: u64) -> Self {
        let mut all = BTreeSet::new();
        for crowd in crowds {
            match crowd {
                Self::Enough => return Self::Enough,
                Self::Few(some) => all.extend(some),
            }
            // Counting costs a pass over `all`, so only where it can change the answer.
            if all.len() as u64 >= k && distinct(&all) >= k {
                return Self::Enough;
            }
        }
        if distinct(&all) >= k { Self::Enough } else { Self::Few(all) }
    }

    /// Whether there are at least k.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        matches!(self, Self::Enough)
    }
}

/// The contributors of the epoch that has most of them.
fn distinct(set: &BTreeSet<Contributor>) -> u64 {
    let (mut most, mut run, mut epoch) = (0, 0, None);
    for contributor in set {
        run = if epoch == Some(contributor.epoch) { run + 1 } else { 1 };
        epoch = Some(contributor.epoch);
        most = most.max(run);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(epoch: i32, hash: u64) -> Contributor {
        Contributor { epoch, hash }
    }

    #[test]
    fn pseudonyms_of_two_epochs_may_be_one_device() {
        let both = [who(1, 10), who(1, 11), who(2, 20), who(2, 21)];
        assert!(!Crowd::of(both, 3).is_enough());
        assert!(Crowd::of(both, 2).is_enough());
    }

    #[test]
    fn a_union_counts_each_contributor_once() {
        let one = Crowd::of([who(1, 1), who(1, 2)], 4);
        let other = Crowd::of([who(1, 2), who(1, 3)], 4);
        assert!(!Crowd::union([&one, &other], 4).is_enough());
        assert!(Crowd::union([&one, &other], 3).is_enough());
    }

    #[test]
    fn nobody_is_never_enough() {
        assert!(!Crowd::nobody().is_enough());
        assert!(!Crowd::union([], 1).is_enough());
    }
}
