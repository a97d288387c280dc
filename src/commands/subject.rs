//! `quorate subject`: erases one person, leaves one out, or shows that nothing of one is stored. Who it is comes on
//! standard input: arguments and environment are for all to see.

use std::io::{IsTerminal, Read, Write};
use std::sync::Arc;

use anonymizer::RequestKind;
use anyhow::{Context, bail};
use clap::Subcommand;

use crate::clock::Clocks;
use crate::commands::print;
use crate::config::Config;
use crate::pipeline::{Progress, Worker};
use crate::store::{self, Store};
use crate::subject::check::{Checked, Checker};
use crate::subject::operator::{Posted, token};
use crate::subject::{IDENTIFIER_BYTES_MAX, Receipt};

/// Commands about one person. Who it is comes on standard input: the value of the family's contributor field (a serial
/// number), or {"site": .., "address": .., "user_agent": ..} for a family that counts visits.
#[derive(Subcommand)]
pub enum SubjectCommand {
    /// Erases a contributor: removes what is stored, keeps out what comes. Prints a receipt.
    Erase(Args),
    /// Heeds an objection: the contributor is counted no more. Prints a receipt.
    Object(Args),
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

/// Asks the running service, or does the work itself if there is none.
///
/// # Errors
///
/// If the identifier tells nobody apart, the work fails, or a check finds something.
pub async fn run(command: SubjectCommand, config: Config) -> anyhow::Result<()> {
    let (kind, Args { family }) = match command {
        SubjectCommand::Erase(args) => (Some(RequestKind::Erase), args),
        SubjectCommand::Object(args) => (Some(RequestKind::Object), args),
        SubjectCommand::Check(args) => (None, args),
    };
    let posted = Posted { kind, family, identifier: read_identifier()? };
    let answer = if store::is_in_use(&config.data) {
        tokio::task::spawn_blocking(move || ask_service(&config, "subject", &posted)).await??
    } else {
        do_it(config, &posted).await?
    };
    print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
    if kind.is_none() {
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

async fn do_it(config: Config, posted: &Posted) -> anyhow::Result<serde_json::Value> {
    let store = Store::open(config, Clocks::system()).await?;
    let requests = Arc::clone(&store.requests);
    let subject = requests.subject(&posted.family, &posted.identifier)?;
    let Some(kind) = posted.kind else {
        let checker = Checker {
            data: store.config.data.clone(),
            gate: Arc::clone(&store.gate),
            log: Arc::clone(&store.log),
        };
        return Ok(serde_json::to_value(checker.check(&subject).await?)?);
    };
    let asked = requests.ask(kind, &subject)?;
    if requests.is_shared() {
        bail!(
            "request {} is recorded, and nothing of its contributor is let in any more; the worker that looks after the tables \
             removes what is stored within minutes, and the ledger of requests tells when",
            asked.request()
        );
    }
    let mut worker = Worker::new(store, Arc::new(Progress::default()))?;
    worker.remove_suppressed().await.with_context(|| {
        format!(
            "request {} is recorded, and nothing of its contributor is let in any more, but what is stored could not be \
             removed yet: the next start of any command on this data goes on",
            asked.request()
        )
    })?;
    let receipt: Receipt = requests.receipt(&asked).context("the request was not finished")?;
    Ok(serde_json::to_value(receipt)?)
}
