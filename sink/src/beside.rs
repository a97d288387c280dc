//! Folders with tables of replayed rows beside those of the root: their rows end, and are erased, with those of the root.
//!
//! They are named in a file below the root, a path a line, and name the root in turn: a copy of the root, made to look at
//! or to rehearse on, leaves them alone. A folder that is not there any more holds no rows; one that was moved is out of
//! reach, and so are all of them for a root that was moved.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use schemas::Millis;
use storage::Root;

use crate::erase::Erased;
use crate::error::SinkError;
use crate::life::{self, Life};
use crate::rewrite::Rewrite;
use crate::table::{Change, Home, Table};

/// The file, below the root.
const LIST: &str = "beside.txt";
/// The file in such a folder that names the root.
const OWNER: &str = "STORE";
/// The application by which the log of such a table gets an entry behind the one that removes files.
const WIPED: &str = "wiped";

/// Remembers a folder, given by its whole path: from now on whoever maintains or erases below `root` does so there too. The
/// tables of `root` have to be in a folder of this machine: on another one nobody would reach that folder.
///
/// # Errors
///
/// [`SinkError::Elsewhere`], [`SinkError::Io`]; a path that is no text, or has a line end in it, cannot be kept.
pub fn keep_beside(root: &Root, folder: &Path) -> Result<(), SinkError> {
    let root = root.as_folder().ok_or(SinkError::Elsewhere)?;
    let list = root.join(LIST);
    let plain = folder.to_str().filter(|path| !path.contains('\n'));
    let invalid = || std::io::Error::from(std::io::ErrorKind::InvalidFilename);
    let plain = plain.ok_or_else(invalid).map_err(SinkError::io("keep", folder))?;
    std::fs::create_dir_all(root).map_err(SinkError::io("create", root))?;
    let owner = root.canonicalize().map_err(SinkError::io("find", root))?;
    std::fs::write(folder.join(OWNER), owner.as_os_str().as_encoded_bytes())
        .map_err(SinkError::io("write", folder))?;
    if folders(root)?.iter().any(|known| known == folder) {
        return Ok(());
    }
    let append = || {
        let mut file = File::options().create(true).append(true).open(&list)?;
        file.write_all(format!("{plain}\n").as_bytes())?;
        file.sync_all()
    };
    append().map_err(SinkError::io("write", &list))?;
    Root::folder(root).sync_folder("").map_err(SinkError::io("write", root))
}

fn folders(root: &Path) -> Result<Vec<PathBuf>, SinkError> {
    let list = root.join(LIST);
    match std::fs::read_to_string(&list) {
        Ok(text) => Ok(text.lines().map(PathBuf::from).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(SinkError::io("read", &list)(error)),
    }
}

/// Every table of events in these folders, as it is now.
pub(crate) async fn tables(home: Home<'_>) -> Result<Vec<(Table, Life)>, SinkError> {
    let Some(root) = home.root.as_folder() else { return Ok(Vec::new()) };
    let mut tables = Vec::new();
    for folder in folders(root)? {
        if !folder.join("events").is_dir() {
            continue;
        }
        let owner = root.canonicalize().map_err(SinkError::io("find", root))?;
        let named = std::fs::read(folder.join(OWNER)).unwrap_or_default();
        if named == owner.as_os_str().as_encoded_bytes() {
            let home = Home { root: &folder.clone().into(), ..home };
            tables.extend(life::tables(home, |_| true).await?);
        } else {
            let folder = folder.display();
            tracing::warn!(%folder, "replayed rows are of another data folder, and left alone");
        }
    }
    Ok(tables)
}

/// Rewrites the tables of that name in these folders, and leaves no trace of what was there.
pub(crate) async fn change(
    home: Home<'_>,
    name: &str,
    time: Millis,
    rewritten: impl Fn(&Table) -> Result<Rewrite, SinkError>,
) -> Result<Erased, SinkError> {
    let mut changed = Erased::default();
    for (mut table, _) in tables(home).await? {
        if **table.name() != *name {
            continue;
        }
        let rewrite = rewritten(&table)?;
        changed.rows += rewrite.rows();
        changed.files += rewrite.remove.len() as u64;
        replace(&mut table, &rewrite, time).await?;
    }
    Ok(changed)
}

/// Puts new files in place of old ones in such a table, and deletes what is not named any more.
pub(crate) async fn replace(
    table: &mut Table,
    rewrite: &Rewrite,
    time: Millis,
) -> Result<(), SinkError> {
    if !rewrite.remove.is_empty() {
        let (add, remove) = (rewrite.add.as_slice(), rewrite.remove.as_slice());
        table.commit(Change { add, remove, time, ..Change::default() }).await?;
    }
    if table.tells_removed()? {
        let positions = vec![(WIPED.to_owned(), 1)];
        table.commit(Change { positions, time, ..Change::default() }).await?;
        table.checkpoint(table.version(), None).await?;
    }
    table.sweep(None).await?;
    Ok(())
}
