//! `quorate kafka topics`: made, checked, and adopted when they are not the ones that were known.

use anyhow::{bail, ensure};
use clap::Subcommand;
use transport::kafka::{Adopt, KafkaConfig, KafkaLog, topics};

use crate::commands::print;
use crate::config::Config;
use crate::store::kafka::client;
use crate::store::shared;

/// Commands about the topics of the log.
#[derive(Subcommand)]
pub enum TopicsCommand {
    /// Makes those that are not there yet, with the settings that frames need.
    Create,
    /// Holds them against what frames need; ends with 1 if the log would not open.
    Check,
    /// Makes a topic the log's that does not carry its mark: after it was made again, or left alone for a week.
    Adopt {
        /// It is the topic it always was, and only its mark is gone: positions that are stored go on to hold.
        #[arg(long, conflicts_with = "new", required_unless_present = "new")]
        same: bool,
        /// It is another topic, and a new log: what the old one held and was not committed is lost.
        #[arg(long)]
        new: bool,
    },
}

/// Runs a command about topics.
///
/// # Errors
///
/// If there is no `[kafka]`, brokers do not answer or refuse, or a topic cannot be used.
pub async fn run(command: TopicsCommand, config: &Config) -> anyhow::Result<()> {
    let client = client(config)?;
    match command {
        TopicsCommand::Create => {
            topics::create(&client).await?;
            check(&client).await
        }
        TopicsCommand::Check => check(&client).await,
        TopicsCommand::Adopt { same, new } => {
            let how = match (same, new) {
                (true, false) => Adopt::Same,
                (false, true) => Adopt::New,
                (true, true) | (false, false) => bail!("say either --same or --new"),
            };
            let id = KafkaLog::adopt(&client, shared::keys(config)?, how).await?;
            print(&format!("topic {} is that of log {id}\n", client.topic()))
        }
    }
}

async fn check(client: &KafkaConfig) -> anyhow::Result<()> {
    let findings = topics::check(client).await?;
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    ensure!(findings.iter().all(|finding| finding.is_warning), "the log cannot be kept there");
    let (raw, replaced) = (client.topic(), client.replaced_topic());
    print(&format!("{raw} and {replaced}: {} partitions each\n", client.partitions))
}
