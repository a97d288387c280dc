//! Where tables and ledgers live: a folder, or a prefix of an object store.

mod error;
mod folder;
mod network;
#[cfg(feature = "s3")]
mod objects;
mod probe;
#[cfg(any(feature = "s3", test))]
mod quiet;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use url::Url;

use folder::{entries, move_file, remove_empty, walk};
use network::{download, part};

pub use error::RootError;
pub use network::wait;

/// Schemes of URLs, as errors list them.
const SCHEMES: &str = "s3://, gs://, az:// and file://";

/// Files sent to an object store at once: each is in memory meanwhile.
const UPLOADS: usize = 4;

/// A folder, or a prefix of an object store: below it things have names with `/` between their parts.
///
/// Calls that are not `async` work on the thread that makes them, which may belong to any runtime; those over a network
/// end within half a minute, with an error if the store is away. What a store says in its errors is cut down to
/// status and code, because some quote the credentials that they refuse. `Debug` shows the URL alone.
#[derive(Clone)]
pub struct Root(Place);

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Objects { store: Arc<dyn ObjectStore>, prefix: Key, url: Url },
}

/// Something that a root holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name below the root.
    pub name: String,
    /// When it was written last, in milliseconds since 1970 by the clock of the store.
    pub modified_ms: i64,
}

impl fmt::Debug for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Root({self})")
    }
}

/// The folder's path, or the URL.
impl fmt::Display for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Folder(folder) => folder.display().fmt(formatter),
            Place::Objects { url, .. } => url.fmt(formatter),
        }
    }
}

impl From<&Path> for Root {
    fn from(folder: &Path) -> Self {
        Self::folder(folder)
    }
}

impl From<&PathBuf> for Root {
    fn from(folder: &PathBuf) -> Self {
        Self::folder(folder)
    }
}

impl From<&Root> for Root {
    fn from(root: &Root) -> Self {
        root.clone()
    }
}

impl From<PathBuf> for Root {
    fn from(folder: PathBuf) -> Self {
        Self(Place::Folder(folder))
    }
}

impl Root {
    /// A folder, which does not have to exist yet.
    #[must_use]
    pub fn folder(folder: &Path) -> Self {
        folder.to_owned().into()
    }

    /// What `url` names: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, `file:///folder`, or a plain
    /// path. `options` are those that the `object_store` crate gives each store (`region`, `endpoint`,
    /// `access_key_id`, …); nothing is taken from the environment. No request is made.
    ///
    /// # Errors
    ///
    /// [`RootError::Scheme`], [`RootError::Url`], [`RootError::Option`], [`RootError::Options`];
    /// [`RootError::NotBuilt`] for an object store without feature `s3`.
    pub fn parse(url: &str, options: &BTreeMap<String, String>) -> Result<Self, RootError> {
        let folder = |folder: PathBuf| match options.keys().next() {
            None => Ok(Self::from(folder)),
            Some(name) => Err(RootError::Option {
                name: name.clone(),
                scheme: "file".to_owned(),
                known: "none",
            }),
        };
        if !url.contains("://") {
            return folder(url.into());
        }
        let wrong = |what| RootError::Url { what };
        let parsed = Url::parse(url).map_err(|_| wrong("cannot be read"))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("holds credentials, which belong into its options"));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("has something behind ? or #"));
        }
        match parsed.scheme() {
            "file" => folder(parsed.to_file_path().map_err(|()| wrong("names no folder here"))?),
            "s3" | "gs" | "az" => Self::objects(parsed, options),
            scheme => Err(RootError::Scheme { scheme: scheme.to_owned(), known: SCHEMES }),
        }
    }

    #[cfg(feature = "s3")]
    fn objects(url: Url, options: &BTreeMap<String, String>) -> Result<Self, RootError> {
        let prefix = Key::from_url_path(url.path())
            .map_err(|_| RootError::Url { what: "has a path that no object can have" })?;
        let store = quiet::Quiet::new(objects::build(&url, options)?);
        let mut url = url;
        url.set_path(prefix.as_ref());
        Ok(Self(Place::Objects { store: Arc::new(store), prefix, url }))
    }

    #[cfg(not(feature = "s3"))]
    fn objects(url: Url, _: &BTreeMap<String, String>) -> Result<Self, RootError> {
        Err(RootError::NotBuilt { scheme: url.scheme().to_owned() })
    }

    /// The root that a store's `prefix` is, under an address that only serves to tell it from others.
    #[cfg(test)]
    fn of(store: impl ObjectStore, prefix: &str) -> Self {
        let url = Url::parse(&format!("memory://test/{prefix}")).expect("the address is valid");
        let store = Arc::new(quiet::Quiet::new(Arc::new(store)));
        Self(Place::Objects { store, prefix: Key::from(prefix), url })
    }

    /// What is below a name.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(match &self.0 {
            Place::Folder(folder) => Place::Folder(folder.join(name)),
            Place::Objects { store, url, .. } => {
                let prefix = self.key(name);
                let mut url = url.clone();
                url.set_path(prefix.as_ref());
                Place::Objects { store: Arc::clone(store), prefix, url }
            }
        })
    }

    /// Its address: of a folder, by its whole path.
    ///
    /// # Errors
    ///
    /// If the system does not say where a relative folder is.
    pub fn url(&self) -> io::Result<Url> {
        match &self.0 {
            Place::Folder(folder) => Url::from_directory_path(std::path::absolute(folder)?)
                .map_err(|()| ErrorKind::InvalidFilename.into()),
            Place::Objects { url, .. } => Ok(url.clone()),
        }
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn as_folder(&self) -> Option<&Path> {
        match &self.0 {
            Place::Folder(folder) => Some(folder),
            Place::Objects { .. } => None,
        }
    }

    /// The object store as a whole, which [`Root::prefix`] is a part of: of a folder, all of the file system.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        match &self.0 {
            Place::Folder(_) => Arc::new(LocalFileSystem::new()),
            Place::Objects { store, .. } => Arc::clone(store),
        }
    }

    /// Where in [`Root::store`] it begins.
    ///
    /// # Errors
    ///
    /// If the system does not say where a relative folder is, or its name is no text.
    pub fn prefix(&self) -> io::Result<Key> {
        match &self.0 {
            Place::Folder(folder) => {
                let folder = std::path::absolute(folder)?;
                Key::from_absolute_path(folder).map_err(io::Error::other)
            }
            Place::Objects { prefix, .. } => Ok(prefix.clone()),
        }
    }

    /// A name's own in the object store.
    fn key(&self, name: &str) -> Key {
        match &self.0 {
            Place::Folder(_) => Key::from(name),
            Place::Objects { prefix, .. } => {
                prefix.parts().chain(Key::from(name).parts()).collect()
            }
        }
    }

    /// Whether there is a file of that name.
    ///
    /// # Errors
    ///
    /// What the system or the store says.
    pub fn exists(&self, name: &str) -> io::Result<bool> {
        match &self.0 {
            Place::Folder(folder) => folder.join(name).try_exists(),
            Place::Objects { store, .. } => {
                let (store, key) = (Arc::clone(store), self.key(name));
                match wait(async move { store.head(&key).await })? {
                    Ok(_) => Ok(true),
                    Err(object_store::Error::NotFound { .. }) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// All files below the folder of that name, however deep, in no order; none if there is no such folder.
    ///
    /// # Errors
    ///
    /// What the system or the store says.
    pub fn files(&self, folder: &str) -> io::Result<Vec<Found>> {
        match &self.0 {
            Place::Folder(root) => {
                let mut found = Vec::new();
                walk(root, folder.trim_end_matches('/'), &mut found)?;
                Ok(found)
            }
            Place::Objects { .. } => {
                let (root, folder) = (self.clone(), folder.to_owned());
                wait(async move { root.list(&folder).await })?
            }
        }
    }

    /// As [`Root::files`], for a runtime whose threads may not wait for an object store.
    ///
    /// # Errors
    ///
    /// What the system or the store says.
    pub async fn list(&self, folder: &str) -> io::Result<Vec<Found>> {
        let Place::Objects { store, .. } = &self.0 else { return self.files(folder) };
        self.found(store.list(Some(&self.key(folder)))).await
    }

    /// As [`Root::list`], of an object store those whose name comes behind that of `other` in the folder, by letters.
    ///
    /// # Errors
    ///
    /// What the system or the store says.
    pub async fn list_behind(&self, folder: &str, other: &str) -> io::Result<Vec<Found>> {
        let Place::Objects { store, .. } = &self.0 else { return self.files(folder) };
        let (folder, other) = (self.key(folder), self.key(&format!("{folder}/{other}")));
        self.found(store.list_with_offset(Some(&folder), &other)).await
    }

    async fn found(
        &self,
        objects: BoxStream<'_, object_store::Result<ObjectMeta>>,
    ) -> io::Result<Vec<Found>> {
        let prefix = self.key("");
        let name = |key: &Key| {
            let parts = key.prefix_match(&prefix)?.map(|part| part.as_ref().to_owned());
            Some(parts.collect::<Vec<_>>().join("/"))
        };
        let found = objects.try_filter_map(|object| {
            let modified_ms = object.last_modified.timestamp_millis();
            let found = name(&object.location).map(|name| Found { name, modified_ms });
            std::future::ready(Ok(found))
        });
        Ok(found.try_collect().await?)
    }

    /// Names of the folders directly in that of the name `folder`; none if there is no such folder.
    ///
    /// # Errors
    ///
    /// What the system or the store says.
    pub fn folders(&self, folder: &str) -> io::Result<Vec<String>> {
        match &self.0 {
            Place::Folder(root) => {
                let mut folders = Vec::new();
                for entry in entries(&root.join(folder))? {
                    let entry = entry?;
                    if let Ok(name) = entry.file_name().into_string()
                        && entry.path().is_dir()
                    {
                        folders.push(name);
                    }
                }
                Ok(folders)
            }
            Place::Objects { store, .. } => {
                let (store, key) = (Arc::clone(store), self.key(folder));
                let found = wait(async move { store.list_with_delimiter(Some(&key)).await })??;
                let names = found.common_prefixes.iter().filter_map(Key::filename);
                Ok(names.map(str::to_owned).collect())
            }
        }
    }

    /// The content of a small file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], and what else the system or the store says.
    pub fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        match &self.0 {
            Place::Folder(folder) => fs::read(folder.join(name)),
            Place::Objects { store, .. } => {
                let (store, key) = (Arc::clone(store), self.key(name));
                let read = async move { store.get(&key).await?.bytes().await };
                Ok(wait(read)??.to_vec())
            }
        }
    }

    /// Moves a file of this machine, whose content is durable, to its name here. In a folder the name becomes durable
    /// by [`Root::sync_folder`]; an object is durable and whole, or not there.
    ///
    /// # Errors
    ///
    /// What the system or the store says; the file may be in both places then.
    pub fn publish(&self, file: &Path, name: &str) -> io::Result<()> {
        match &self.0 {
            Place::Folder(folder) => move_file(file, &folder.join(name)),
            Place::Objects { store, .. } => {
                let (store, key) = (Arc::clone(store), self.key(name));
                // In one request: parts of an upload that was broken off would be seen by nobody, and stay.
                let content = PutPayload::from(fs::read(file)?);
                wait(async move { store.put(&key, content).await })??;
                fs::remove_file(file)
            }
        }
    }

    /// As [`Root::publish`] of each file with its name; some at once to an object store.
    ///
    /// # Errors
    ///
    /// As [`Root::publish`]; any of the others may be in its place then.
    pub fn publish_all(&self, files: &[(&Path, &str)]) -> io::Result<()> {
        let some = match &self.0 {
            Place::Folder(_) => 1,
            Place::Objects { .. } => UPLOADS,
        };
        for some in files.chunks(some) {
            std::thread::scope(|threads| {
                let others =
                    some[1..].iter().map(|(file, name)| threads.spawn(|| self.publish(file, name)));
                let others = others.collect::<Vec<_>>();
                let mut done = self.publish(some[0].0, some[0].1);
                for other in others {
                    let other = other.join();
                    done = done.and(
                        other.unwrap_or_else(|_| Err(io::Error::other("an upload broke off"))),
                    );
                }
                done
            })?;
        }
        Ok(())
    }

    /// Makes the names in a folder durable; objects are.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn sync_folder(&self, name: &str) -> io::Result<()> {
        match &self.0 {
            Place::Folder(folder) => File::open(folder.join(name))?.sync_all(),
            Place::Objects { .. } => Ok(()),
        }
    }

    /// Makes a file and its name durable that something wrote without; objects are.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn sync_file(&self, name: &str) -> io::Result<()> {
        let Place::Folder(folder) = &self.0 else { return Ok(()) };
        let path = folder.join(name);
        File::open(&path)?.sync_all()?;
        File::open(path.parent().unwrap_or(folder))?.sync_all()
    }

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// What the system or the store says. A folder says if there was no such file, most stores do not.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        match &self.0 {
            Place::Folder(folder) => fs::remove_file(folder.join(name)),
            Place::Objects { store, .. } => {
                let (store, key) = (Arc::clone(store), self.key(name));
                Ok(wait(async move { store.delete(&key).await })??)
            }
        }
    }

    /// Removes the folders below that of the name `folder` that are empty; of objects there are none.
    pub fn remove_empty_folders(&self, folder: &str) {
        if let Place::Folder(root) = &self.0 {
            remove_empty(&root.join(folder));
        }
    }

    /// Opens a file for reading. An object is copied into a file without a name in `staging`, a folder of this machine,
    /// which takes its place until it is closed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`], and what else the system or the store says.
    pub fn open(&self, name: &str, staging: &Path) -> io::Result<File> {
        let Place::Objects { store, .. } = &self.0 else {
            return File::open(self.as_folder().unwrap_or(staging).join(name));
        };
        fs::create_dir_all(staging)?;
        let (store, key) = (Arc::clone(store), self.key(name));
        let mut file = tempfile::tempfile_in(staging)?;
        for chunk in download(store, key)? {
            file.write_all(&chunk?)?;
        }
        file.rewind()?;
        Ok(file)
    }

    /// Whether the content of a file is the one that its name tells of, as [`crate::is_whole`] says; reads all of it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub async fn is_whole(&self, name: &str) -> io::Result<bool> {
        match &self.0 {
            Place::Folder(folder) => crate::is_whole(&folder.join(name)),
            Place::Objects { store, .. } => {
                let Some(mut check) = crate::checked::Check::of(name) else { return Ok(true) };
                let (key, mut offset) = (self.key(name), 0);
                loop {
                    let (chunk, size) = part(store.as_ref(), &key, offset).await?;
                    check.update(&chunk);
                    offset += chunk.len() as u64;
                    if offset >= size {
                        return Ok(check.is_whole());
                    }
                }
            }
        }
    }

    /// Writes an object below the root and deletes it again, to see that the store does what is relied on: a second
    /// writer of one name is refused, and what is deleted is gone. A folder is not asked.
    ///
    /// # Errors
    ///
    /// [`RootError::Versioned`], [`RootError::Unconditional`], or [`RootError::Unavailable`] if the store is away or the
    /// credentials do not suffice.
    pub async fn probe(&self) -> Result<(), RootError> {
        match &self.0 {
            Place::Folder(_) => Ok(()),
            Place::Objects { store, .. } => {
                probe::probe(store.as_ref(), &self.key(probe::NAME), &self.to_string()).await
            }
        }
    }
}

#[cfg(test)]
mod tests;
