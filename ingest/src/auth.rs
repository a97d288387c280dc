//! Who sends: a device or server by its key, a page by its public site id and origin.
//!
//! The registry is one file, looked at each second, so that a revoked key is worthless a moment later without a
//! restart. A file that cannot be read leaves the last good one in force, and says so.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, header};
use data_encoding::{BASE64, BASE64_NOPAD};
use schemas::Package;
use schemas::access::{AccessError, Source, SourceKind, Sources};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A sender that is known.
#[derive(Debug)]
pub(crate) struct Principal {
    /// The operator's name for it.
    pub(crate) name: String,
    pub(crate) kind: SourceKind,
    /// Families that it may send, by index; all without a list.
    pub(crate) permitted: Option<Vec<bool>>,
    pub(crate) origins: Vec<String>,
}

/// What a request says of the page that it comes from.
pub(crate) struct Asking {
    /// The page's origin, if it is told.
    pub(crate) origin: Option<String>,
    /// Whether it need not be told: browsers tell it of all that a page posts, but not of an image in an e-mail.
    pub(crate) may_be_silent: bool,
}

/// Why a sender is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Neither key nor site id.
    NoKey,
    /// A key or site id that is not in the registry, or not any more.
    Unknown,
    /// A page of an origin that is not on the site's list, or something that is no page.
    Origin,
}

/// Everybody who may send, as the file last said.
pub(crate) struct Registry {
    path: PathBuf,
    package: Arc<Package>,
    current: RwLock<Arc<Known>>,
}

/// One reading of the file.
struct Known {
    sources: Sources,
    principals: HashMap<String, Arc<Principal>>,
}

impl Registry {
    /// Reads the file.
    pub(crate) fn open(path: PathBuf, package: Arc<Package>) -> Result<Self, AccessError> {
        let known = Known::load(&path, &package)?;
        Ok(Self { path, package, current: RwLock::new(Arc::new(known)) })
    }

    /// The holder of the key in `Authorization`: `Bearer KEY`, or `Basic` with the key as user name.
    ///
    /// Nothing if there is no such header.
    pub(crate) fn by_header(&self, headers: &HeaderMap) -> Option<Result<Arc<Principal>, Denied>> {
        let value = headers.get(header::AUTHORIZATION)?;
        let known = self.known();
        let principal = presented(value.as_bytes())
            .and_then(|key| known.sources.by_key(&key).map(|source| source.name.clone()))
            .and_then(|name| known.principals.get(&name).cloned());
        Some(principal.ok_or(Denied::Unknown))
    }

    /// The site of that public id, asked for by a page.
    pub(crate) fn by_site(&self, id: &str, page: &Asking) -> Result<Arc<Principal>, Denied> {
        let known = self.known();
        let site = known.sources.site(id).ok_or(Denied::Unknown)?;
        let principal = known.principals.get(&site.name).ok_or(Denied::Unknown)?;
        let may_ask = match &page.origin {
            Some(origin) => site.allows_origin(origin),
            None => page.may_be_silent,
        };
        if may_ask { Ok(Arc::clone(principal)) } else { Err(Denied::Origin) }
    }

    /// Whether pages of `origin` may read answers: those of the site asked for or, where the request does not say
    /// which, those of any site.
    pub(crate) fn may_read(&self, origin: &str, site: Option<&str>) -> bool {
        let known = self.known();
        if let Some(site) = site.and_then(|site| known.sources.site(site)) {
            return site.allows_origin(origin);
        }
        let mut living = known.principals.values().filter(|p| p.kind == SourceKind::Site);
        living.any(|site| site.origins.iter().any(|allowed| allowed == origin))
    }

    /// Looks at the file for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut seen = stamp(&self.path);
        // What was written between the first reading and this line must not be missed.
        self.reload();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = stamp(&self.path);
            if now != seen {
                seen = now;
                self.reload();
            }
        }
    }

    fn reload(&self) {
        match Known::load(&self.path, &self.package) {
            Ok(known) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
                tracing::debug!("the registry of sources was read");
            }
            Err(error) => tracing::error!(
                "the changed registry of sources cannot be read, the last good one stays in force: {error}"
            ),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn load(path: &Path, package: &Package) -> Result<Self, AccessError> {
        let sources = Sources::load(path)?;
        let living = sources.iter().filter(|source| source.revoked.is_none());
        let principals = living
            .map(|source| (source.name.clone(), Arc::new(Principal::of(source, package))))
            .collect();
        Ok(Self { sources, principals })
    }
}

impl Principal {
    fn of(source: &Source, package: &Package) -> Self {
        let permitted = (!source.families.is_empty())
            .then(|| package.families.iter().map(|family| source.may_send(&family.name)).collect());
        Self {
            name: source.name.clone(),
            kind: source.kind,
            permitted,
            origins: source.origins.clone(),
        }
    }
}

/// The key in a value of `Authorization`.
pub(crate) fn presented(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = BASE64.decode(rest.as_bytes()).or_else(|_| BASE64_NOPAD.decode(rest.as_bytes()));
    let pair = String::from_utf8(pair.ok()?).ok()?;
    let user = pair.split_once(':').map_or(pair.as_str(), |(user, _)| user);
    Some(user.to_owned())
}

/// What tells one state of a file from another.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_both_schemes() {
        for value in [
            "Bearer qd_abc",
            "bearer  qd_abc ",
            "Basic cWRfYWJjOg==",
            "Basic cWRfYWJjOg",
            "basic cWRfYWJjOnBhc3N3b3Jk",
            "Basic cWRfYWJj",
        ] {
            assert_eq!(presented(value.as_bytes()).as_deref(), Some("qd_abc"), "{value}");
        }
        for value in ["qd_abc", "Digest qd_abc", "Basic %%%", "", "Basic /w=="] {
            assert_eq!(presented(value.as_bytes()), None, "{value}");
        }
    }
}
