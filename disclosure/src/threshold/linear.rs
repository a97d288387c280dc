//! What can be worked out about hidden cells from visible ones by adding and subtracting.
//!
//! Hidden cells are unknowns, the relations between groupings are equations; visible cells are what is known.
//! A sparse Gauss-Jordan elimination modulo a prime gives the reduced row echelon form, in which an unknown
//! that is determined stands alone in its row. The coefficients begin as 1 and -1; modulo 2^61 - 1 a pivot
//! would vanish by accident only if the prime divided a minor of the matrix, which no table of counts brings
//! about (an attacker chooses neither the prime's multiples nor which cells exist to that precision).

use std::collections::{BTreeMap, BTreeSet};

const PRIME: u64 = (1 << 61) - 1;

/// The elimination would take too long.
#[derive(Debug)]
pub(super) struct TooLarge;

/// `parent - children = 0` in cell numbers, taken apart into what a reader sees and what not.
#[derive(Debug, Default)]
pub(super) struct Equation {
    /// Hidden cells with coefficient 1 or -1.
    pub(super) hidden: Vec<(usize, i8)>,
    /// Visible cells, likewise.
    pub(super) visible: Vec<(usize, i8)>,
}

/// The sums of hidden cells that the equations give away, each as the cells that are added up in it. A cell
/// that is determined is a sum of one.
///
/// Differences are left out: they tell something about two cells, but give neither of them away.
/// `work` is how many matrix entries may be touched yet, and is lowered by those that were.
pub(super) fn derivable(
    equations: &[Equation],
    work: &mut usize,
) -> Result<Vec<Vec<usize>>, TooLarge> {
    let mut matrix = Matrix::new(equations);
    matrix.reduce(work)?;
    Ok(matrix
        .rows
        .into_iter()
        // A right side of zero is an identity that holds whatever the numbers are.
        .filter(|row| row.known != 0 && !row.cells.is_empty())
        .filter(|row| row.cells.values().all(|&factor| factor == 1))
        .map(|row| row.cells.keys().flat_map(|&column| matrix.members[column].clone()).collect())
        .collect())
}

#[derive(Debug, Default)]
struct Row {
    /// Column to factor; zeros are absent.
    cells: BTreeMap<usize, u64>,
    /// The right side: a value that stands for "this combination of visible cells".
    known: u64,
}

struct Matrix {
    rows: Vec<Row>,
    /// Rows in which a column occurs.
    occurs: Vec<BTreeSet<usize>>,
    /// Cells behind a column: those that occur in the same rows with the same factors cannot be told apart by
    /// any combination of rows, and are one unknown, their sum.
    members: Vec<Vec<usize>>,
}

impl Matrix {
    fn new(equations: &[Equation]) -> Self {
        let mut places: BTreeMap<usize, Vec<(usize, i8)>> = BTreeMap::new();
        for (row, equation) in equations.iter().enumerate() {
            for &(cell, sign) in &equation.hidden {
                places.entry(cell).or_default().push((row, sign));
            }
        }
        let mut alike: BTreeMap<Vec<(usize, i8)>, Vec<usize>> = BTreeMap::new();
        for (cell, place) in places {
            alike.entry(place).or_default().push(cell);
        }
        let mut rows: Vec<Row> = equations
            .iter()
            .map(|equation| Row { cells: BTreeMap::new(), known: symbol(&equation.visible) })
            .collect();
        let (mut occurs, mut members) = (Vec::new(), Vec::new());
        for (column, (place, cells)) in alike.into_iter().enumerate() {
            for &(row, sign) in &place {
                rows[row].cells.insert(column, signed(sign));
            }
            occurs.push(place.into_iter().map(|(row, _)| row).collect());
            members.push(cells);
        }
        Self { rows, occurs, members }
    }

    /// Brings the rows into reduced echelon form, short rows and rare columns first so that they stay sparse.
    fn reduce(&mut self, work: &mut usize) -> Result<(), TooLarge> {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&row| self.rows[row].cells.len());
        for pivot_row in order {
            let rarest = self.rows[pivot_row]
                .cells
                .keys()
                .copied()
                .min_by_key(|&column| self.occurs[column].len());
            let Some(pivot) = rarest else { continue };
            let row = self.normalised(pivot_row, pivot);
            let others: Vec<usize> =
                self.occurs[pivot].iter().copied().filter(|&other| other != pivot_row).collect();
            let touched = row.cells.len() * (others.len() + 1);
            *work = work.checked_sub(touched).ok_or(TooLarge)?;
            for other in others {
                self.subtract(other, &row, pivot);
            }
            self.rows[pivot_row] = row;
        }
        Ok(())
    }

    /// A row with 1 at its pivot.
    fn normalised(&mut self, row: usize, pivot: usize) -> Row {
        let mut row = std::mem::take(&mut self.rows[row]);
        let factor = inverse(row.cells[&pivot]);
        row.cells.values_mut().for_each(|value| *value = times(*value, factor));
        row.known = times(row.known, factor);
        row
    }

    fn subtract(&mut self, target: usize, row: &Row, pivot: usize) {
        let factor = PRIME - self.rows[target].cells[&pivot];
        for (&column, &value) in &row.cells {
            let entry = self.rows[target].cells.entry(column).or_insert(0);
            *entry = plus(*entry, times(value, factor));
            if *entry == 0 {
                self.rows[target].cells.remove(&column);
                self.occurs[column].remove(&target);
            } else {
                self.occurs[column].insert(target);
            }
        }
        self.rows[target].known = plus(self.rows[target].known, times(row.known, factor));
    }
}

/// A field element for a combination of visible cells: each cell stands for a scattered constant, so that
/// combinations cancel only where their cells do.
fn symbol(visible: &[(usize, i8)]) -> u64 {
    visible.iter().fold(0, |sum, &(cell, sign)| {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut scattered = (cell as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        scattered = (scattered ^ (scattered >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        scattered = (scattered ^ (scattered >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        plus(sum, times((scattered ^ (scattered >> 31)) % PRIME, signed(sign)))
    })
}

fn signed(sign: i8) -> u64 {
    if sign < 0 { PRIME - 1 } else { 1 }
}

fn plus(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

fn times(a: u64, b: u64) -> u64 {
    u64::try_from(u128::from(a) * u128::from(b) % u128::from(PRIME))
        .expect("a remainder of a 61-bit prime has 61 bits")
}

/// By Fermat's little theorem.
fn inverse(a: u64) -> u64 {
    let (mut result, mut base, mut exponent) = (1, a, PRIME - 2);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equation(hidden: &[(usize, i8)], visible: &[(usize, i8)]) -> Equation {
        Equation { hidden: hidden.to_vec(), visible: visible.to_vec() }
    }

    #[test]
    fn a_chain_of_differences_determines_its_end() {
        // 1 + 2 = seen, 2 + 3 = seen, 3 = seen.
        let equations = [
            equation(&[(1, 1), (2, 1)], &[(10, -1)]),
            equation(&[(2, 1), (3, 1)], &[(11, -1)]),
            equation(&[(3, 1)], &[(12, -1)]),
        ];
        let mut sums = derivable(&equations, &mut 1000).expect("small");
        sums.sort();
        assert_eq!(sums, vec![vec![1], vec![2], vec![3]]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_one_unknown() {
        let equations = [equation(&[(1, 1), (2, 1), (3, 1)], &[(10, -1)])];
        assert_eq!(derivable(&equations, &mut 1000).expect("small"), vec![vec![1, 2, 3]]);
    }

    #[test]
    fn identities_between_hidden_cells_give_nothing_away() {
        let equations = [equation(&[(1, 1), (2, -1), (3, -1)], &[])];
        assert!(derivable(&equations, &mut 1000).expect("small").is_empty());
    }

    #[test]
    fn too_much_work_is_given_up() {
        let equations = [equation(&[(1, 1), (2, 1)], &[(10, -1)])];
        assert!(derivable(&equations, &mut 0).is_err());
    }

    #[test]
    fn inverses_are_inverse() {
        for value in [1, 2, 3, PRIME - 1, 1 << 40] {
            assert_eq!(times(value, inverse(value)), 1);
        }
    }
}
