//! `quorate demo`: the whole way on this machine with made-up events, shown on one screen.
//!
//! Nothing here is a short cut: history goes through the import, live events through the ports of the service, the
//! statistic through gate 2. What the screen claims is checked first, and a claim that does not hold ends the demo
//! with an error.

mod bars;
mod books;
mod example;
mod history;
mod live;
mod place;
mod screen;
mod search;
mod steps;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Millis, Package};
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clocks;
use crate::commands::print;
use crate::generate::{Generator, Personal, Profile, Sent};
use crate::pipeline::{Progress, Worker};
use crate::service::Service;
use crate::store::{Store, package, system_clock};
use books::Books;
use place::Place;
use screen::Screen;
use search::Searched;
use steps::Steps;

/// Days of history.
const DAYS: i64 = 30;
/// One in this many events is posted live, the others are history.
const LIVE_ONE_IN: u64 = 40;

/// Options of `demo`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a policy package; without it, the default one.
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// How many events to make up.
    #[arg(long, default_value_t = 60_000)]
    events: u64,
    /// Keeps everything in this new folder; without it, a temporary one is used and removed.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Another seed makes other events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Shows the whole way; on a terminal, the service stays up until Ctrl-C.
///
/// # Errors
///
/// If a part fails, if received is not stored + duplicate + refused, or if anything personal is found at rest.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let place = Place::make(args.data.clone(), args.policy.clone())?;
    // Stopped early, it still takes its temporary folder away.
    tokio::select! {
        shown = show(&args, &place) => shown?,
        stopped = asked_to_stop() => {
            stopped?;
            bail!("stopped before the end");
        }
    }
    if std::io::stdout().is_terminal() {
        stay(&place).await?;
    }
    Ok(())
}

async fn show(args: &Args, place: &Place) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut steps = Steps::new();
    let plan = Plan::new(args, system_clock()());
    let package = package(place.config.policy.as_deref())?;

    let (mut sent, mut personal) = plan.import(place, &package, &mut steps).await?;
    let (live, more) = plan.post(place, &package, &mut steps).await?;
    sent.add(&live);
    personal.extend(&more);

    let books = steps.during("reading the books", books::read(place)).await?;
    let folder = place.folder().to_owned();
    let search = move || search::search(&folder, &personal);
    let searched = steps.blocking("searching every file for what was sent", search).await?;
    let bars = steps.during("reading a statistic", bars::read(place, &package)).await?;
    let example = example::make(place, &package, plan.seed, plan.now)?;
    steps.finish();

    let screen = Screen {
        seconds: began.elapsed().as_secs(),
        sent: &sent,
        books: &books,
        example: &example,
        bars: bars.as_ref(),
        searched: &searched,
        place,
    };
    print(&screen.render(std::io::stdout().is_terminal()))?;
    verdict(&sent, &books, &searched)
}

/// Fills a new folder as the demo does, with what the policy package in a folder declares.
#[cfg(test)]
pub(crate) async fn fill(folder: PathBuf, policy: PathBuf, events: u64) -> anyhow::Result<()> {
    let args = Args { policy: Some(policy), events, data: Some(folder), seed: 1 };
    let place = Place::make(args.data.clone(), args.policy.clone())?;
    let (plan, mut steps) = (Plan::new(&args, system_clock()()), Steps::new());
    let package = package(place.config.policy.as_deref())?;
    plan.import(&place, &package, &mut steps).await?;
    plan.post(&place, &package, &mut steps).await?;
    Ok(())
}

/// Ends the demo with an error where the screen had to show one.
fn verdict(sent: &Sent, books: &Books, searched: &Searched) -> anyhow::Result<()> {
    if let Some(difference) = books.difference(sent) {
        bail!("the books do not balance: {difference}");
    }
    if searched.report.found > 0 {
        bail!("{} personal values were found at rest", searched.report.found);
    }
    Ok(())
}

/// What is sent, and when.
struct Plan {
    seed: u64,
    history: u64,
    live: u64,
    now: Millis,
}

impl Plan {
    fn new(args: &Args, now: Millis) -> Self {
        let live = args.events / LIVE_ONE_IN;
        Self { seed: args.seed, history: args.events - live, live, now }
    }

    /// A month of history up to an hour ago, and the statistics of what has closed in it.
    async fn import(
        &self,
        place: &Place,
        package: &Package,
        steps: &mut Steps,
    ) -> anyhow::Result<(Sent, Personal)> {
        let to = self.now.plus(-HOUR_MS);
        let from = to.plus(-DAYS * DAY_MS);
        let profile = Profile::history(self.seed, self.history, from, to).with(&place.habits);
        let mut generator = Generator::new(package, profile);
        let mut store = Store::open(place.config.clone(), Clocks::system()).await?;
        history::import(&mut store, &mut generator, self.history, steps).await?;
        let mut worker = Worker::new(store, Arc::new(Progress::default()))?;
        steps.during("computing the statistics of closed periods", worker.maintain()).await?;
        Ok((generator.sent().clone(), generator.personal().clone()))
    }

    /// The last hour, over HTTP, until all of it is committed.
    async fn post(
        &self,
        place: &Place,
        package: &Package,
        steps: &mut Steps,
    ) -> anyhow::Result<(Sent, Personal)> {
        let store = Store::open(place.config.clone(), Clocks::system()).await?;
        let service = Service::start(store).await?;
        let address = service.ingest.context("a service with all roles takes events")?;
        // The hour ends now, not when the demo began: the import took its time.
        let now = system_clock()();
        let profile = Profile::live(self.seed, self.live, now.plus(-HOUR_MS), now);
        let mut profile = profile.with(&place.habits);
        // The key of the demo's devices may send what devices send, and nothing else.
        profile.unruly.wrong_door = 0.02;
        let sent = live::post(package, profile, place, address, steps).await?;
        steps.during("waiting until all of it is committed", service.drain()).await?;
        steps.during("releasing what has closed meanwhile", service.maintain()).await?;
        service.stop().await?;
        Ok(sent)
    }
}

/// Starts the service once more and leaves it to the spectator.
async fn stay(place: &Place) -> anyhow::Result<()> {
    let store = Store::open(place.config.clone(), Clocks::system()).await?;
    let service = Service::start(store).await?;
    print(&screen::up(place, &service))?;
    asked_to_stop().await?;
    print("\nstopping\n")?;
    service.stop().await?;
    Ok(())
}

/// Returns at Ctrl-C, at SIGTERM, and when the terminal goes away.
async fn asked_to_stop() -> anyhow::Result<()> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
