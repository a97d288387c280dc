//! How far a stop is, and how long it is waited for.
//!
//! A stop takes as long as it gets on: frames that are read, commits, stages that are over. When nothing gets on any more
//! (brokers that hang, a store that is away), first the worker gives up what is left, then the whole process. Neither
//! loses anything: what was acknowledged and is not committed stays in the log, as after a crash.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Between two looks at whether something got on.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Parts of a stop, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// No stop yet.
    #[default]
    Running,
    /// Open requests for events, until what they brought is in the log.
    Door,
    /// Open requests of readers and of the operator.
    Ports,
    /// The worker's last commit.
    Worker,
    /// Clients of brokers and stores, until they are gone.
    Closing,
}

impl Stage {
    /// What is not finished in it, for people.
    pub(crate) fn unfinished(self) -> &'static str {
        match self {
            Self::Running => "the start",
            Self::Door => "requests for events, whose senders were not told that they are taken",
            Self::Ports => "requests of readers or of the operator",
            Self::Worker => "the last commit: events stay in the log",
            Self::Closing => "clients of brokers or of stores",
        }
    }
}

/// How far a stop is, and what the worker got done.
#[derive(Default)]
pub(crate) struct Patience {
    stage: watch::Sender<Stage>,
    steps: AtomicU64,
}

impl Patience {
    /// Says how far the stop is.
    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// How far the stop is.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Whether the worker is to end: nothing more comes in, and what others can do or can wait is left.
    pub(super) fn is_ending(&self) -> bool {
        self.stage() >= Stage::Worker
    }

    /// Returns when the worker is to end.
    pub(super) async fn ending(&self) {
        let mut stage = self.stage.subscribe();
        // The sender lives as long as `self`.
        drop(stage.wait_for(|stage| *stage >= Stage::Worker).await);
    }

    /// Says that something got on.
    pub(super) fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns when nothing got on for `patience`; gives the stage that does not end.
    pub(crate) async fn run_out(&self, patience: Duration) -> Stage {
        let now = || (self.stage(), self.steps.load(Ordering::Relaxed));
        let (mut seen, mut since) = (now(), Instant::now());
        while since.elapsed() < patience {
            sleep(LOOK_EVERY).await;
            if now() != seen {
                (seen, since) = (now(), Instant::now());
            }
        }
        seen.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_gets_on_is_waited_for_and_what_does_not_is_named() {
        let patience = Patience::default();
        let begun = Instant::now();
        let work = async {
            for stage in [Stage::Door, Stage::Ports, Stage::Worker] {
                patience.enter(stage);
                sleep(Duration::from_millis(500)).await;
            }
            for _ in 0..3 {
                patience.step();
                sleep(Duration::from_millis(500)).await;
            }
        };
        let (stage, ()) = tokio::join!(patience.run_out(Duration::from_secs(2)), work);
        assert_eq!(stage, Stage::Worker);
        // Three stages and three steps, of which the last was after 2.5 s.
        assert!(begun.elapsed() >= Duration::from_millis(4_500), "{:?}", begun.elapsed());
    }
}
