//! A request from its first line in the ledger to its receipt, wherever the tables are: in this process, or with a service.

use std::collections::HashSet;
use std::sync::Arc;

use anonymizer::Subject;
use anyhow::Context;

use super::wish::Wish;
use super::{Asked, Receipt, Requests, Stored};

/// Whoever owns the tables.
pub(crate) trait Hands {
    /// Commits what was acknowledged up to now.
    async fn drain(&mut self) -> anyhow::Result<()>;
    /// What is stored of a contributor.
    async fn stored(&mut self, family: usize, own: HashSet<[u8; 16]>) -> anyhow::Result<Stored>;
    /// Returns when the request is done, or an error that says who goes on with it.
    async fn settle(&mut self, asked: &Asked) -> anyhow::Result<()>;
}

/// Does what is asked.
///
/// # Errors
///
/// If it could not be written down, and has to be asked again; or was, and is gone on with later: the message says which.
pub(crate) async fn fulfil(
    requests: &Arc<Requests>,
    wish: Wish,
    subject: Subject,
    hands: &mut impl Hands,
) -> anyhow::Result<Receipt> {
    if matches!(wish, Wish::Export { .. }) || !requests.is_shared() {
        // What is on its way has no row yet that could be told, counted or brought back, perhaps not even a key.
        let drained = hands.drain().await;
        if wish.needs_all_rows() {
            drained.context("what came before the request could not be committed")?;
        }
    }
    let asking = Arc::clone(requests);
    let asked = tokio::task::spawn_blocking(move || {
        asking.ask(&wish, &subject).map(|asked| (asked, wish, subject))
    });
    let (mut asked, wish, subject) = asked.await??;
    if let Wish::Export { .. } = wish {
        let handed = hand_over(requests, asked, wish, subject, hands).await?;
        asked = handed;
    } else {
        hands.settle(&asked).await?;
    }
    requests.receipt(&asked).with_context(|| going_on(&asked))
}

/// What is said of a request that is not done yet.
pub(crate) fn going_on(asked: &Asked) -> String {
    let request = asked.request();
    format!(
        "request {request} is recorded, what it is about is let in no more, and what is stored already follows: the next start of \
         the service or of any command on this data goes on with it"
    )
}

async fn hand_over(
    requests: &Arc<Requests>,
    mut asked: Asked,
    wish: Wish,
    subject: Subject,
    hands: &mut impl Hands,
) -> anyhow::Result<Asked> {
    let found = match requests.known_by(&subject) {
        Ok(own) => hands.stored(subject.family(), own).await,
        Err(error) => Err(error),
    };
    let delivering = Arc::clone(requests);
    let delivered = tokio::task::spawn_blocking(move || {
        let delivered =
            found.and_then(|stored| delivering.deliver(&mut asked, &wish, &subject, &stored));
        if delivered.is_err() {
            delivering.give_up(&asked)?;
        }
        delivered.map(|()| asked)
    });
    delivered.await?.context("nothing could be handed over: ask again")
}
