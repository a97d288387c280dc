//! Sources: devices, servers and sites that may send events.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::{self, KeyRecord, Secret};
use super::{AccessError, file};
use crate::time::Millis;

const HEADING: &str =
    "# Who may send events. Written by `quorate source`; keys are kept as hashes only.\n";

/// What sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Firmware or an installed program: one key shared by a product line, `qd_…`.
    Device,
    /// A server of the controller, which may speak for its end users: `qs_…`.
    Server,
    /// Pages in a browser: no secret, a public id and a list of origins.
    Site,
}

impl SourceKind {
    /// The word on the command line and in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Server => "server",
            Self::Site => "site",
        }
    }
}

/// One sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// For people, metrics and, of a site, for its pages.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// Families that it may send; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<String>,
    /// Origins (`https://host[:port]`) whose pages may use a site's id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// When it was first added.
    #[serde(with = "key::moment")]
    pub created: Millis,
    /// Since when it may send nothing.
    #[serde(default, with = "key::optional_moment", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Millis>,
    /// Its keys, dead ones included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyRecord>,
}

impl Source {
    /// Whether it may send events of `family`.
    #[must_use]
    pub fn may_send(&self, family: &str) -> bool {
        self.families.is_empty() || self.families.iter().any(|name| name == family)
    }

    /// Whether pages of `origin` (as browsers send it) may use this site's id.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == origin)
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default, rename = "source")]
    sources: Vec<Source>,
}

/// Everything that may send.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    sources: Vec<Source>,
    /// Hash of a living key to the index of its source.
    living: HashMap<[u8; 32], usize>,
}

impl Sources {
    /// Reads the registry at `path`; where there is no file, nobody may send.
    ///
    /// # Errors
    ///
    /// [`AccessError::File`], or [`AccessError::Malformed`] with a line.
    pub fn load(path: &Path) -> Result<Self, AccessError> {
        let Stored { sources } = file::read(path)?;
        let mut registry = Self { sources, living: HashMap::new() };
        registry.index().map_err(|()| AccessError::Malformed { path: path.to_owned(), line: 0 })?;
        Ok(registry)
    }

    /// Replaces the file at `path` in one step, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// [`AccessError::File`].
    pub fn save(&self, path: &Path) -> Result<(), AccessError> {
        file::write(path, HEADING, &Stored { sources: self.sources.clone() })
    }

    /// Adds a source, or one more key to a source that exists; a revoked one lives again, by its new key alone.
    /// Gives the key in clear, for this once; of a site, its public id.
    ///
    /// # Errors
    ///
    /// [`AccessError::Name`] and [`AccessError::Origin`] for what cannot be one; [`AccessError::Exists`] if the
    /// name stands for a living source of another kind, or with other families or origins.
    pub fn add(
        &mut self,
        name: &str,
        kind: SourceKind,
        families: Vec<String>,
        origins: Vec<String>,
        now: Millis,
        entropy: [u8; 20],
    ) -> Result<Secret, AccessError> {
        file::check_name(name)?;
        origins.iter().try_for_each(|origin| check_origin(origin))?;
        let secret = match kind {
            SourceKind::Device => Secret::new("qd_", entropy),
            SourceKind::Server => Secret::new("qs_", entropy),
            SourceKind::Site => Secret::public(name),
        };
        if self.living.contains_key(&key::hash(secret.reveal())) {
            return Err(AccessError::Repeated);
        }
        let index = self.place(Source {
            name: name.to_owned(),
            kind,
            families,
            origins,
            created: now,
            revoked: None,
            keys: Vec::new(),
        })?;
        if kind != SourceKind::Site {
            self.sources[index].keys.push(KeyRecord::new(&secret, now));
        }
        self.index().map_err(|()| AccessError::Repeated)?;
        Ok(secret)
    }

    /// Where a source like `wanted` is kept: what exists and agrees, what was revoked, or a new place.
    fn place(&mut self, wanted: Source) -> Result<usize, AccessError> {
        let Some(index) = self.sources.iter().position(|source| source.name == wanted.name) else {
            self.sources.push(wanted);
            return Ok(self.sources.len() - 1);
        };
        let present = &mut self.sources[index];
        if present.revoked.is_some() {
            let (created, keys) = (present.created, std::mem::take(&mut present.keys));
            *present = Source { created, keys, ..wanted };
            return Ok(index);
        }
        let same = |present: &[String], wanted: &[String]| wanted.is_empty() || present == wanted;
        let agrees = present.kind == wanted.kind
            && present.kind != SourceKind::Site
            && same(&present.families, &wanted.families)
            && same(&present.origins, &wanted.origins);
        if agrees {
            Ok(index)
        } else {
            Err(AccessError::Exists { name: wanted.name, kind: present.kind.name() })
        }
    }

    /// Makes the key of that id worthless from now on or, without one, the whole source.
    ///
    /// # Errors
    ///
    /// [`AccessError::Unknown`] if there is nothing alive to revoke.
    pub fn revoke(
        &mut self,
        name: &str,
        key: Option<&str>,
        now: Millis,
    ) -> Result<(), AccessError> {
        let unknown = || AccessError::Unknown(describe(name, key));
        let source =
            self.sources.iter_mut().find(|source| source.name == name).ok_or_else(unknown)?;
        let mut any = key::revoke(&mut source.keys, key, now);
        if key.is_none() && source.revoked.is_none() {
            source.revoked = Some(now);
            any = true;
        }
        if !any {
            return Err(unknown());
        }
        self.index().map_err(|()| AccessError::Repeated)
    }

    /// The living source that holds `presented` (a device or server key in clear).
    #[must_use]
    pub fn by_key(&self, presented: &str) -> Option<&Source> {
        self.sources.get(*self.living.get(&key::hash(presented))?)
    }

    /// The living site with that public id.
    #[must_use]
    pub fn site(&self, id: &str) -> Option<&Source> {
        self.sources.iter().find(|source| {
            source.kind == SourceKind::Site && source.name == id && source.revoked.is_none()
        })
    }

    /// All of them, dead ones included, in order of addition.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Builds the lookup anew; fails on a hash that is none, or that two keys share.
    fn index(&mut self) -> Result<(), ()> {
        self.living.clear();
        for (index, source) in self.sources.iter().enumerate() {
            for record in &source.keys {
                let digest = record.digest().ok_or(())?;
                if record.revoked.is_some() || source.revoked.is_some() {
                    continue;
                }
                if self.living.insert(digest, index).is_some() {
                    return Err(());
                }
            }
        }
        Ok(())
    }
}

pub(super) fn describe(name: &str, key: Option<&str>) -> String {
    match key {
        Some(key) => format!("living key {key} of {name}"),
        None => format!("living {name}"),
    }
}

/// An origin is compared as text with what browsers send, so it must be written the way they do.
fn check_origin(origin: &str) -> Result<(), AccessError> {
    let canonical = url::Url::parse(origin)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .map(|url| url.origin().ascii_serialization());
    if canonical.as_deref() == Some(origin) {
        Ok(())
    } else {
        Err(AccessError::Origin(origin.chars().take(80).collect()))
    }
}
