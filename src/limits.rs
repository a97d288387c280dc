//! What the system allows this process: open files, of which every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Files for log, tables, and the ports of readers and operator.
const RESERVED: u64 = 1024;

/// Raises the number of files that may be open as far as the system lets us without asking anybody, and gives it;
/// none if there is no limit.
#[must_use]
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If it cannot be raised, what there is counts.
    let _raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current
}

/// Takes no more connections than there can be files for: one that cannot be accepted waits where nobody sees it.
pub fn fit(config: &mut Config) {
    let Some(files) = raise_open_files() else { return };
    let possible = connections_possible(files);
    if config.ingest.connections_max > possible {
        tracing::warn!(
            files,
            connections_max = possible,
            "fewer connections than configured: raise the limit of open files (ulimit -n, LimitNOFILE)"
        );
        config.ingest.connections_max = possible;
    }
}

/// A few files of little are for connections all the same.
fn connections_possible(files: u64) -> usize {
    usize::try_from(files.saturating_sub(RESERVED).max(files / 4)).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_log_and_tables() {
        assert_eq!(connections_possible(20_000), 18_976);
        assert_eq!(connections_possible(1024), 256);
        assert_eq!(connections_possible(0), 1);
    }

    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        let raised = raise_open_files();
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
    }
}
