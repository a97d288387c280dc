//! Quantiles from a histogram of buckets: no single value decides one.

use std::collections::BTreeMap;

/// Weight of events by bucket: bucket `b` of width `w` holds values from `b * w` up to, not including, `(b + 1) * w`.
pub(crate) type Histogram = BTreeMap<i64, f64>;

/// The value below which a share `rank` of the weight lies, if weight is spread evenly within each bucket, and
/// within `min..=max`, the declared range. None for an empty histogram.
///
/// Off by less than one bucket. Interpolating rather than naming the bucket's bound keeps the error from being
/// systematic: values are stored as the lower bound of their bucket, and a bound would be too low by half a bucket.
pub(crate) fn quantile(
    histogram: &Histogram,
    width: f64,
    rank: f64,
    min: f64,
    max: f64,
) -> Option<f64> {
    let total: f64 = histogram.values().sum();
    if total <= 0.0 {
        return None;
    }
    let wanted = total * rank;
    let mut below = 0.0;
    let mut last = 0;
    for (&bucket, &weight) in histogram {
        if weight > 0.0 && below + weight >= wanted {
            let within = ((wanted - below) / weight).clamp(0.0, 1.0);
            return Some(((bucket as f64 + within) * width).clamp(min, max));
        }
        below += weight;
        last = bucket;
    }
    // Only by an error of summation: all weight is below.
    Some(((last as f64 + 1.0) * width).clamp(min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_is_spread_within_a_bucket() {
        let histogram = Histogram::from([(0, 1.0), (1, 2.0), (5, 1.0)]);
        let at = |rank| quantile(&histogram, 10.0, rank, 0.0, 1000.0).expect("not empty");
        assert_eq!(at(0.25), 10.0);
        assert_eq!(at(0.5), 15.0);
        assert_eq!(at(0.75), 20.0);
        assert_eq!(at(0.875), 55.0);
    }

    #[test]
    fn the_declared_range_holds() {
        let histogram = Histogram::from([(-1, 1.0), (9, 1.0)]);
        assert_eq!(quantile(&histogram, 10.0, 0.999, 0.0, 95.0), Some(95.0));
        assert_eq!(quantile(&histogram, 10.0, 0.001, 0.0, 95.0), Some(0.0));
        assert_eq!(quantile(&Histogram::new(), 10.0, 0.5, 0.0, 95.0), None);
    }
}
