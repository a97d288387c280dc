//! Tables beside those of the store, for rows that are replayed without touching what is there.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use sink::{Sink, SinkConfig};

use crate::store::Store;

/// The file that says which replay a folder is of.
const MARK: &str = "REPLAY";

/// Opens the tables below `folder`, or makes them there in a folder that is new or empty. The store keeps the folder in
/// mind: rows there end, and are erased, with those of the store.
///
/// # Errors
///
/// If the folder holds anything else, or another replay.
pub(super) async fn open(store: &mut Store, folder: &Path, id: &str) -> anyhow::Result<Sink> {
    let folder = std::path::absolute(folder).context("the folder has no absolute path")?;
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mark = folder.join(MARK);
    if mark.exists() {
        let found = std::fs::read_to_string(&mark)
            .with_context(|| format!("cannot read {}", mark.display()))?;
        if found.trim() != id {
            bail!("{} holds the replay {}, not {id}", folder.display(), found.trim());
        }
    } else {
        if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is not empty: give a folder for the replay alone", folder.display());
        }
        // Before there is a row in it.
        sink::keep_beside(&store.config.events_root()?, &folder)?;
        std::fs::write(&mark, format!("{id}\n"))
            .with_context(|| format!("cannot write {}", mark.display()))?;
    }
    let config = SinkConfig {
        root: folder.clone().into(),
        index: folder.join("index"),
        staging: folder.join("staging"),
        commit_bytes: store.config.sink.commit_bytes,
        row_group_rows: store.config.sink.row_group_rows,
    };
    let streams = [sink::Stream::log(store.log.id().to_string(), store.log.partitions())];
    let own = sink::Own::sole(&streams);
    Ok(Sink::open(config, Arc::clone(&store.package), &streams, &own).await?)
}
