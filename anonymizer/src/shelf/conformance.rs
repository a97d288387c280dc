//! What every shelf has to pass, with several of its handles at once as several machines would have.

use std::thread;

use super::Shelf;
use crate::error::Error;

/// Threads that do the same at once.
const THREADS: usize = 8;
/// How often each does it.
const TIMES: usize = 10;

/// Everything, on handles of one empty shelf.
///
/// # Panics
///
/// If the shelf breaks a promise.
pub fn all(open: &(dyn Fn() -> Box<dyn Shelf> + Sync)) {
    what_is_written_is_read(open().as_ref());
    what_is_wiped_is_gone(open().as_ref());
    one_creates(open);
    no_line_is_lost(open);
    no_change_is_lost(open);
    a_change_that_fails_changes_nothing(open().as_ref());
}

fn what_is_written_is_read(shelf: &dyn Shelf) {
    assert_eq!(read(shelf, "plain/a"), None);
    assert!(list(shelf, "plain").is_empty());
    assert!(create(shelf, "plain/a", b"one"));
    assert!(!create(shelf, "plain/a", b"two"));
    assert_eq!(read(shelf, "plain/a").as_deref(), Some(&b"one"[..]));
    shelf.replace("plain/a", b"three").expect("it replaces");
    shelf.replace("plain/b", b"").expect("it replaces what is not there");
    assert_eq!(read(shelf, "plain/a").as_deref(), Some(&b"three"[..]));
    assert_eq!(read(shelf, "plain/b").as_deref(), Some(&b""[..]));
    assert!(create(shelf, "plain/below/c", b"c"));
    assert_eq!(list(shelf, "plain"), ["plain/a", "plain/b"]);
    assert_eq!(list(shelf, "plain/below"), ["plain/below/c"]);
    assert_eq!(tail(shelf, "plain/a", 2), b"ree");
    for (name, at) in [("plain/a", 5), ("plain/a", 9), ("plain/b", 0), ("plain/none", 0)] {
        assert!(tail(shelf, name, at).is_empty(), "{name} from {at}");
    }
    assert!(!append(shelf, "plain/a", 0, b"x") && !append(shelf, "plain/a", 6, b"x"));
    assert!(append(shelf, "plain/a", 5, b"four"));
    assert_eq!(read(shelf, "plain/a").as_deref(), Some(&b"threefour"[..]));
    assert_eq!(tail(shelf, "plain/a", 5), b"four");
}

fn what_is_wiped_is_gone(shelf: &dyn Shelf) {
    assert!(!wipe(shelf, "wiped/a"));
    assert!(create(shelf, "wiped/a", b"secret"));
    assert!(wipe(shelf, "wiped/a"));
    assert!(!wipe(shelf, "wiped/a"));
    assert_eq!(read(shelf, "wiped/a"), None);
    assert!(list(shelf, "wiped").is_empty());
    assert!(create(shelf, "wiped/a", b"again"));
}

/// Of all that create a file at once, one does, and all read what that one wrote.
fn one_creates(open: &(dyn Fn() -> Box<dyn Shelf> + Sync)) {
    for round in 0..TIMES {
        let name = format!("race/{round}");
        let at_once = |index: usize| {
            let shelf = open();
            let own = vec![u8::try_from(index).unwrap_or(u8::MAX); 64];
            let first = create(shelf.as_ref(), &name, &own);
            let there = read(shelf.as_ref(), &name).expect("somebody created it");
            assert!(!first || there == own, "who created it finds its own");
            (first, there)
        };
        let seen = together(at_once);
        assert_eq!(seen.iter().filter(|(first, _)| *first).count(), 1);
        assert!(seen.iter().all(|(_, there)| *there == seen[0].1));
    }
}

/// Lines that many append stand there once each, in some order, whole.
fn no_line_is_lost(open: &(dyn Fn() -> Box<dyn Shelf> + Sync)) {
    together(|index| {
        let shelf = open();
        let mut at = 0;
        for time in 0..TIMES {
            let line = format!("{index} {time}\n");
            loop {
                at += u64::try_from(tail(shelf.as_ref(), "lines", at).len()).unwrap_or(0);
                if append(shelf.as_ref(), "lines", at, line.as_bytes()) {
                    break;
                }
            }
        }
    });
    let text = read(open().as_ref(), "lines").expect("lines were appended");
    let text = String::from_utf8(text).expect("they are text");
    for index in 0..THREADS {
        let own: Vec<&str> =
            text.lines().filter(|line| line.starts_with(&format!("{index} "))).collect();
        let all: Vec<String> = (0..TIMES).map(|time| format!("{index} {time}")).collect();
        assert_eq!(own, all);
    }
    assert_eq!(text.lines().count(), THREADS * TIMES);
}

/// A number that many count up goes up by as much.
fn no_change_is_lost(open: &(dyn Fn() -> Box<dyn Shelf> + Sync)) {
    let count = |before: Option<&[u8]>| -> usize {
        before.map_or(0, |text| {
            String::from_utf8_lossy(text).parse().expect("only numbers are written")
        })
    };
    together(|_| {
        let shelf = open();
        for _ in 0..TIMES {
            let mut change = |before: Option<&[u8]>| -> Result<Option<Vec<u8>>, Error> {
                Ok(Some((count(before) + 1).to_string().into_bytes()))
            };
            shelf.update("count/a", &mut change).expect("it updates");
        }
    });
    assert_eq!(count(read(open().as_ref(), "count/a").as_deref()), THREADS * TIMES);
}

fn a_change_that_fails_changes_nothing(shelf: &dyn Shelf) {
    shelf.replace("failed/a", b"before").expect("it replaces");
    let failed = shelf.update("failed/a", &mut |_| Err(Error::Crypto("change")));
    assert!(matches!(failed, Err(Error::Crypto(_))));
    shelf.update("failed/a", &mut |_| Ok(None)).expect("nothing is to be changed");
    shelf.update("failed/none", &mut |_| Ok(None)).expect("nothing is to be made");
    assert_eq!(read(shelf, "failed/a").as_deref(), Some(&b"before"[..]));
    assert_eq!(read(shelf, "failed/none"), None);
}

fn together<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..THREADS).map(|index| scope.spawn(move || work(index))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    })
}

fn read(shelf: &dyn Shelf, name: &str) -> Option<Vec<u8>> {
    shelf.read(name).expect("it reads")
}

fn tail(shelf: &dyn Shelf, name: &str, at: u64) -> Vec<u8> {
    shelf.read_from(name, at).expect("it reads")
}

fn create(shelf: &dyn Shelf, name: &str, bytes: &[u8]) -> bool {
    shelf.create(name, bytes).expect("it creates")
}

fn append(shelf: &dyn Shelf, name: &str, at: u64, bytes: &[u8]) -> bool {
    shelf.append(name, at, bytes).expect("it appends")
}

fn wipe(shelf: &dyn Shelf, name: &str) -> bool {
    shelf.wipe(name).expect("it wipes")
}

fn list(shelf: &dyn Shelf, folder: &str) -> Vec<String> {
    shelf.list(folder).expect("it lists")
}
