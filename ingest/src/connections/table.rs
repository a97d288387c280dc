//! Who is connected, and whose place is taken next: values alone, no socket.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::limiter::network;

/// Everybody who is connected.
pub(super) struct Table {
    max: usize,
    next: u64,
    open: HashMap<SocketAddr, Connection>,
    networks: HashMap<IpAddr, Network>,
    /// One entry a network, of its connection that goes first; the first entry goes first of all.
    ranks: BTreeSet<Rank>,
}

/// Requests of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Calls {
    /// Whose body is not here yet.
    pub(super) arriving: u32,
    /// Which are being worked on.
    pub(super) working: u32,
}

/// A connection that was let in.
pub(super) struct Admitted {
    pub(super) id: u64,
    /// Says so when its place is taken.
    pub(super) closed: oneshot::Receiver<()>,
    /// Whether somebody else's place was taken for it.
    pub(super) instead_of_another: bool,
}

/// What a connection does: the less, the sooner its place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Nothing,
    Arriving,
    Working,
}

/// Order within a network: who does least goes first, and of those who does so for longest.
type Turn = (Doing, Instant, u64);

/// Order among networks: who does least, of the network that holds most places, for longest.
type Rank = (Doing, Reverse<usize>, Instant, u64, SocketAddr);

struct Connection {
    id: u64,
    calls: Calls,
    turn: Turn,
    close: oneshot::Sender<()>,
}

#[derive(Default)]
struct Network {
    turns: BTreeSet<(Turn, SocketAddr)>,
    rank: Option<Rank>,
}

impl Table {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            next: 0,
            open: HashMap::new(),
            networks: HashMap::new(),
            ranks: BTreeSet::new(),
        }
    }

    /// Lets `peer` in, in the place of another if need be; nothing if everybody is at work.
    pub(super) fn admit(&mut self, peer: SocketAddr, now: Instant) -> Option<Admitted> {
        let is_full = self.open.len() >= self.max;
        if is_full {
            let &(doing, .., first) = self.ranks.first()?;
            if doing == Doing::Working {
                return None;
            }
            self.remove(first);
        }
        // The port may be in use again before its last connection was missed.
        self.remove(peer);
        let id = self.next;
        self.next += 1;
        let (close, closed) = oneshot::channel();
        let turn = (Doing::Nothing, now, id);
        self.open.insert(peer, Connection { id, calls: Calls::default(), turn, close });
        self.enter(peer, None, Some(turn));
        Some(Admitted { id, closed, instead_of_another: is_full })
    }

    /// Changes what `peer` does; nothing if its place has been taken.
    pub(super) fn change(&mut self, peer: SocketAddr, now: Instant, how: impl FnOnce(&mut Calls)) {
        let Some(connection) = self.open.get_mut(&peer) else { return };
        let mut calls = connection.calls;
        how(&mut calls);
        connection.calls = calls;
        let doing = match calls {
            Calls { working: 1.., .. } => Doing::Working,
            Calls { arriving: 1.., .. } => Doing::Arriving,
            Calls { arriving: 0, working: 0 } => Doing::Nothing,
        };
        let (before, turn) = (connection.turn, (doing, now, connection.id));
        connection.turn = turn;
        self.enter(peer, Some(before), Some(turn));
    }

    /// The connection is gone by itself.
    pub(super) fn forget(&mut self, peer: SocketAddr, id: u64) {
        if self.open.get(&peer).is_some_and(|connection| connection.id == id) {
            self.remove(peer);
        }
    }

    /// Closes all that have done nothing for longer than `idle`, or had a request arrive for longer than `arriving`,
    /// and gives their number.
    pub(super) fn close_late(&mut self, now: Instant, idle: Duration, arriving: Duration) -> u64 {
        let is_late = |connection: &Connection| {
            let (doing, since, _) = connection.turn;
            let taken = now.saturating_duration_since(since);
            match doing {
                Doing::Nothing => taken > idle,
                Doing::Arriving => taken > arriving,
                Doing::Working => false,
            }
        };
        let late = self.open.iter().filter(|(_, connection)| is_late(connection));
        let late: Vec<SocketAddr> = late.map(|(peer, _)| *peer).collect();
        for peer in &late {
            self.remove(*peer);
        }
        late.len() as u64
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Takes a place away; who holds it hears so.
    fn remove(&mut self, peer: SocketAddr) {
        if let Some(Connection { turn, close, .. }) = self.open.remove(&peer) {
            self.enter(peer, Some(turn), None);
            // If nobody listens, it is gone already.
            let _ = close.send(());
        }
    }

    /// Puts one turn in the place of another, and its network where it belongs.
    fn enter(&mut self, peer: SocketAddr, before: Option<Turn>, after: Option<Turn>) {
        let name = network(peer.ip());
        let network = self.networks.entry(name).or_default();
        if let Some(before) = before {
            network.turns.remove(&(before, peer));
        }
        network.turns.extend(after.map(|after| (after, peer)));
        let first = network.turns.first();
        let rank = first.map(|&((doing, since, id), peer)| {
            (doing, Reverse(network.turns.len()), since, id, peer)
        });
        if network.rank != rank {
            if let Some(old) = network.rank.take() {
                self.ranks.remove(&old);
            }
            network.rank = rank;
            self.ranks.extend(rank);
        }
        if network.turns.is_empty() {
            self.networks.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scene {
        table: Table,
        now: Instant,
        held: HashMap<&'static str, Admitted>,
    }

    impl Scene {
        fn of(max: usize) -> Self {
            Self { table: Table::new(max), now: Instant::now(), held: HashMap::new() }
        }

        /// A second later, somebody connects.
        fn comes(&mut self, peer: &'static str) -> bool {
            self.now += Duration::from_secs(1);
            let admitted = self.table.admit(peer.parse().unwrap(), self.now);
            let is_in = admitted.is_some();
            self.held.extend(admitted.map(|admitted| (peer, admitted)));
            is_in
        }

        fn does(&mut self, peer: &str, how: impl FnOnce(&mut Calls)) {
            self.now += Duration::from_secs(1);
            self.table.change(peer.parse().unwrap(), self.now, how);
        }

        /// Whose place was taken since the last call.
        fn gone(&mut self) -> Vec<&'static str> {
            let mut gone: Vec<_> = self
                .held
                .iter_mut()
                .filter_map(|(peer, held)| held.closed.try_recv().is_ok().then_some(*peer))
                .collect();
            gone.iter().for_each(|peer| drop(self.held.remove(peer)));
            gone.sort_unstable();
            gone
        }
    }

    #[test]
    fn a_flood_takes_its_own_places() {
        let mut scene = Scene::of(4);
        assert!(scene.comes("192.0.2.1:1"));
        for peer in ["198.51.100.9:1", "198.51.100.9:2", "198.51.100.9:3"] {
            assert!(scene.comes(peer));
        }
        assert!(scene.comes("198.51.100.9:4"));
        assert_eq!(scene.gone(), ["198.51.100.9:1"]);
        assert!(scene.comes("203.0.113.5:1"));
        assert_eq!(scene.gone(), ["198.51.100.9:2"]);
        assert_eq!(scene.table.len(), 4);
    }

    #[test]
    fn who_does_nothing_goes_before_who_sends_and_who_is_worked_for_stays() {
        let mut scene = Scene::of(3);
        for peer in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"] {
            assert!(scene.comes(peer));
        }
        scene.does("192.0.2.1:1", |calls| calls.arriving += 1);
        scene.does("192.0.2.1:2", |calls| calls.working += 1);
        assert!(scene.comes("192.0.2.3:1"));
        assert_eq!(scene.gone(), ["192.0.2.2:1"], "of a network with less, and idle");
        scene.does("192.0.2.3:1", |calls| calls.working += 1);
        assert!(scene.comes("192.0.2.4:1"));
        assert_eq!(scene.gone(), ["192.0.2.1:1"]);
        scene.does("192.0.2.4:1", |calls| calls.working += 1);
        assert!(!scene.comes("192.0.2.5:1"));
        scene.does("192.0.2.1:2", |calls| calls.working -= 1);
        assert!(scene.comes("192.0.2.5:1"));
        assert_eq!(scene.gone(), ["192.0.2.1:2"]);
    }

    #[test]
    fn who_takes_too_long_is_closed_and_who_is_worked_for_is_not() {
        let mut scene = Scene::of(10);
        for peer in ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"] {
            assert!(scene.comes(peer));
        }
        scene.does("192.0.2.1:2", |calls| calls.arriving += 1);
        scene.does("192.0.2.1:3", |calls| calls.working += 1);
        let mut after = |seconds| {
            let now = scene.now + Duration::from_secs(seconds);
            scene.table.close_late(now, Duration::from_secs(20), Duration::from_secs(30));
            scene.gone()
        };
        assert_eq!(after(15), [""; 0]);
        assert_eq!(after(16), ["192.0.2.1:1"]);
        assert_eq!(after(19), ["192.0.2.2:1"]);
        assert_eq!(after(29), [""; 0]);
        assert_eq!(after(30), ["192.0.2.1:2"]);
        assert_eq!(after(3600), [""; 0]);
        assert_eq!((scene.table.len(), scene.table.networks.len()), (1, 1));
    }

    #[test]
    fn a_port_that_is_used_again_is_another_connection() {
        let mut scene = Scene::of(10);
        assert!(scene.comes("192.0.2.1:1"));
        let first = scene.held.remove("192.0.2.1:1").unwrap().id;
        assert!(scene.comes("192.0.2.1:1"));
        scene.table.forget("192.0.2.1:1".parse().unwrap(), first);
        assert_eq!(scene.table.len(), 1);
        let second = scene.held["192.0.2.1:1"].id;
        scene.table.forget("192.0.2.1:1".parse().unwrap(), second);
        assert_eq!((scene.table.len(), scene.table.networks.len()), (0, 0));
        assert!(scene.table.ranks.is_empty());
    }
}
