//! A wire between a process and a server, which a test can cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Passes bytes of TCP connections on, both ways, until it is told not to. It listens until the process ends.
pub struct Proxy {
    address: String,
    valve: Arc<Valve>,
}

/// Whether bytes may pass.
#[derive(Default)]
struct Valve {
    is_shut: Mutex<bool>,
    changed: Condvar,
}

impl Valve {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap_or_else(PoisonError::into_inner) = is_shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut is_shut = self.is_shut.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_shut {
            is_shut = self.changed.wait(is_shut).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Proxy {
    /// Listens on a free port for connections to `server`, host and port.
    #[must_use]
    pub fn start(server: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        let valve = Arc::new(Valve::default());
        let (server, shared) = (server.to_owned(), Arc::clone(&valve));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                connect(client, &server, &shared);
            }
        });
        Self { address, valve }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets no byte pass any more: connections stay open, new ones are taken, and nothing comes of them. What was read
    /// already may still arrive.
    pub fn shut(&self) {
        self.valve.set(true);
    }

    /// Lets everything pass, what waited too.
    pub fn open(&self) {
        self.valve.set(false);
    }
}

/// Two threads that pass bytes on, until either end closes.
fn connect(client: TcpStream, server: &str, valve: &Arc<Valve>) {
    // Who comes while nobody serves is hung up on.
    let Ok(server) = TcpStream::connect(server) else { return };
    let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    for (from, to) in [(from_client, server), (from_server, client)] {
        let valve = Arc::clone(valve);
        std::thread::spawn(move || pass(from, to, &valve));
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, valve: &Valve) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count) = from.read(&mut bytes) {
        valve.pass();
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other direction may be over already.
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}
