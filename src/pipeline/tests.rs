//! The worker under clocks that a test moves: events over a socket, through the log, into tables.

mod clocks;
mod danger;
mod place;
mod removal;
mod shared;
mod stop;
