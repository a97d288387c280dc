//! What the demo is doing just now: a moving line on a terminal, a line a step elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Tells what is being done, on standard error.
pub(super) struct Steps {
    is_terminal: bool,
    bar: Option<ProgressBar>,
}

impl Steps {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), bar: None }
    }

    /// Begins a step of `length` units, or of unknown length.
    pub(super) fn begin(&mut self, what: &str, length: Option<u64>) -> Step {
        self.finish();
        let bar = if self.is_terminal { moving(length) } else { ProgressBar::hidden() };
        bar.set_message(what.to_owned());
        self.bar = Some(bar.clone());
        Step { what: what.to_owned(), is_terminal: self.is_terminal, bar, began: Instant::now() }
    }

    /// Does one thing as a step of its own.
    ///
    /// # Errors
    ///
    /// Those of the thing.
    pub(super) async fn during<T>(
        &mut self,
        what: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let step = self.begin(what, None);
        let done = work.await?;
        step.end();
        Ok(done)
    }

    /// Does one thing that computes, on a thread of its own, as a step.
    ///
    /// # Errors
    ///
    /// Those of the thing.
    pub(super) async fn blocking<T: Send + 'static>(
        &mut self,
        what: &str,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let work = tokio::task::spawn_blocking(work);
        self.during(what, async { work.await? }).await
    }

    /// Takes the moving line away.
    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn moving(length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => "{spinner} {msg}  {bar:30} {human_pos}/{human_len} {elapsed}",
        None => "{spinner} {msg}  {elapsed}",
    };
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A step under way.
pub(super) struct Step {
    what: String,
    is_terminal: bool,
    bar: ProgressBar,
    began: Instant,
}

impl Step {
    /// How far it is.
    pub(super) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// It is done.
    pub(super) fn end(self) {
        self.bar.finish_and_clear();
        if !self.is_terminal {
            let seconds = self.began.elapsed().as_secs_f64();
            // Nobody may be listening; the demo goes on.
            drop(writeln!(std::io::stderr(), "{seconds:5.1} s  {}", self.what));
        }
    }
}
