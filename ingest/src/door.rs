//! A request that brings events, from its head to its answer, in whatever protocol.
//!
//! Order matters here. Who sends is found first; then the connection is reduced to what may be known of it, before any
//! step that can fail on the sender's input, so that no failure path holds an address; then the body is read,
//! decompressed, decoded, checked, and put into frames; and the answer waits until those are durable.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::{Connection, RawEvent, Resolved, Resolver, Signals};
use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, Response, Uri, header};
use bytes::Bytes;
use schemas::access::SourceKind;
use schemas::{Clock, Millis, Reason, Tally};
use tokio::sync::Semaphore;

use crate::auth::{Asking, Denied, Principal, Registry};
use crate::batcher::{Batcher, Posting};
use crate::body::{self, Encoding};
use crate::budget::{Budget, Holder, Reservation};
use crate::collect::resolve;
use crate::config::IngestConfig;
use crate::connections::{Call, Connections};
use crate::decode::{BodyError, Decoded};
use crate::limiter::{Limiter, TooMany, network};
use crate::plan::Plan;
use crate::protocols::Protocol;
use crate::respond::Problem;
use crate::rows::{Received, Report, Rows, Sending, assemble, people};
use crate::stats::Stats;
use crate::suspension::Suspensions;
use crate::{address, report};

const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
/// Plain bodies up to this size are worked on where they were read; larger ones where they block nobody.
const INLINE_BYTES_MAX: usize = 128 << 10;
/// The same for compressed bodies, which become up to a thousand times as much.
const INLINE_COMPRESSED_BYTES_MAX: usize = 4 << 10;
/// What a row takes at least until it is in the log, however short its event.
const ROW_BYTES: usize = 256;

/// Everything that requests share.
pub(crate) struct Door {
    pub(crate) config: IngestConfig,
    pub(crate) plan: Plan,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) batcher: Batcher,
    pub(crate) connections: Connections,
    pub(crate) budget: Arc<Budget>,
    /// Places for work on bodies that are too large to be worked on where they were read.
    pub(crate) workers: Arc<Semaphore>,
    /// Requests by key.
    pub(crate) keys: Limiter<String>,
    /// Events by source.
    pub(crate) events: Limiter<String>,
    /// Requests without a key by network.
    pub(crate) addresses: Limiter<Option<IpAddr>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) clock: Clock,
    /// Why no events are taken now.
    pub(crate) suspended: Suspensions,
}

/// Who sends, as far as the head of a request tells.
enum Sender {
    /// Known, and its connection reduced.
    Known(Arc<Principal>, Resolved),
    /// A page whose site id is in the body; its connection waits for that.
    InBody(Connection),
}

/// What is known of a request before its body.
struct Head {
    protocol: &'static Protocol,
    sender: Sender,
    /// On whose account its bytes are held.
    holder: Holder,
    received: Millis,
    signals: Signals,
    encoding: Encoding,
    asking: Asking,
}

/// A request whose events are on their way.
struct Worked {
    principal: Arc<Principal>,
    posting: Posting,
    result: Result<Report, BodyError>,
}

/// Answers every request to the path of `protocol`.
pub(crate) async fn events(
    protocol: &'static Protocol,
    door: Arc<Door>,
    peer: SocketAddr,
    request: Request,
) -> Response<Body> {
    let call = door.connections.call(peer);
    let (parts, body) = request.into_parts();
    let origin = text(&parts.headers, &header::ORIGIN);
    let site = site_of(&parts.uri);
    let readers = protocol.readers.of(&door.registry, origin, site.as_deref());
    let result = match parts.method {
        Method::OPTIONS => readers.preflight(),
        // An image that is only asked after has not been looked at.
        Method::HEAD if protocol.from_head.is_some() => Ok((protocol.receipt)(&Report::default())),
        ref method if *method == protocol.method() => {
            let result = Arc::clone(&door).post(protocol, peer.ip(), &parts, site, body, call);
            result.await.inspect_err(report::problem)
        }
        _ => Err(Problem::Method),
    };
    let mut response = result.unwrap_or_else(|problem| (protocol.problem)(&problem));
    readers.mark(response.headers_mut());
    report::answered(response.status());
    response
}

/// Answers every other path.
pub(crate) async fn elsewhere() -> Response<Body> {
    Problem::NotFound.response()
}

impl Door {
    async fn post(
        self: Arc<Self>,
        protocol: &'static Protocol,
        peer: IpAddr,
        parts: &Parts,
        site: Option<String>,
        body: Body,
        mut call: Call,
    ) -> Result<Response<Body>, Problem> {
        if self.suspended.any() {
            return Err(Problem::Suspended);
        }
        let head = self.head(protocol, peer, parts, site)?;
        let mut held = self.budget.reserve(head.holder.clone());
        let body = if let Some(from_head) = protocol.from_head {
            let told = from_head(parts);
            held.grow(told.len()).map_err(|_| Problem::Busy)?;
            told
        } else {
            let within = Duration::from_secs(self.config.body_timeout_s);
            let bytes_max = protocol.bytes_max(&self.config, self.config.body_bytes_max);
            body::read(body, &parts.headers, bytes_max, within, &mut held).await?
        };
        call.received();
        report::in_flight(self.budget.used());
        let received = head.received;
        let inline_max = match head.encoding {
            Encoding::Identity => INLINE_BYTES_MAX,
            Encoding::Gzip | Encoding::Deflate | Encoding::Zstd => INLINE_COMPRESSED_BYTES_MAX,
        };
        let worked = if body.len() <= inline_max {
            self.work(head, body, held)?
        } else {
            let place = Arc::clone(&self.workers).acquire_owned().await;
            let place = place.map_err(|_| Problem::NotDurable)?;
            let door = Arc::clone(&self);
            let work = move || {
                let worked = door.work(head, body, held);
                drop(place);
                worked
            };
            tokio::task::spawn_blocking(work).await.unwrap_or(Err(Problem::NotDurable))?
        };
        let Worked { principal, posting, result } = worked;
        let within = Duration::from_secs(self.config.durable_timeout_s);
        tracing::trace!(target: "quorate::moment", "door wait");
        let durable = tokio::time::timeout(within, posting.durable()).await;
        if !matches!(durable, Ok(Ok(()))) {
            return Err(Problem::NotDurable);
        }
        tracing::trace!(target: "quorate::moment", "door answer");
        match result {
            Ok(report) => {
                report::events(&principal.name, self.plan.package(), &report);
                self.stats.add(&principal, &report, received);
                Ok((protocol.receipt)(&report))
            }
            Err(error) => {
                let report = Report { tallies: vec![malformed()], ..Report::default() };
                report::events(&principal.name, self.plan.package(), &report);
                self.stats.add(&principal, &report, received);
                Err(Problem::Body(error))
            }
        }
    }

    /// Finds who sends, whether it may now, and what of its connection may be known.
    fn head(
        &self,
        protocol: &'static Protocol,
        peer: IpAddr,
        parts: &Parts,
        site: Option<String>,
    ) -> Result<Head, Problem> {
        let headers = &parts.headers;
        let received = (self.clock)();
        let asking = protocol.asking(headers);
        let config = &self.config;
        let address = address::sender(peer, headers, config.trusted_proxies, config.forwarded_by);
        let connection = Connection {
            address,
            user_agent: text(headers, &header::USER_AGENT).unwrap_or_default().to_owned(),
            accept_language: text(headers, &header::ACCEPT_LANGUAGE).unwrap_or_default().to_owned(),
        };
        let is_site = !headers.contains_key(header::AUTHORIZATION);
        let from = address.map(network);
        if is_site {
            self.addresses.pass(from, received).map_err(too_many)?;
        }
        let principal = match (self.registry.by_header(headers), site) {
            (Some(principal), _) => Some(principal.map_err(Problem::Denied)?),
            (None, Some(site)) => {
                let principal = self.registry.by_site(&site, &asking);
                Some(principal.map_err(Problem::Denied)?)
            }
            (None, None) => None,
        };
        let sender = match principal {
            Some(principal) => {
                let resolved = self.reduce(&principal, connection, received)?;
                if !is_site {
                    self.keys.pass(principal.name.clone(), received).map_err(too_many)?;
                }
                self.events.check(&principal.name, received).map_err(too_many)?;
                Sender::Known(principal, resolved)
            }
            None => Sender::InBody(connection),
        };
        // A site id is public: what it holds in memory is its visitors' own affair.
        let holder = match &sender {
            Sender::Known(principal, _) if !is_site => Holder::Source(principal.name.clone()),
            Sender::Known(..) | Sender::InBody(_) => Holder::Network(from),
        };
        let is_on = |name: HeaderName| headers.get(name).is_some_and(|value| value == "1");
        let signals = Signals { gpc: is_on(SEC_GPC), dnt: is_on(header::DNT) };
        let encoding = match protocol.from_head {
            Some(_) => Encoding::Identity,
            None => body::encoding(headers)?,
        };
        Ok(Head { protocol, sender, holder, received, signals, encoding, asking })
    }

    /// Reduces a connection. A server's says nothing about its users, so nothing is taken of it.
    fn reduce(
        &self,
        principal: &Principal,
        connection: Connection,
        received: Millis,
    ) -> Result<Resolved, Problem> {
        let resolved = match principal.kind {
            SourceKind::Server => resolve(&self.resolver, None, &principal.name, received),
            SourceKind::Device | SourceKind::Site => {
                self.resolver.resolve(connection, &principal.name, received)
            }
        };
        resolved.map_err(no_key)
    }

    /// Everything between the body and the frames.
    fn work(&self, head: Head, body: Bytes, mut held: Reservation) -> Result<Worked, Problem> {
        tracing::trace!(target: "quorate::moment", "door decode");
        let Head { protocol, sender, holder: _, received, signals, encoding, asking } = head;
        let bytes_max = protocol.bytes_max(&self.config, self.config.decompressed_bytes_max);
        let body = body::decompress(encoding, body, bytes_max, &mut held)?;
        let decoded = (protocol.decode)(&self.plan, &body, self.config.limits());
        let (principal, resolved) = match sender {
            Sender::Known(principal, resolved) => (principal, resolved),
            Sender::InBody(connection) => {
                let decoded = decoded.as_ref().map_err(|error| self.unknown(error, received))?;
                let site = decoded.site().ok_or(Problem::Denied(Denied::NoKey))?;
                let principal = self.registry.by_site(site, &asking);
                let principal = principal.map_err(Problem::Denied)?;
                self.events.check(&principal.name, received).map_err(too_many)?;
                let resolved = self.reduce(&principal, connection, received)?;
                (principal, resolved)
            }
        };
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error @ BodyError::TooManyEvents { .. }) => return Err(Problem::Body(error)),
            Err(error) => {
                let mut posting = self.batcher.post(received, held);
                posting.count(None, &malformed());
                return Ok(Worked { principal, posting, result: Err(error) });
            }
        };
        self.events.charge(principal.name.clone(), decoded.events() as u64, received);
        held.grow(decoded.events() * ROW_BYTES).map_err(|_| Problem::Busy)?;
        let persons = self.persons(&decoded, &principal, received)?;
        let sending = Sending {
            kind: principal.kind,
            permitted: principal.permitted.as_deref(),
            received: Received::At(received),
            signals,
        };
        let mut into = Into { posting: self.batcher.post(received, held), resolved, persons };
        let report = assemble(&self.plan, &decoded, &sending, &mut into);
        let families = report.accepted.len();
        for (family, tally) in report.tallies.iter().enumerate() {
            into.posting.count((family < families).then_some(family), tally);
        }
        Ok(Worked { principal, posting: into.posting, result: Ok(report) })
    }

    /// Counts a body that cannot be read and so does not tell its site. Nobody is known to whose rows a frame could
    /// say it, so it is counted in memory alone.
    fn unknown(&self, error: &BodyError, received: Millis) -> Problem {
        // As of a known sender: whoever has too many events keeps them, and sends them in parts.
        if !matches!(error, BodyError::TooManyEvents { .. }) {
            let report = Report { tallies: vec![malformed()], ..Report::default() };
            report::events("", self.plan.package(), &report);
            self.stats.add_unknown(&malformed(), received);
        }
        Problem::Body(error.clone())
    }

    /// What may be known of the end users for whom a server speaks.
    fn persons(
        &self,
        decoded: &Decoded<'_>,
        principal: &Principal,
        received: Millis,
    ) -> Result<Vec<Option<Resolved>>, Problem> {
        if principal.kind != SourceKind::Server {
            return Ok(Vec::new());
        }
        let persons = people(decoded).map(|person| {
            let person = person
                .map(|person| resolve(&self.resolver, Some(person), &principal.name, received));
            person.transpose().map_err(no_key)
        });
        persons.collect()
    }
}

/// Rows of one request on their way into frames.
struct Into {
    posting: Posting,
    resolved: Resolved,
    persons: Vec<Option<Resolved>>,
}

impl Rows for Into {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, person: Option<usize>) {
        let person = person.and_then(|index| self.persons.get(index)).and_then(Option::as_ref);
        self.posting.append(family, event, person.unwrap_or(&self.resolved));
    }
}

/// What a body counts as of which not even the number of events is known.
fn malformed() -> Tally {
    let mut tally = Tally::default();
    tally.refuse(Reason::Malformed);
    tally
}

fn too_many(TooMany { retry_after_s }: TooMany) -> Problem {
    Problem::TooMany { retry_after_s }
}

fn no_key(error: anonymizer::Error) -> Problem {
    tracing::error!("a connection could not be reduced: {error}");
    Problem::NotDurable
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The public site id in the query: `?site=ID`.
pub(crate) fn site_of(uri: &Uri) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let mut sites = pairs.filter(|(name, _)| *name == "site").map(|(_, value)| value);
    // Ids are made of letters that need no escapes.
    sites.next().map(str::to_owned)
}
