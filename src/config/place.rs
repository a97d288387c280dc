//! Where things are that several machines may share, and settings of libraries that name themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// A folder, or a prefix of an object store by its URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Location {
    /// A path of this machine, which may be a file system that others mount too.
    Folder(PathBuf),
    /// Anything with `://` that is not `file://`: `s3://bucket/prefix`, `gs://…`, `az://…`.
    Url(String),
}

impl From<String> for Location {
    fn from(text: String) -> Self {
        match text.strip_prefix("file://") {
            Some(path) => Self::Folder(path.into()),
            None if text.contains("://") => Self::Url(text),
            None => Self::Folder(text.into()),
        }
    }
}

impl From<&str> for Location {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(out),
            Self::Url(url) => out.write_str(url),
        }
    }
}

impl Location {
    /// The folder, if it is one.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::Url(_) => None,
        }
    }

    /// Whether this is `other` or below it.
    pub(super) fn lies_in(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(own), Self::Folder(other)) => own.starts_with(other),
            (Self::Url(own), Self::Url(other)) => {
                let rest = own.strip_prefix(other.trim_end_matches('/'));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            _ => false,
        }
    }

    pub(super) fn relative_to(&mut self, folder: &Path) {
        if let Self::Folder(path) = self {
            *path = folder.join(&*path);
        }
    }
}

/// A root of tables: where it is, and what opens it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootConfig {
    /// Folder, or URL of a prefix of an object store.
    pub url: Location,
    /// Settings of the store by their own names, such as `aws_access_key_id`, `aws_region`, `aws_endpoint`.
    #[serde(default)]
    pub options: Properties,
    /// Where it is, by your word: a country (`DE`), `EEA` or a region of its provider. Needed where a package promises a
    /// residency and neither the URL nor the options tell.
    #[serde(default)]
    pub region: Option<String>,
}

/// Both roots; without one of them it is the data folder.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// `events/`, `ledger/`, `suppression/`, `policies/`: who can read it can read rows.
    pub events: Option<RootConfig>,
    /// `statistics/` and `ledger/releases`: what gate 2 gave out, and all that `query` needs.
    pub statistics: Option<RootConfig>,
}

/// Settings by names that a library gave them. There may be secrets among them, so `Debug` shows names alone.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Properties(BTreeMap<String, Property>);

/// A setting's value, or where it is.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "a text, a number, true, false, { file = \"…\" } or { env = \"…\" }")]
enum Property {
    Text(String),
    Number(i64),
    Switch(bool),
    File(InFile),
    Environment(InEnvironment),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    file: PathBuf,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct InEnvironment {
    env: String,
}

impl fmt::Debug for Properties {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.0.keys()).finish()
    }
}

impl Properties {
    /// Sets one, in place of what it was.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), Property::Text(value.into()));
    }

    /// Whether it is set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// These, and of `under` what these do not set.
    #[must_use]
    pub fn over(&self, under: &Self) -> Self {
        let mut all = under.0.clone();
        all.extend(self.0.clone());
        Self(all)
    }

    /// Values by name; those in files (without the line's end) and in the environment are read now.
    ///
    /// # Errors
    ///
    /// If a file or a variable cannot be read; the message says which, and nothing of values.
    #[expect(
        clippy::disallowed_methods,
        reason = "named in the one configuration file, so that no secret stands in it"
    )]
    pub fn read(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let read = |(name, property): (&String, &Property)| {
            let value = match property {
                Property::Text(text) => text.clone(),
                Property::Number(number) => number.to_string(),
                Property::Switch(switch) => switch.to_string(),
                Property::File(InFile { file }) => {
                    let text = std::fs::read_to_string(file)
                        .with_context(|| format!("{name}: cannot read {}", file.display()))?;
                    text.trim_end_matches(['\r', '\n']).to_owned()
                }
                Property::Environment(InEnvironment { env }) => match std::env::var(env) {
                    Ok(value) => value,
                    Err(_) => bail!("{name}: the environment has no variable {env}"),
                },
            };
            Ok((name.clone(), value))
        };
        self.0.iter().map(read).collect()
    }

    pub(super) fn relative_to(&mut self, folder: &Path) {
        for property in self.0.values_mut() {
            if let Property::File(InFile { file }) = property {
                *file = folder.join(&*file);
            }
        }
    }
}

impl RootConfig {
    pub(super) fn relative_to(&mut self, folder: &Path) {
        self.url.relative_to(folder);
        self.options.relative_to(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_folder_or_a_url() {
        let folder = |path: &str| Location::Folder(path.into());
        assert_eq!(Location::from("keys"), folder("keys"));
        assert_eq!(Location::from("file:///srv/keys"), folder("/srv/keys"));
        assert_eq!(Location::from("s3://bucket/keys"), Location::Url("s3://bucket/keys".into()));
        let mut place = Location::from("keys");
        place.relative_to(Path::new("/etc"));
        assert_eq!(place.folder(), Some(Path::new("/etc/keys")));
        let mut url = Location::from("s3://bucket/keys");
        url.relative_to(Path::new("/etc"));
        assert_eq!(url.to_string(), "s3://bucket/keys");
    }

    #[test]
    fn values_are_read_from_where_they_are_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("secret"), "hush\n").unwrap();
        let text =
            "a = \"told\"\nb = 7\nc = true\nd = { file = \"secret\" }\ne = { env = \"PATH\" }";
        let mut properties: Properties = toml::from_str(text).unwrap();
        properties.relative_to(dir.path());
        let read = properties.read().unwrap();
        assert_eq!(
            ["a", "b", "c", "d"].map(|name| read[name].as_str()),
            ["told", "7", "true", "hush"]
        );
        assert!(!read["e"].is_empty());
        assert_eq!(format!("{properties:?}"), r#"{"a", "b", "c", "d", "e"}"#);
        let mut over = Properties::default();
        over.set("a", "mine");
        let both = over.over(&properties).read().unwrap();
        assert_eq!((both["a"].as_str(), both["b"].as_str()), ("mine", "7"));
        for (wrong, told) in
            [("d = { file = \"nowhere\" }", "nowhere"), ("e = { env = \"NO_SUCH\" }", "NO_SUCH")]
        {
            let error = toml::from_str::<Properties>(wrong).unwrap().read().unwrap_err();
            assert!(format!("{error:#}").contains(told), "{error:#}");
        }
        assert!(toml::from_str::<Properties>("a = { vault = \"x\" }").is_err());
    }
}
