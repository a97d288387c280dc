//! The whole way, from outside: the real binary, real sockets, real files.
//!
//! One test binary, so that the dependencies are linked once. Each test has a folder and ports of its own.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod canary;
mod clauses;
mod conservation;
mod crash;
mod demo;
mod disk;
mod erasure;
mod first_event;
mod hold;
mod key_life;
mod machines;
mod overload;
mod planted;
mod readers;
mod replay;
mod requests;
mod support;
#[cfg(feature = "kafka")]
mod topics;
