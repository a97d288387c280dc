//! What the tests need of Python: readers of tables, a producer for Kafka, an S3 API. In a folder of its own; nothing on the machine is changed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::packages::{self, Need};
use crate::shell::{Outcome, fail, output, repository, run};

/// What is installed, with versions.
const REQUIREMENTS: &str = "tests/end_to_end/requirements.txt";

/// What was installed last; the folder is made anew when the two differ.
const INSTALLED: &str = "target/python/installed.txt";

/// Makes the folder.
pub(crate) const PYTHON: Need<'_> =
    Need { names: &["python3"], variable: None, packages: &["python3-venv"], works: has_pip };

/// The interpreter that has the readers; the tests know it under the same name.
pub(crate) fn interpreter() -> PathBuf {
    repository().join("target/python/bin/python")
}

/// Makes `target/python`, unless it is there and holds the wanted versions.
pub(crate) fn prepare() -> Outcome {
    let wanted = std::fs::read_to_string(repository().join(REQUIREMENTS))
        .map_err(|error| format!("cannot read {REQUIREMENTS}: {error}"))?;
    let installed = std::fs::read_to_string(repository().join(INSTALLED));
    if installed.is_ok_and(|installed| installed == wanted) && interpreter().is_file() {
        println!("target/python is there");
        return Ok(());
    }
    let folder = repository().join("target/python");
    // Work trees may share one by a link, which `venv` takes for a file in its way.
    let folder = folder.canonicalize().unwrap_or(folder);
    let python = packages::provide(&[&PYTHON])?;
    let mut venv = Command::new(python.first().expect("as many are found as are needed"));
    venv.args(["-m", "venv", "--clear"]).arg(&folder).current_dir(repository());
    if let Err(why) = run(&mut venv) {
        return fail(format!(
            "{why}\nCould not make a Python environment. The tests read tables with its deltalake and DuckDB, write \
             with its Kafka client, and start its S3 API: install Python 3.10 or newer."
        ));
    }
    let mut pip = Command::new(interpreter());
    pip.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--requirement"])
        .arg(REQUIREMENTS)
        .current_dir(repository());
    if let Err(why) = run(&mut pip) {
        return fail(format!(
            "{why}\nCould not get the Python packages of {REQUIREMENTS}: is PyPI, or the index that \
             pip is set up for, within reach?"
        ));
    }
    let mut imported = Command::new(interpreter());
    imported.args(["-c", "import confluent_kafka, deltalake, duckdb, moto.server, pyarrow; print(deltalake.__version__)"]);
    println!("deltalake {}", output(&mut imported)?.trim());
    std::fs::write(repository().join(INSTALLED), wanted)
        .map_err(|error| format!("cannot write {INSTALLED}: {error}"))
}

/// Whether environments can be made that have pip: Debian leaves that out of its `python3`, and keeps `venv` in it.
fn has_pip(python: &Path) -> bool {
    let mut ask = Command::new(python);
    ask.args(["-c", "import ensurepip"]).stdout(Stdio::null()).stderr(Stdio::null());
    ask.status().is_ok_and(|status| status.success())
}
