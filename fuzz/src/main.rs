//! libFuzzer around one target, named by the environment; started by `cargo xtask fuzz`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

/// Names the target.
const VARIABLE: &str = "QUORATE_FUZZ_TARGET";

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var_os(VARIABLE).unwrap_or_default();
    let name = name.to_string_lossy();
    fuzz::target(&name).unwrap_or_else(|| panic!("{VARIABLE} names no target"))
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
