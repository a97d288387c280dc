//! Measurements: what each stage costs, and what the whole way costs beside a straight line.
//!
//! `benches/stages.rs` has a criterion bench for each stage. The `harness` binary runs the shipped
//! binary and [`mod@reference`], a program that does the same work without any of the promises, on the same
//! events, alternately, each as a process of its own, and prints the ratio of their CPU times: machines
//! differ, and the hour of the day does, but the two run under the same conditions.

pub mod events;
pub mod process;
pub mod reference;
