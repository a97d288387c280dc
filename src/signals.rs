//! SIGTERM and Ctrl-C, on a thread and a runtime of their own: whatever hangs elsewhere, a stop is heard, and it ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::pipeline::{Patience, Progress};

/// How long a stop may be without anything of it getting done. The worker gives up before.
const HANGS_AFTER: Duration = Duration::from_secs(40);

/// Hears signals from when it is made.
pub(crate) struct Signals {
    asked: watch::Receiver<bool>,
    progress: Arc<OnceLock<Arc<Progress>>>,
}

impl Signals {
    /// Listens.
    ///
    /// # Errors
    ///
    /// If the system does not let it.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let listening = runtime.enter();
        let terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        drop(listening);
        let (ask, asked) = watch::channel(false);
        let progress = Arc::new(OnceLock::new());
        let known = Arc::clone(&progress);
        let hear = move || runtime.block_on(hear(terminate, interrupt, &ask, &known));
        std::thread::Builder::new().name("signals".to_owned()).spawn(hear)?;
        Ok(Self { asked, progress })
    }

    /// Whose stop is to be waited for, as long as it gets on.
    pub(crate) fn watch(&self, progress: Arc<Progress>) {
        // Of a process that runs one service.
        drop(self.progress.set(progress));
    }

    /// Returns when a stop was asked for.
    pub(crate) async fn asked(&self) {
        let mut asked = self.asked.clone();
        // The thread lives as long as the process.
        drop(asked.wait_for(|asked| *asked).await);
    }
}

/// Passes a signal on, and ends the process if that does not.
async fn hear(
    mut terminate: Signal,
    mut interrupt: Signal,
    ask: &watch::Sender<bool>,
    progress: &OnceLock<Arc<Progress>>,
) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new requests, open ones are finished");
    ask.send_replace(true);
    let none = Patience::default();
    let patience = progress.get().map_or(&none, |progress| progress.patience());
    let stage = patience.run_out(HANGS_AFTER).await;
    tracing::error!(
        "the stop did nothing for {HANGS_AFTER:?} and is broken off; not finished: {}",
        stage.unfinished()
    );
    std::process::exit(1);
}
