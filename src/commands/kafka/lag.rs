//! `quorate kafka lag`: how far the tables are behind the topics.

use crate::commands::{print, table};
use crate::config::Config;
use crate::lag::{Lag, Topics};
use crate::store::system_clock;

/// Options of `kafka lag`.
#[derive(clap::Args)]
pub struct Args {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Prints how far the tables are behind.
///
/// # Errors
///
/// If nothing is read from Kafka, or brokers do not answer.
pub async fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
    let lags = Topics::open(config)?.behind(system_clock()()).await?;
    if args.json {
        return print(&format!("{}\n", serde_json::to_string(&lags)?));
    }
    print(&render(&lags))
}

fn render(lags: &[Lag]) -> String {
    let heading =
        ["stream", "topic", "partition", "committed", "end", "records", "events", "seconds"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for lag in lags {
        let about = if lag.estimated { "about " } else { "" };
        rows.push(vec![
            lag.stream.clone(),
            lag.topic.clone(),
            lag.partition.to_string(),
            lag.committed.map_or_else(|| "never".to_owned(), |position| position.to_string()),
            lag.end.to_string(),
            lag.records.to_string(),
            format!("{about}{}", lag.events),
            lag.seconds.to_string(),
        ]);
    }
    table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_told_as_one() {
        let lag = Lag {
            stream: "log".to_owned(),
            topic: "quorate.raw".to_owned(),
            partition: 3,
            committed: None,
            end: 70,
            records: 70,
            events: 700,
            estimated: true,
            seconds: 0,
        };
        let text = render(&[lag]);
        assert!(text.contains("about 700") && text.contains("never"), "{text}");
    }
}
