//! `quorate subject`: what a person may ask for, and whether anything is stored. Who it is comes on standard input: arguments
//! and environment are for all to see.

use std::collections::HashSet;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anonymizer::RequestKind;
use anyhow::{Context, bail};
use clap::Subcommand;
use schemas::time::DAY_MS;

use crate::clock::Clocks;
use crate::commands::print;
use crate::config::Config;
use crate::pipeline::{Progress, Worker};
use crate::rehearsal::span_ms;
use crate::store::{self, Store};
use crate::subject::check::{Checked, Checker};
use crate::subject::fulfil::{Hands, fulfil};
use crate::subject::operator::token;
use crate::subject::wish::{Format, Posted};
use crate::subject::{Asked, EVENTS_BYTES_MAX, IDENTIFIER_BYTES_MAX, Stored};

/// Commands about one person. Who it is comes on standard input: the value of the family's contributor field (a serial
/// number), or {"site": .., "address": .., "user_agent": ..} for a family that counts visits.
#[derive(Subcommand)]
pub enum SubjectCommand {
    /// Tells what is stored, why, for how long and who gets it, in a file for the requester alone. Prints a receipt.
    Access(ExportArgs),
    /// Hands over what the person supplied, in a file for the requester alone. Prints a receipt.
    Portability(PortabilityArgs),
    /// Replaces what is stored by corrected events. Prints a receipt.
    Rectify(RectifyArgs),
    /// Erases a contributor: removes what is stored, keeps out what comes. Prints a receipt.
    Erase(EraseArgs),
    /// Sets apart what is stored, unused, and keeps out what comes, until it is restored. Prints a receipt.
    Restrict(PurposeArgs),
    /// Heeds an objection: the contributor is counted no more, or not for purposes that rest on legitimate or public
    /// interest. Prints a receipt.
    Object(PurposeArgs),
    /// Ends consent to purposes: all that rest on it, if none is named. Prints a receipt.
    Withdraw(PurposeArgs),
    /// Ends objections, restrictions and withdrawals, and erasures whose window is open. Prints a receipt.
    Restore(Args),
    /// Looks for a contributor in everything that is stored; ends with 1 if anything is found.
    Check(Args),
}

/// Options of these commands.
#[derive(clap::Args)]
pub struct Args {
    /// The family that counts the contributor.
    #[arg(long)]
    family: String,
}

/// Options of an export.
#[derive(clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    of: Args,
    /// The requester's public key, as `age-keygen` prints it: `age1..`.
    #[arg(long, value_name = "KEY")]
    to: String,
}

/// Options of `portability`.
#[derive(clap::Args)]
pub struct PortabilityArgs {
    #[command(flatten)]
    to: ExportArgs,
    /// Form of the file.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Options of `rectify`.
#[derive(clap::Args)]
pub struct RectifyArgs {
    #[command(flatten)]
    of: Args,
    /// The corrected events, one a line, each with its `id` and `time`: all that is stored of the person is replaced by them.
    #[arg(long, value_name = "FILE")]
    events: PathBuf,
}

/// Options of `erase`.
#[derive(clap::Args)]
pub struct EraseArgs {
    #[command(flatten)]
    of: Args,
    /// Hides at once and erases when this time is over, so that it can be restored until then; only if the requester
    /// chooses it.
    #[arg(long, value_name = "SPAN", value_parser = days)]
    restore_within: Option<u32>,
}

/// Options of requests that may be about single purposes.
#[derive(clap::Args)]
pub struct PurposeArgs {
    #[command(flatten)]
    of: Args,
    /// A purpose that it is about; may be given several times.
    #[arg(long)]
    purpose: Vec<String>,
}

/// Whole days of a span such as `30days`.
fn days(text: &str) -> Result<u32, String> {
    let ms = span_ms(text)?;
    let days = u32::try_from(ms / DAY_MS).ok().filter(|days| *days > 0 && ms % DAY_MS == 0);
    days.ok_or_else(|| "write whole days, as in `30days`".to_owned())
}

impl SubjectCommand {
    /// What is to be posted, but for the identifier.
    fn posted(self) -> anyhow::Result<Posted> {
        let of = |kind, Args { family }| Posted { kind, family, ..Posted::default() };
        let export = |kind, ExportArgs { of: args, to }| Posted { to: Some(to), ..of(kind, args) };
        let about = |kind, PurposeArgs { of: args, purpose }| Posted {
            purposes: purpose,
            ..of(Some(kind), args)
        };
        Ok(match self {
            Self::Access(args) => export(Some(RequestKind::Access), args),
            Self::Portability(PortabilityArgs { to, format }) => {
                Posted { format: Some(format), ..export(Some(RequestKind::Portability), to) }
            }
            Self::Rectify(RectifyArgs { of: args, events }) => {
                let place = || format!("cannot read {}", events.display());
                let file = std::fs::File::open(&events).with_context(place)?;
                let (mut text, limit) = (String::new(), EVENTS_BYTES_MAX as u64 + 1);
                file.take(limit).read_to_string(&mut text).ok().with_context(place)?;
                Posted { events: Some(text), ..of(Some(RequestKind::Rectify), args) }
            }
            Self::Erase(EraseArgs { of: args, restore_within }) => {
                Posted { restore_within_days: restore_within, ..of(Some(RequestKind::Erase), args) }
            }
            Self::Restrict(args) => about(RequestKind::Restrict, args),
            Self::Object(args) => about(RequestKind::Object, args),
            Self::Withdraw(args) => about(RequestKind::Withdraw, args),
            Self::Restore(args) => of(Some(RequestKind::Restore), args),
            Self::Check(args) => of(None, args),
        })
    }
}

/// Asks the running service, or does the work itself if there is none.
///
/// # Errors
///
/// If the identifier tells nobody apart, the work fails, or a check finds something.
pub async fn run(command: SubjectCommand, config: Config) -> anyhow::Result<()> {
    let posted = Posted { identifier: read_identifier()?, ..command.posted()? };
    let is_check = posted.kind.is_none();
    let answer = if store::is_in_use(&config.data) {
        tokio::task::spawn_blocking(move || ask_service(&config, "subject", &posted)).await??
    } else {
        do_it(config, posted).await?
    };
    print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
    if is_check {
        let checked: Checked = serde_json::from_value(answer)?;
        anyhow::ensure!(checked.found == 0, "found {} times", checked.found);
    }
    Ok(())
}

/// One identifier, from standard input.
pub(crate) fn read_identifier() -> anyhow::Result<String> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        // What is typed is seen; a file or a pipe is not.
        let mut error = std::io::stderr().lock();
        error.write_all(b"identifier: ").and_then(|()| error.flush())?;
        std::io::BufRead::read_line(&mut input, &mut text).context("cannot read standard input")?;
    } else {
        let limit = IDENTIFIER_BYTES_MAX as u64 + 1;
        let read = input.take(limit).read_to_string(&mut text);
        read.ok().context("standard input is not text")?;
    }
    anyhow::ensure!(!text.trim().is_empty(), "no identifier on standard input");
    anyhow::ensure!(
        text.len() <= IDENTIFIER_BYTES_MAX,
        "the identifier is longer than {IDENTIFIER_BYTES_MAX} bytes"
    );
    Ok(text)
}

/// Posts a request to the operator's port of the running service.
pub(crate) fn ask_service(
    config: &Config,
    route: &str,
    posted: &impl serde::Serialize,
) -> anyhow::Result<serde_json::Value> {
    let token = token(&config.operator_token())?;
    let address = config.operator.listen;
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent
        .post(format!("http://{address}/{route}"))
        .header("Authorization", format!("Bearer {token}"))
        .send(serde_json::to_string(posted)?)
        .map_err(|error| anyhow::anyhow!("no service answers at {address}: {error}"))?;
    let status = answer.status();
    let text = answer.body_mut().read_to_string()?;
    let value: serde_json::Value =
        serde_json::from_str(&text).context("the service's answer is not JSON")?;
    if !status.is_success() {
        bail!("{}", value["error"].as_str().unwrap_or("the service refused"));
    }
    Ok(value)
}

async fn do_it(config: Config, mut posted: Posted) -> anyhow::Result<serde_json::Value> {
    let store = Store::open(config, Clocks::system()).await?;
    let requests = Arc::clone(&store.requests);
    let subject = requests.subject(&posted.family, &posted.identifier)?;
    let Some(wish) = requests.wish(&mut posted)? else {
        let checker = Checker {
            data: store.config.data.clone(),
            gate: Arc::clone(&store.gate),
            log: Arc::clone(&store.log),
        };
        return Ok(serde_json::to_value(checker.check(&subject).await?)?);
    };
    let is_shared = requests.is_shared();
    let worker = Worker::new(store, Arc::new(Progress::default()))?;
    let mut own = Own { worker, is_shared };
    Ok(serde_json::to_value(fulfil(&requests, wish, subject, &mut own).await?)?)
}

/// The tables, opened by this command itself.
struct Own {
    worker: Worker,
    is_shared: bool,
}

impl Hands for Own {
    async fn drain(&mut self) -> anyhow::Result<()> {
        self.worker.drain().await
    }

    async fn stored(&mut self, family: usize, own: HashSet<[u8; 16]>) -> anyhow::Result<Stored> {
        self.worker.stored(family, &own).await
    }

    async fn settle(&mut self, asked: &Asked) -> anyhow::Result<()> {
        let request = asked.request();
        if self.is_shared {
            bail!(
                "request {request} is recorded, and what it is about is let in no more; the worker that looks after the tables \
                 does the rest within minutes, and the ledger of requests tells when"
            );
        }
        self.worker.remove_suppressed().await.with_context(|| {
            format!(
                "request {request} is recorded, and what it is about is let in no more, but what is stored could not be changed \
                 yet: the next start of any command on this data goes on"
            )
        })
    }
}
