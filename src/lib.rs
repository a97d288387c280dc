//! The binary's parts: command line, configuration, wiring, signals, and what a person sees of them.
//!
//! The stages live in their own crates; this one sees all of them, and is where clocks, environment and
//! the terminal are. It is a library only so that tests can use what the commands use.

pub mod apart;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod demo;
mod frames;
pub mod generate;
pub mod harden;
pub mod hold;
#[cfg(feature = "kafka")]
pub mod lag;
pub mod limits;
pub mod operator;
pub mod pipeline;
pub mod rehearsal;
pub mod replay;
pub mod residency;
pub mod scan;
pub mod service;
pub mod shelf;
mod signals;
#[cfg(feature = "kafka")]
pub mod source;
pub mod space;
pub mod store;
pub mod streams;
pub mod subject;
pub mod telemetry;
pub mod told;
