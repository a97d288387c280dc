//! An hour of live events, through the port of the running service.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::bail;
use schemas::{Clock, Package};

use super::place::Place;
use super::steps::Steps;
use crate::generate::client::{Client, Posted};
use crate::generate::post::Posts;
use crate::generate::{Generator, Personal, Profile, Sent};
use crate::store::system_clock;

/// Posts all events of `profile`, and returns what was sent.
///
/// # Errors
///
/// If the service does not take a body, or acknowledges and refuses other numbers than were sent.
pub(super) async fn post(
    package: &Package,
    profile: Profile,
    place: &Place,
    ingest: SocketAddr,
    steps: &mut Steps,
) -> anyhow::Result<(Sent, Personal)> {
    let step = steps.begin("posting an hour of live events", Some(profile.events));
    let client = Client::new(&format!("http://{ingest}"), place.keys.clone())?;
    let (package, clock) = (package.clone(), system_clock());
    let work = move || {
        let posted = post_all(&package, profile, &client, &clock, &|events| step.at(events))?;
        step.end();
        Ok(posted)
    };
    tokio::task::spawn_blocking(work).await?
}

fn post_all(
    package: &Package,
    profile: Profile,
    client: &Client,
    clock: &Clock,
    tick: &dyn Fn(u64),
) -> anyhow::Result<(Sent, Personal)> {
    let mut generator = Generator::new(package, profile);
    let mut posted = Posted::default();
    for post in Posts::new(&mut generator, client.doors(), Arc::clone(clock)) {
        posted.add(client.send(&post)?);
        tick(posted.accepted + posted.refused);
    }
    let sent = generator.sent();
    // Which of the accepted ones repeat others is found out behind the log.
    let good = sent.total.stored + sent.total.duplicate;
    let bad = sent.total.refused_total();
    if (posted.accepted, posted.refused) != (good, bad) {
        bail!("{good} good and {bad} bad events were sent, the service says: {posted}");
    }
    Ok((sent.clone(), generator.personal().clone()))
}
