//! One test for each clause of five published policies, named after it: `ci_2_…` shows that `ci_2` is kept.
//!
//! Real events go through the real service under the company's package, and files and answers are looked at. Tests of one
//! package share one run, for a service that starts takes longer than what it is asked. `cargo xtask clauses` makes
//! a table of what is here, and `cargo xtask test` fails where a clause is said to be kept and its test did not pass.

mod anatomy;
mod ceetron;
mod cephio;
mod copenhagen_imaging;
mod lab_dental_digital;
mod run;
mod tables;
