//! What may be known of a connection. The address goes no further than [`Resolver::resolve`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use schemas::model::ContributorSource;
use schemas::time::epoch_of;
use schemas::{Millis, Package};
use zeroize::Zeroizing;

use crate::agents::{Agent, Agents, bounded};
use crate::error::Error;
use crate::geo::Geo;
use crate::keys::{KeyName, KeyRing};
use crate::layout::FromConnection;
use crate::operators::{Code, language};
use crate::pseudonym::{FieldKey, Hash, write_visit};
use crate::suppression::{Listed, SuppressionList};

/// Who is on the other end, as the server sees it. Never written anywhere, hence no `Debug`, `Clone` or
/// `Serialize`:
///
/// ```compile_fail,E0277
/// fn show(connection: anonymizer::Connection) {
///     println!("{connection:?}");
/// }
/// ```
pub struct Connection {
    /// The peer, behind as many trusted proxies as are configured; none if it must not count, as for
    /// events that a server sends for its users without saying from where.
    pub address: Option<IpAddr>,
    /// The `User-Agent` header, empty if there is none.
    pub user_agent: String,
    /// The `Accept-Language` header, empty if there is none.
    pub accept_language: String,
}

/// What is left of a connection: country, browser, system, device class, language, and a pseudonym for each
/// family that counts visits. No address is inside. The pseudonyms are personal data, so there is no `Debug`.
#[derive(Clone)]
pub struct Resolved {
    country: Option<Code>,
    agent: Arc<Agent>,
    language: Option<Code>,
    visits: Vec<Visit>,
}

#[derive(Clone, Copy)]
struct Visit {
    family: usize,
    epoch: i32,
    pseudonym: Hash,
    /// What the suppression list keeps out of it.
    listed: Listed,
}

impl Resolved {
    /// The text that a field takes of the connection.
    pub(crate) fn text(&self, from: FromConnection) -> Option<&str> {
        match from {
            FromConnection::Country => self.country.as_ref().map(Code::as_str),
            FromConnection::Browser => self.agent.browser.as_deref(),
            FromConnection::Os => self.agent.os.as_deref(),
            FromConnection::DeviceClass => self.agent.class.map(|class| class.name()),
            FromConnection::Language => self.language.as_ref().map(Code::as_str),
        }
    }

    /// The pseudonym of the visit for this family, if it was made in this epoch.
    pub(crate) fn visit(&self, family: usize, epoch: i32) -> Option<&[u8]> {
        let mut visits = self.visits.iter();
        let visit = visits.find(|visit| visit.family == family && visit.epoch == epoch)?;
        Some(&visit.pseudonym)
    }

    /// What must not be stored of events of this family that came over the connection.
    pub(crate) fn listed(&self, family: usize) -> Listed {
        let mut listed = Listed::default();
        let visits = self.visits.iter().filter(|visit| visit.family == family);
        visits.for_each(|visit| listed.add(visit.listed));
        listed
    }
}

/// Reduces connections; shared by all requests.
pub struct Resolver {
    package: Arc<Package>,
    ring: Arc<KeyRing>,
    geo: RwLock<Arc<Geo>>,
    agents: Agents,
    /// Families that count visits, by index.
    visited: Vec<usize>,
    keys: RwLock<VisitKeys>,
    suppression: Option<Arc<SuppressionList>>,
}

/// Derived keys of visits; forgotten as soon as a key of the ring is destroyed.
#[derive(Default)]
struct VisitKeys {
    ring_version: u64,
    keys: HashMap<(usize, i32), Arc<FieldKey>>,
}

/// Derived keys kept at once: an import goes through many epochs, a server through two.
const VISIT_KEYS_MAX: usize = 64;

impl Resolver {
    /// A resolver for this package.
    #[must_use]
    pub fn new(package: Arc<Package>, ring: Arc<KeyRing>, geo: Geo, agents: Agents) -> Self {
        let counts_visits =
            |index: &usize| package.families[*index].contributor.source == ContributorSource::Visit;
        let visited = (0..package.families.len()).filter(counts_visits).collect();
        Self {
            package,
            ring,
            geo: RwLock::new(Arc::new(geo)),
            agents,
            visited,
            keys: RwLock::default(),
            suppression: None,
        }
    }

    /// The same resolver, which marks the visits that `list` has.
    #[must_use]
    pub fn with_suppression(mut self, list: Arc<SuppressionList>) -> Self {
        self.suppression = Some(list);
        self
    }

    /// Reduces a connection to what may be known of it: the address goes no further than this function.
    ///
    /// `site` is the public id of the site or the name of the source; a visit is counted by site.
    ///
    /// # Errors
    ///
    /// If the key ring cannot give this epoch's key. An epoch whose key is destroyed is none: it has no visits.
    pub fn resolve(
        &self,
        connection: Connection,
        site: &str,
        received: Millis,
    ) -> Result<Resolved, Error> {
        // No `..` here: a new part of the connection must not compile until someone decides its fate.
        let Connection { address, user_agent, accept_language } = connection;

        // The address goes first, before any step that can fail, so that no failure path can hold it.
        let geo = Arc::clone(&self.geo.read().unwrap_or_else(PoisonError::into_inner));
        let country = address.and_then(|address| geo.country(address));
        let user_agent = bounded(&user_agent);
        let mut visits = Vec::new();
        if let Some(address) = address {
            visits.reserve_exact(self.visited.len());
            for &family in &self.visited {
                let epoch = epoch_of(received, self.package.families[family].epoch_days);
                let Some(key) = self.visit_key(family, epoch)? else { continue };
                let pseudonym = key.visit(site, address, user_agent);
                // After the key was made: who enters the list looks at the keys there are.
                let listed = self.listed(family, site, address, user_agent);
                visits.push(Visit { family, epoch, pseudonym, listed });
            }
        }
        let agent = self.agents.parse(user_agent);
        let language = language::primary(&accept_language);
        Ok(Resolved { country, agent, language, visits })
    }

    fn listed(&self, family: usize, site: &str, address: IpAddr, user_agent: &str) -> Listed {
        let list = self.suppression.as_ref();
        let list = list.and_then(|list| list.of_family(&self.package.families[family].name));
        let Some(list) = list else { return Listed::default() };
        let mut written = Zeroizing::new(Vec::with_capacity(512));
        write_visit(&mut written, site, address, user_agent);
        list.identifier(&written).map_or_else(Listed::default, |stop| stop.of(&self.package))
    }

    /// When the country database was built.
    #[must_use]
    pub fn geo_build(&self) -> Millis {
        self.geo.read().unwrap_or_else(PoisonError::into_inner).build()
    }

    /// Takes another country database from now on.
    pub fn reload_geo(&self, geo: Geo) {
        *self.geo.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(geo);
    }

    /// Drops what was derived of keys that are forgotten: to be called when the ring was refreshed.
    pub fn forget(&self) {
        let mut cached = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if cached.ring_version != self.ring.version() {
            cached.keys.clear();
        }
    }

    fn visit_key(&self, family: usize, epoch: i32) -> Result<Option<Arc<FieldKey>>, Error> {
        let ring_version = self.ring.version();
        {
            let cached = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            if cached.ring_version == ring_version
                && let Some(key) = cached.keys.get(&(family, epoch))
            {
                return Ok(Some(Arc::clone(key)));
            }
        }
        let name = &self.package.families[family].name;
        let root =
            match self.ring.get_or_create(&KeyName::Pseudonym { family: name.clone(), epoch }) {
                Ok(root) => root,
                Err(Error::Destroyed(_)) => return Ok(None),
                Err(other) => return Err(other),
            };
        let key = Arc::new(FieldKey::of(&root, &self.package.controller, name, "", epoch));
        let mut cached = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if cached.ring_version != ring_version || cached.keys.len() >= VISIT_KEYS_MAX {
            cached.keys.clear();
        }
        cached.ring_version = ring_version;
        cached.keys.insert((family, epoch), Arc::clone(&key));
        Ok(Some(key))
    }
}

#[cfg(test)]
mod tests;
