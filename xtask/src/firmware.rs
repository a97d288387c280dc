//! The client for devices: warnings of two compilers, tests under sanitizers, sizes on Cortex-M, fuzzing, and devices behind
//! a bad network against the binary.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::packages::{self, Need};
use crate::python;
use crate::shell::{Outcome, built_binary, output, repository, run};

/// Seconds for each of the two fuzz targets.
const FUZZ_S: u32 = 10;

const GCC: Need<'_> = Need {
    names: &["gcc"],
    variable: None,
    packages: &["gcc", "libc6-dev"],
    works: packages::always,
};
const GXX: Need<'_> =
    Need { names: &["g++"], variable: None, packages: &["g++"], works: packages::always };
const CLANG: Need<'_> = Need {
    names: &["clang"],
    variable: None,
    packages: &["clang", "libc6-dev"],
    works: packages::always,
};
const MAKE: Need<'_> =
    Need { names: &["make"], variable: None, packages: &["make"], works: packages::always };
const ARM: Need<'_> = Need {
    names: &["arm-none-eabi-gcc"],
    variable: None,
    packages: &["gcc-arm-none-eabi", "libnewlib-arm-none-eabi"],
    works: has_small_library,
};

/// Everything about `clients/firmware/`.
pub(crate) fn check() -> Outcome {
    let binary = built_binary()?;
    python::prepare()?;
    compilers()?;
    let make = |arguments: &[&str]| {
        let mut make = Command::new("make");
        make.current_dir(repository().join("clients/firmware"));
        run(make.args(["--no-print-directory", "--jobs=3"]).args(arguments))
    };
    make(&["test"])?;
    make(&["sizes"])?;
    make(&["fuzz", "power", &format!("SECONDS={FUZZ_S}")])?;
    let python = format!("PYTHON={}", python::interpreter().display());
    make(&["real", &format!("QUORATE={}", binary.display()), &python])
}

fn compilers() -> Outcome {
    let found = packages::provide(&[&GCC, &CLANG, &GXX, &MAKE, &ARM])?;
    let clang = found.get(1).expect("as many are found as are needed");
    // What sanitizers and libFuzzer link is in a package with clang's version in its name.
    let version = output(Command::new(clang).arg("-dumpversion"))?;
    let runtime = runtime_package(&version);
    let with_runtime = Need { packages: &[&runtime], works: links_fuzzers, ..CLANG };
    packages::provide(&[&with_runtime]).map(drop)
}

/// Debian's package for clang of this version, `14.0.6` say.
fn runtime_package(version: &str) -> String {
    let major = version.trim().split('.').next().unwrap_or_default();
    format!("libclang-rt-{major}-dev")
}

/// Whether the small C library is there, which sizes are measured with: the compiler finds a file of it.
fn has_small_library(gcc: &Path) -> bool {
    let found = Command::new(gcc).arg("-print-file-name=nano.specs").output();
    // A name without a folder is the compiler's way to say no.
    found.is_ok_and(|found| found.stdout.contains(&b'/'))
}

fn links_fuzzers(clang: &Path) -> bool {
    let folder = repository().join("target");
    let source = folder.join("empty_fuzzer.c");
    let target = "#include <stddef.h>\nint LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t length)\n\
                  { return bytes == NULL && length > 0; }\n";
    if std::fs::write(&source, target).is_err() {
        return false;
    }
    let mut link = Command::new(clang);
    link.arg("-fsanitize=fuzzer,address,undefined")
        .arg(&source)
        .arg("-o")
        .arg(folder.join("empty_fuzzer"));
    link.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_that_of_the_compiler() {
        assert_eq!(runtime_package("14.0.6\n"), "libclang-rt-14-dev");
        assert_eq!(runtime_package("19"), "libclang-rt-19-dev");
    }
}
