//! In the place of Kafka in a binary without it. The configuration has said so before anybody comes here.

use std::sync::Arc;

use anonymizer::Resolver;
use anyhow::bail;
use schemas::Package;
use transport::Log;

use crate::config::Config;
use crate::pipeline::watch::Others;
use crate::streams::{Feed, Member};

const MISSING: &str = "this binary was built without the feature `kafka`";

pub(super) async fn open(_: &Config) -> anyhow::Result<Arc<dyn Log>> {
    bail!(MISSING)
}

pub(super) async fn nobody_works(_: &Config) -> anyhow::Result<()> {
    bail!(MISSING)
}

pub(super) fn others(_: &Config) -> Option<Others> {
    None
}

pub(super) async fn sources(
    _: &Config,
    _: &Arc<Package>,
    _: &Arc<Resolver>,
) -> anyhow::Result<Vec<Feed>> {
    Ok(Vec::new())
}

pub(super) fn members(_: &Config, _: &[Feed]) -> anyhow::Result<Vec<Box<dyn Member>>> {
    bail!(MISSING)
}
