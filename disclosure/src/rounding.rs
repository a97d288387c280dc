//! Rounding: the last step, after everything has been decided on exact numbers.
//!
//! Counts go to the nearest multiple, always the same for the same count. Random rounding would be unbiased for
//! every single count, but a count that is shown twice (in two groupings, say) would be drawn twice, and draws
//! average out. To the nearest multiple of 5 there are no ties and residues 0 to 4 err by 0 -1 -2 +2 +1, so there
//! is no bias over many counts either; for even multiples a tie goes to the even one, for the same reason.

/// The multiple of `step` nearest to `count`; ties to the even multiple. A step of 0 or 1 changes nothing.
pub(crate) fn count(count: u64, step: u64) -> i64 {
    let step = step.max(1);
    let (whole, rest) = (count / step, count % step);
    let up = match (rest * 2).cmp(&step) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => whole % 2 == 1,
        std::cmp::Ordering::Greater => true,
    };
    i64::try_from((whole + u64::from(up)).saturating_mul(step)).unwrap_or(i64::MAX)
}

/// A share of about `events` events, to two decimals, to three from 1,000 events and to four from 10,000: an exact
/// fraction would tell its denominator, which is the count that rounding hides.
pub(crate) fn share(share: f64, events: i64) -> f64 {
    let scale = match events {
        ..1_000 => 100.0,
        1_000..10_000 => 1_000.0,
        _ => 10_000.0,
    };
    (share * scale).round() / scale
}

/// Three significant figures, for sums, means and quantiles: with more, a mean times a rounded count would
/// tell the exact count.
pub(crate) fn figures(value: f64) -> f64 {
    // Printing rounds in decimal and gives the double nearest to what is read.
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_the_nearest_multiple() {
        let rounded: Vec<i64> = (0..=13).map(|n| count(n, 5)).collect();
        assert_eq!(rounded, [0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 10, 10, 10, 15]);
        assert_eq!((count(7, 1), count(7, 0)), (7, 7));
    }

    #[test]
    fn over_a_long_range_there_is_no_bias() {
        for step in [2_u64, 5, 10] {
            let exact: u64 = (1..=20 * step).sum();
            let rounded: i64 = (1..=20 * step).map(|n| count(n, step)).sum();
            let off = (rounded - i64::try_from(exact).expect("small")).abs();
            assert!(off <= i64::try_from(step).expect("small"), "step {step}: off by {off}");
        }
    }

    #[test]
    fn shares_and_figures() {
        assert_eq!(share(1.0 / 3.0, 30), 0.33);
        assert_eq!(share(1.0 / 3.0, 3_000), 0.333);
        assert_eq!(share(1.0 / 3.0, 30_000), 0.3333);
        assert_eq!(
            [14_234.0, 0.012_345, -999.9, 0.0].map(figures),
            [14_200.0, 0.012_3, -1_000.0, 0.0]
        );
    }
}
