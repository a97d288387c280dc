//! The command line: names, options, help, and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

#[cfg(feature = "kafka")]
use crate::commands::kafka;
use crate::commands::{
    access, audit, hold, import, init, keyring, notice, policy, query, release, replay, run, sql,
    status, subject, try_event, version,
};
use crate::config::Config;
use crate::{demo, generate, harden, telemetry};

/// Privacy-preserving product analytics: answers only when enough are present.
#[derive(Parser)]
#[command(name = "quorate", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration; without it `quorate.toml` in the current folder, else defaults.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole way on this machine, with made-up events: a minute to see what it does.
    Demo(demo::Args),
    /// Makes a folder to start from: a policy package, a configuration, a device key and a reader token.
    Init(init::Args),
    /// Runs the service: events in, statistics out.
    Run(run::Args),
    /// Who may post events.
    #[command(subcommand)]
    Source(access::SourceCommand),
    /// Who may read statistics.
    #[command(subcommand)]
    Reader(access::ReaderCommand),
    /// What the running service does: by source, and for the log and the next closings.
    Status(status::Args),
    /// Holds all that is at rest against what the policy promises; ends with 1 if anything is found.
    Audit(audit::Args),
    /// Made-up events as NDJSON: seeded, realistic, hostile now and then.
    Generate(generate::Args),
    /// Reads history from NDJSON or Parquet through gate 1 into the tables.
    Import(import::Args),
    /// Prints a statistic as a table.
    Query(query::Args),
    /// Read-only SQL over the statistics tables.
    Sql(sql::Args),
    /// Computes the statistics of closed periods now, without the service.
    Release,
    /// Reads frames of past hours again under the policy of today; the service has to be stopped.
    Replay(replay::Args),
    /// The fate of every field of one event, or of the first records of a topic, and why; stores nothing.
    Try(try_event::Args),
    /// What visitors are told: who collects what, why and for how long, made of a policy package.
    Notice(notice::Args),
    /// Checks a policy package, forecasts what its statistics will show, says what a change does, or exports it.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// One person: erase, leave out, or show that nothing is stored.
    #[command(subcommand)]
    Subject(subject::SubjectCommand),
    /// Rows that have to be kept for a legal reason: apart, out of every statistic, with an end.
    #[command(subcommand)]
    Hold(hold::HoldCommand),
    /// What keys there are and were.
    #[command(subcommand)]
    Keyring(keyring::KeyringCommand),
    /// The log in Kafka: its topics, how far workers are behind, frames as they come.
    #[cfg(feature = "kafka")]
    #[command(subcommand)]
    Kafka(kafka::KafkaCommand),
    /// The version, and what this binary was built with.
    Version,
}

/// Runs the command line; an error is printed with its causes and ends the process with 1.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = harden::no_core_dumps() {
        return fail(&error);
    }
    // A demo is a screen to look at; what a service does is told as it happens.
    let is_demo = matches!(cli.command, Command::Demo(_));
    telemetry::log_to_stderr(if is_demo { LevelFilter::WARN } else { LevelFilter::INFO });
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(::query::STACK_BYTES)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error)),
    };
    match runtime.block_on(dispatch(cli)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("quorate: {error:#}");
    ExitCode::FAILURE
}

/// Commands that answer with their exit code give it; all others give 0.
async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = || Config::load(cli.config.as_deref());
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Init(args) => init::run(&args),
        Command::Run(args) => run::run(args, config()?).await,
        Command::Source(command) => access::source(command, &config()?),
        Command::Reader(command) => access::reader(command, &config()?),
        Command::Status(args) => status::run(&args, config()?).await,
        Command::Audit(args) => audit::run(&args, &config()?).await,
        Command::Generate(args) => generate::run(args),
        Command::Import(args) => import::run(args, config()?).await,
        Command::Query(args) => query::run(args, &config()?).await,
        Command::Sql(args) => sql::run(args, &config()?).await,
        Command::Release => release::run(config()?).await,
        Command::Replay(args) => replay::run(args, config()?).await,
        Command::Try(args) => try_event::run(&args, &config()?).await,
        Command::Notice(args) => notice::run(args, cli.config.as_deref()),
        Command::Policy(command) => return policy::run(command, cli.config.as_deref()),
        Command::Subject(command) => subject::run(command, config()?).await,
        Command::Hold(command) => hold::run(command, config()?).await,
        Command::Keyring(command) => keyring::run(command, &config()?),
        #[cfg(feature = "kafka")]
        Command::Kafka(command) => kafka::run(command, config()?).await,
        Command::Version => version::run(),
    }?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod deploy;
