//! Ports for servers that cannot be told to take any: a broker has to know the ports of all others beforehand.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which systems take ports of outgoing connections: one of those might otherwise hold the port of a
/// broker that is down for a while.
const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

static TAKEN: AtomicU32 = AtomicU32::new(0);

/// That many ports of 127.0.0.1 on which nobody listens, and that the system gives to no outgoing connection.
#[must_use]
pub fn free(count: usize) -> Vec<u16> {
    // Processes that run at the same time begin to look at different places.
    let start = std::process::id().wrapping_mul(61);
    let tries = std::iter::repeat_with(|| TAKEN.fetch_add(1, Ordering::Relaxed));
    let tries = tries.take(COUNT as usize).map(|try_| FIRST + start.wrapping_add(try_) % COUNT);
    let ports = tries.filter_map(|port| u16::try_from(port).ok());
    let free = ports.filter(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
    let free: Vec<u16> = free.take(count).collect();
    assert_eq!(free.len(), count, "not enough free ports");
    free
}
