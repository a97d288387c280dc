//! Which groups may be shown: k contributors, and complementary suppression across groupings.
//!
//! Pure: cells in, one `bool` a cell out. For the method see Hundepool et al., "Statistical Disclosure
//! Control" (2012), chapter 4; here it is done for all groupings of a statistic at once.
//!
//! **Guarantee.** Unit of privacy: one pseudonym in one key epoch. Let a reader know every visible cell
//! exactly (rounding comes later and takes away from this), and which hidden cells exist. Then (1) every
//! visible cell has at least k contributors, counted as [`Crowd`] says; (2) under every visible cell the
//! hidden cells of a finer grouping are none, or at least two of k contributors together; (3) no hidden cell
//! of fewer than k contributors is determined by the linear relations between additive measures of the
//! groupings (a total is the sum of its parts, and two groupings agree on what they have in common).
//! **Not covered:** other statistics or periods of the same events, bounds that follow from counts not being
//! negative, and what a reader knows from elsewhere. That is why answers say "staff-only".

mod crowd;
mod lattice;
mod linear;

#[cfg(test)]
mod tests;

pub use crowd::{Contributor, Crowd};

use lattice::Lattice;

/// One group of one grouping: what the decision depends on, and nothing of what was measured.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Index of its grouping.
    pub grouping: usize,
    /// Its values, in order of the grouping's dimensions; no value is a value too.
    pub key: Vec<Option<String>>,
    /// Its contributors.
    pub crowd: Crowd,
    /// By which the smallest sibling is found when one more has to be hidden: its number of contributors.
    pub size: u64,
    /// Whether it may be shown at all; a cell hidden for another reason stays hidden, and protects others.
    pub eligible: bool,
}

/// Matrix entries that may be touched for one statistic and period: seconds, and at most some 200 MB.
const WORK_MAX: usize = 4_000_000;

/// Decides for each of `cells` whether it may be shown.
///
/// `groupings` are lists of dimensions by number, the dimensions of each in the order of its cells' keys. Cells
/// are those that have rows; a grouping's cells must hold every row that another grouping's hold.
/// `k` must be the one that the crowds were counted against.
///
/// Cost: memory of the size of the cells, times the number of pairs of groupings where one refines the other;
/// time of sparse eliminations over the hidden cells, bounded. Beyond the bound the grouping with the most
/// hidden cells is hidden whole, and of those cells a reader is taken not to know which exist.
#[must_use]
pub fn visible(groupings: &[Vec<usize>], cells: &[Cell], k: u64) -> Vec<bool> {
    visible_within(groupings, cells, k, WORK_MAX)
}

fn visible_within(groupings: &[Vec<usize>], cells: &[Cell], k: u64, work_max: usize) -> Vec<bool> {
    let mut kept: Vec<usize> = (0..groupings.len()).collect();
    loop {
        let levels: Vec<_> = kept.iter().map(|&grouping| groupings[grouping].clone()).collect();
        let level = |cell: &Cell| kept.iter().position(|&grouping| grouping == cell.grouping);
        let of_kept: Vec<(usize, Cell)> = cells
            .iter()
            .enumerate()
            .filter_map(|(index, cell)| {
                Some((index, Cell { grouping: level(cell)?, ..cell.clone() }))
            })
            .collect();
        let (indices, subset): (Vec<usize>, Vec<Cell>) = of_kept.into_iter().unzip();
        match settle(Lattice::new(&levels, &subset, k), work_max) {
            Ok(decided) => {
                let mut visible = vec![false; cells.len()];
                indices.into_iter().zip(decided).for_each(|(cell, is)| visible[cell] = is);
                return visible;
            }
            Err(too_large) => {
                kept.remove(too_large);
            }
        }
    }
}

/// Hides until nothing is given away, or says which level to do without.
fn settle(mut lattice: Lattice, mut work: usize) -> Result<Vec<bool>, usize> {
    loop {
        lattice.hide_siblings();
        let sums = linear::derivable(&lattice.equations(), &mut work)
            .map_err(|linear::TooLarge| lattice.most_hidden())?;
        let given_away: Vec<_> = sums.into_iter().filter(|sum| !lattice.is_crowd(sum)).collect();
        if given_away.is_empty() {
            return Ok(lattice.declared_visibility());
        }
        given_away.iter().for_each(|sum| lattice.protect(sum));
    }
}
