//! How often one sender may knock: a token bucket for each key, and for each address under a public site id.
//!
//! Addresses are in memory only, for as long as their bucket is not full again, and in no log or metric.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use schemas::Millis;
use schemas::time::SECOND_MS;

/// A burst is this many seconds' worth of requests.
const BURST_S: i64 = 10;
/// Most buckets kept; a full one is the same as none, so they can be forgotten.
const BUCKETS_MAX: usize = 100_000;

/// Token buckets, one for each `K`.
pub(crate) struct Limiter<K> {
    per_s: i64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// Thousandths of a request left, at a time.
#[derive(Clone, Copy)]
struct Bucket {
    milli: i64,
    at: Millis,
}

/// Not now; after this many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany {
    pub(crate) retry_after_s: u64,
}

impl<K: Eq + Hash> Limiter<K> {
    /// Lets `per_s` requests a second pass on average; all, if it is zero.
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s: i64::from(per_s), buckets: Mutex::new(HashMap::new()) }
    }

    /// Counts one request.
    pub(crate) fn pass(&self, key: K, now: Millis) -> Result<(), TooMany> {
        if self.per_s == 0 {
            return Ok(());
        }
        let full = self.per_s * BURST_S * 1000;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < full);
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { milli: full, at: now });
        let left = self.filled(*bucket, now) - 1000;
        if left < 0 {
            let each_s = self.per_s * 1000;
            let wait_s = (each_s - 1 - left) / each_s;
            return Err(TooMany { retry_after_s: u64::try_from(wait_s).unwrap_or(1) });
        }
        *bucket = Bucket { milli: left, at: now };
        Ok(())
    }

    fn filled(&self, bucket: Bucket, now: Millis) -> i64 {
        let waited_ms = now.0.saturating_sub(bucket.at.0).clamp(0, BURST_S * SECOND_MS);
        (bucket.milli + waited_ms * self.per_s).min(self.per_s * BURST_S * 1000)
    }
}

/// What counts as one sender: an IPv4 address, or the part of an IPv6 address that one customer has.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            std::net::Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - 56))).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_average() {
        let limiter = Limiter::new(2);
        let start = Millis(1_000_000);
        for _ in 0..20 {
            assert_eq!(limiter.pass("a", start), Ok(()));
        }
        assert_eq!(limiter.pass("a", start), Err(TooMany { retry_after_s: 1 }));
        assert_eq!(limiter.pass("b", start), Ok(()));
        assert_eq!(limiter.pass("a", start.plus(500)), Ok(()));
        assert!(limiter.pass("a", start.plus(500)).is_err());
        assert_eq!(limiter.pass("a", start.plus(60_000)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let limiter = Limiter::new(1);
        for _ in 0..10 {
            assert_eq!(limiter.pass((), Millis(50_000)), Ok(()));
        }
        assert!(limiter.pass((), Millis(0)).is_err());
    }

    #[test]
    fn without_a_limit_everybody_passes() {
        let limiter = Limiter::new(0);
        assert!((0..1000).all(|_| limiter.pass((), Millis(0)).is_ok()));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(1);
        for key in 0..2 * BUCKETS_MAX {
            limiter.pass(key, Millis(0)).unwrap();
        }
        assert!(limiter.buckets.lock().unwrap().len() <= BUCKETS_MAX);
    }

    #[test]
    fn one_customer_is_one_sender() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8:0:ff01::1"), network("2001:db8:0:ff02::2"));
        assert_ne!(network("2001:db8:0:fe01::1"), network("2001:db8:0:ff01::1"));
        assert_eq!(network("::ffff:192.0.2.7"), network("192.0.2.7"));
    }
}
