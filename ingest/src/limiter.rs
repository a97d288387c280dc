//! How often one sender may knock, and how much it may bring: a token bucket for each key, each source, and each
//! network under a public site id.
//!
//! Addresses are in memory only, for as long as their bucket is not full again, and in no log or metric.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use schemas::Millis;

/// A burst is this many seconds' worth.
const BURST_S: i64 = 10;
/// Most buckets kept; a full one is the same as none, so they can be forgotten.
const BUCKETS_MAX: usize = 100_000;

/// Token buckets, one for each `K`.
pub(crate) struct Limiter<K> {
    per_s: i64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

/// Thousandths of a request or event left, at a time; less than nothing after one that was larger than what was left.
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
    /// Lets `per_s` a second pass on average; all, if it is zero.
    pub(crate) fn new(per_s: u32) -> Self {
        Self { per_s: i64::from(per_s), buckets: Mutex::new(HashMap::new()) }
    }

    /// Counts one request, if there is room for it.
    pub(crate) fn pass(&self, key: K, now: Millis) -> Result<(), TooMany> {
        self.check(&key, now)?;
        self.charge(key, 1, now);
        Ok(())
    }

    /// Whether there is room for one more.
    pub(crate) fn check<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Millis) -> Result<(), TooMany>
    where
        K: Borrow<Q>,
    {
        if self.per_s == 0 {
            return Ok(());
        }
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let left = buckets.get(key).map_or(i64::MAX, |bucket| self.filled(*bucket, now));
        if left >= 1000 {
            return Ok(());
        }
        let each_s = self.per_s * 1000;
        let wait_s = (each_s - 1 + 1000 - left) / each_s;
        Err(TooMany { retry_after_s: u64::try_from(wait_s).unwrap_or(1) })
    }

    /// Counts what came, even if that is more than there is room for: it has to be waited for before the next.
    pub(crate) fn charge(&self, key: K, count: u64, now: Millis) {
        if self.per_s == 0 || count == 0 {
            return;
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < self.full());
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { milli: self.full(), at: now });
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let left = self.filled(*bucket, now).saturating_sub(count.saturating_mul(1000));
        *bucket = Bucket { milli: left, at: now };
    }

    fn full(&self) -> i64 {
        self.per_s * BURST_S * 1000
    }

    fn filled(&self, bucket: Bucket, now: Millis) -> i64 {
        let waited_ms = now.0.saturating_sub(bucket.at.0).max(0);
        bucket.milli.saturating_add(waited_ms.saturating_mul(self.per_s)).min(self.full())
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
    fn what_is_larger_than_the_room_passes_and_is_waited_for() {
        let limiter = Limiter::new(10);
        let start = Millis(1_000_000);
        let check = |after_ms| limiter.check("a", start.plus(after_ms));
        assert_eq!(check(0), Ok(()));
        limiter.charge("a", 200, start);
        assert_eq!(check(0), Err(TooMany { retry_after_s: 11 }));
        assert!(check(10_099).is_err());
        assert_eq!(check(10_100), Ok(()));
        assert_eq!(limiter.check("b", start), Ok(()));
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
