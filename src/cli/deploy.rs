//! The files of `deploy/` against this command line and configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Deserialize;

use super::{Cli, Command};
use crate::config::{Config, Roles};

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Container>,
}

#[derive(Deserialize)]
struct Container {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// What is run, of a line such as `/usr/bin/quorate --config FILE run --roles ingest`.
fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).command
}

fn roles(command: Command) -> Roles {
    let Command::Run(args) = command else { panic!("not `quorate run`") };
    args.roles
}

#[test]
fn two_of_each_role_run_with_the_configuration_beside() {
    // Aliases and merge keys are resolved by the second reading.
    let mut composed: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&text("compose.yaml")).unwrap();
    composed.apply_merge().unwrap();
    // Services within services: a merged one may merge another.
    composed.apply_merge().unwrap();
    let composed: Compose = serde_yaml_ng::from_value(composed).unwrap();
    let config = Config::load(Some(&file("quorate.toml"))).unwrap();
    let secrets: BTreeSet<&str> =
        ["EVENTS_KEY", "EVENTS_SECRET", "STATISTICS_KEY", "STATISTICS_SECRET"].into();
    let mut found = Vec::new();
    for container in composed.services.values().filter(|container| container.image == "quorate") {
        let words = ["quorate", "--config", "/etc/quorate/quorate.toml"];
        let command = parse(words.into_iter().chain(container.command.iter().map(String::as_str)));
        let given: BTreeSet<&str> = container.environment.keys().map(String::as_str).collect();
        assert_eq!(given, secrets, "what quorate.toml takes from the environment");
        if container.command.iter().any(|word| word == "run") {
            let roles = roles(command);
            config.check_roles(roles).unwrap();
            if roles.to_string() == "query" {
                assert_eq!(container.environment["EVENTS_KEY"], "", "no way to rows");
            }
            found.push(roles.to_string());
        }
    }
    found.sort();
    assert_eq!(found, ["ingest", "ingest", "query", "query", "worker", "worker"]);
    let asked = text("quorate.toml");
    let asked = asked.split("{ env = \"").skip(1).filter_map(|rest| rest.split('"').next());
    assert_eq!(asked.collect::<BTreeSet<_>>(), secrets);
}

#[test]
fn units_start_what_they_say() {
    for (unit, expected) in
        [("quorate.service", "ingest,worker,query"), ("quorate@.service", "worker")]
    {
        let unit = text(&format!("systemd/{unit}")).replace("%i", "worker");
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        assert_eq!(roles(parse(start.split(' '))).to_string(), expected);
    }
}
