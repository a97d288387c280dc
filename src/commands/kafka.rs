//! `quorate kafka`: the log's topics, how far workers are behind, and what is on its way.

pub mod lag;
pub mod tail;
pub mod topics;

use clap::Subcommand;

use crate::commands::replay;
use crate::config::Config;

/// Commands about Kafka.
#[derive(Subcommand)]
pub enum KafkaCommand {
    /// The topics of the log.
    #[command(subcommand)]
    Topics(topics::TopicsCommand),
    /// How far the tables are behind the topics, by partition: records, events and seconds.
    Lag(lag::Args),
    /// Frames as they lie in the log, and with --rows what gate 1 makes of them, pseudonyms masked. Stores nothing.
    Tail(tail::Args),
    /// Reads frames of past hours, or of offsets, again under the policy of today; workers have to be stopped.
    Replay(replay::Args),
}

/// Runs a command about Kafka.
///
/// # Errors
///
/// If there is no `[kafka]`, brokers do not answer, or what the command is about cannot be had.
pub async fn run(command: KafkaCommand, config: Config) -> anyhow::Result<()> {
    match command {
        KafkaCommand::Topics(command) => topics::run(command, &config).await,
        KafkaCommand::Lag(args) => lag::run(&args, &config).await,
        KafkaCommand::Tail(args) => tail::run(&args, config).await,
        KafkaCommand::Replay(args) => {
            anyhow::ensure!(
                config.kafka.is_some(),
                "there is no [kafka]: `quorate replay` reads the log of this machine"
            );
            replay::run(args, config).await
        }
    }
}

#[cfg(test)]
mod tests;
