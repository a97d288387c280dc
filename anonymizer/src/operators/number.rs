//! Rounding of numbers.

/// `value` rounded down to a multiple of `width`; saturates at the smallest number. A width below one is one.
pub(crate) fn floor_integer(value: i64, width: i64) -> i64 {
    let width = width.max(1);
    value.div_euclid(width).saturating_mul(width)
}

/// `value` rounded down to a multiple of `width`; as it is if the width is not a positive number.
pub(crate) fn floor_float(value: f64, width: f64) -> f64 {
    if width > 0.0 && width.is_finite() { (value / width).floor() * width } else { value }
}

/// A width of a package as a whole number, at least one.
pub(crate) fn whole_width(width: f64) -> i64 {
    // Casting a float saturates, and the package bounds it anyway.
    #[allow(clippy::cast_possible_truncation, reason = "saturates; widths are declared small")]
    let whole = width.round() as i64;
    whole.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_do_not_overflow() {
        assert_eq!(floor_integer(i64::MIN, 7), i64::MIN);
        assert_eq!(floor_integer(i64::MAX, 1), i64::MAX);
        assert_eq!(floor_integer(-1, 100), -100);
        assert_eq!(floor_integer(14_230, 100), 14_200);
        assert_eq!(floor_integer(5, 0), 5);
        assert_eq!(whole_width(f64::NAN), 1);
        assert_eq!(whole_width(1e300), i64::MAX);
    }

    proptest! {
        #[test]
        fn a_bucket_holds_its_value(value in -1_000_000_000_i64..1_000_000_000, width in 1_i64..100_000) {
            let floor = floor_integer(value, width);
            prop_assert!(floor <= value && value - floor < width);
            prop_assert_eq!(floor % width, 0);
        }

        #[test]
        fn a_bucket_of_floats_holds_its_value(value in -1e9_f64..1e9, width in 0.001_f64..1e6) {
            let floor = floor_float(value, width);
            prop_assert!(floor <= value + width * 1e-6 && value - floor < width * 1.000_001);
        }
    }
}
