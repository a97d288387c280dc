//! Frames read again, under the policy of today.

use schemas::Note;

use super::*;
use crate::{Difference, FieldDifference, Frame};

/// `duration` in coarser steps.
const COARSE: &str = r#"
serial   = { type = "string(64)", is = "identifier", transform = "pseudonym", about = "serial number" }
product  = { type = ["x1", "kathea"], is = "usage", about = "which product" }
duration = { type = "ms", range = [0, 3_600_000], is = "usage", transform = { bucket = 1000 }, about = "how long" }
"#;
/// `product` no more.
const FEWER: &str = r#"
serial   = { type = "string(64)", is = "identifier", transform = "pseudonym", about = "serial number" }
duration = { type = "ms", range = [0, 3_600_000], is = "usage", transform = { bucket = 100 }, about = "how long" }
"#;

type At = (u16, u64);

/// What the frames of the log are, in these tests: their place, family and events.
fn log() -> Vec<(At, usize, Vec<Event>)> {
    vec![
        ((0, 0), USE, events(0..30)),
        // A third of it are copies.
        ((0, 1), USE, events(20..50)),
        ((0, 2), VIEW, events(0..10)),
        ((0, 3), USE, events(40..45)),
        ((1, 0), USE, events(50..60)),
    ]
}

/// Everything of the log read and committed, in two commits.
async fn filled(store: &Store) -> Sink {
    let mut sink = store.sink().await;
    for (at, family, events) in log() {
        store.frame(&mut sink, family, at, &events);
        if at == (0, 1) {
            sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
            sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
        }
    }
    sink.commit(&[(0, 4), (1, 1)], NOW, CONTEXT).await.unwrap();
    sink
}

/// The frames of a partition, as gate 1 reads them now.
fn frames(store: &Store, partition: u16, of: &[(At, usize, Vec<Event>)]) -> Vec<Frame> {
    let own = of.iter().filter(|((own, _), ..)| *own == partition);
    let frames = own.map(|((_, position), family, events)| {
        let origin = Origin { partition, position: *position, import: false };
        let batch = store.batch(*family, &origin, events);
        Frame::new(origin, batch, &store.package, NOW).unwrap()
    });
    frames.collect()
}

/// Replays partition 0 from where id `one` is, in chunks of a frame, up to `chunks` of them; gives the differences in `use`.
async fn replay(store: &Store, sink: &mut Sink, chunks: usize) -> Difference {
    let from = sink.replayed("one", 0).await.unwrap();
    let mut all = Difference::default();
    let frames = frames(store, 0, &log()).into_iter();
    for frame in frames.filter(|frame| frame.origin.position >= from).take(chunks) {
        let next = (0, frame.origin.position + 1);
        let frames = [frame];
        let comparison = sink.compare(&frames).unwrap();
        comparison
            .differences()
            .filter(|(family, _)| *family == USE)
            .for_each(|(_, difference)| all.add(difference));
        sink.replace("one", next, &frames, &comparison, NOW, CONTEXT).await.unwrap();
    }
    all
}

/// The rows of `use` as text, in order of their places.
async fn texts(store: &Store) -> Vec<(Row, String)> {
    let table = store.table("events/use").await;
    let shape = crate::files::Shape::new("test", table.staging(), &table.schema().unwrap(), 1);
    let mut rows = Vec::new();
    for file in table.files() {
        let day = file.day.clone().unwrap();
        for batch in table.read(&file.path, None).unwrap() {
            let batch = crate::files::align("test", &batch.unwrap(), &shape.schema).unwrap();
            for (index, row) in decode(&batch, &day).into_iter().enumerate() {
                let text = arrow::util::pretty::pretty_format_batches(&[batch.slice(index, 1)]);
                rows.push((row, text.unwrap().to_string()));
            }
        }
    }
    rows.sort();
    rows
}

async fn versions(store: &Store) -> (u64, u64) {
    let version = async |name| store.table(name).await.version();
    (version("events/use").await, version("ledger/outcomes").await)
}

fn field(nulled: u64, changed: u64) -> FieldDifference {
    FieldDifference { nulled, filled: 0, changed }
}

#[tokio::test]
async fn the_same_policy_changes_nothing_and_commits_nothing() {
    let store = Store::new();
    let mut sink = filled(&store).await;
    let before = (texts(&store).await, versions(&store).await, store.outcomes().await);
    let difference = replay(&store, &mut sink, 9).await;
    assert_eq!(difference, Difference { unchanged: 50, ..Difference::default() });
    sink.finish_replay("one").await.unwrap();
    assert_eq!((texts(&store).await, versions(&store).await, store.outcomes().await), before);
}

async fn a_changed_bucket_changes_that_field_and_nothing_else(new: New) {
    let mut store = new();
    drop(filled(&store).await);
    let before = texts(&store).await;
    store.declare(COARSE);
    let mut sink = store.sink().await;
    let difference = replay(&store, &mut sink, 9).await;
    let fields = BTreeMap::from([("duration".to_owned(), field(0, 50))]);
    assert_eq!(difference, Difference { changed: 50, fields, ..Difference::default() });
    sink.finish_replay("one").await.unwrap();

    let after = texts(&store).await;
    assert_eq!(after.len(), 60);
    let places =
        |rows: &[(Row, String)]| rows.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>();
    assert_eq!(places(&after), places(&before));
    for ((row, before), (_, after)) in before.iter().zip(&after) {
        let expected =
            if row.partition == 0 { before.replace(" 1200 ", " 1000 ") } else { before.clone() };
        assert_eq!(*after, expected);
    }
    let outcomes = store.outcomes().await;
    assert_eq!((outcomes[&STORED], outcomes[&DUPLICATE]), (70, 15), "what was counted stands");
    assert_eq!(outcomes[&Counted::Note(Note::ReplayedChanged)], 50);
    assert!(!outcomes.contains_key(&Counted::Note(Note::ReplayedAdded)));

    // A second time there is nothing left to do, and a copy that comes is still one.
    assert_eq!(replay(&store, &mut sink, 9).await.unchanged, 50);
    assert_eq!(store.frame(&mut sink, USE, (0, 4), &events(0..60)).duplicate, 60);
    sink.commit(&[(0, 5)], NOW, CONTEXT).await.unwrap();
    assert_eq!(texts(&store).await, after);
}

#[tokio::test]
async fn a_field_that_is_no_longer_declared_becomes_null() {
    let mut store = Store::new();
    drop(filled(&store).await);
    store.declare(FEWER);
    let mut sink = store.sink().await;
    let difference = replay(&store, &mut sink, 9).await;
    let fields = BTreeMap::from([("product".to_owned(), field(50, 0))]);
    assert_eq!(difference, Difference { changed: 50, fields, ..Difference::default() });
    let left = texts(&store).await.iter().filter(|(_, text)| text.contains(" x1 ")).count();
    assert_eq!(left, 10, "those of the other partition");
    // No file that was replaced is left.
    assert_eq!(
        data_files(&store.root().join("events/use")).len(),
        store.table("events/use").await.files().len()
    );
}

async fn a_replay_goes_on_where_it_was_killed(new: New) {
    let mut store = new();
    drop(filled(&store).await);
    store.declare(COARSE);
    let mut sink = store.sink().await;
    assert_eq!(replay(&store, &mut sink, 1).await.changed, 30);
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(sink.replayed("one", 0).await.unwrap(), 1);
    assert_eq!(sink.replayed("two", 0).await.unwrap(), 0);
    assert_eq!((sink.next(0), sink.next(1)), (4, 1), "the worker goes on where it was");
    let rest = replay(&store, &mut sink, 9).await;
    assert_eq!((rest.changed, rest.unchanged), (20, 0));
    sink.finish_replay("one").await.unwrap();
    assert_eq!(sink.replayed("one", 0).await.unwrap(), 0, "the same may be done again");

    let whole = texts(&store).await;
    let mut at_once = new();
    (at_once.dir, at_once.bucket) = (store.dir, store.bucket);
    at_once.ring = store.ring;
    at_once.declare(COARSE);
    drop(sink);
    let mut sink = at_once.sink().await;
    let all = frames(&at_once, 0, &log());
    let comparison = sink.compare(&all).unwrap();
    assert!(comparison.differences().all(|(_, difference)| difference.is_none()));
    sink.replace("two", (0, 4), &all, &comparison, NOW, CONTEXT).await.unwrap();
    assert_eq!(texts(&at_once).await, whole);
}

#[tokio::test]
async fn a_replay_begins_anew_after_another() {
    let mut store = Store::new();
    drop(filled(&store).await);
    let before = texts(&store).await;
    store.declare(COARSE);
    let mut sink = store.sink().await;
    assert_eq!(replay(&store, &mut sink, 1).await.changed, 30);
    drop(sink);
    store.declare(FIELDS);
    let mut sink = store.sink().await;
    let all = frames(&store, 0, &log());
    let comparison = sink.compare(&all).unwrap();
    sink.replace("two", (0, 4), &all, &comparison, NOW, CONTEXT).await.unwrap();
    assert_eq!(texts(&store).await, before, "the other one undid what was done");
    sink.finish_replay("two").await.unwrap();
    drop(sink);
    store.declare(COARSE);
    let mut sink = store.sink().await;
    assert_eq!(replay(&store, &mut sink, 9).await.changed, 50, "so all of it is done again");
}

#[tokio::test]
async fn a_crash_between_table_and_ledger_is_made_good() {
    let mut store = Store::new();
    drop(filled(&store).await);
    store.declare(COARSE);
    let mut sink = store.sink().await;
    let all = frames(&store, 0, &log());
    let comparison = sink.compare(&all).unwrap();
    let compared = &comparison.families[&USE];
    let rewrite = sink.rewritten(USE, compared, &all, &comparison).unwrap();
    let manifest = sink.replacement(USE, 0, compared, &rewrite, NOW, CONTEXT);
    let positions = vec![("replay/one/0".to_owned(), 4)];
    sink.commit_rewritten(USE, &rewrite, &manifest, positions, NOW).await.unwrap();
    drop(sink);

    let mut sink = store.sink().await;
    let outcomes = store.outcomes().await;
    assert_eq!(outcomes[&Counted::Note(Note::ReplayedChanged)], 50, "taken from the manifest");
    assert_eq!(sink.replayed("one", 0).await.unwrap(), 0, "the ledger alone says where to go on");
    assert_eq!(replay(&store, &mut sink, 9).await.unchanged, 50);
    sink.finish_replay("one").await.unwrap();
    drop(sink);
    drop(store.sink().await);
    assert_eq!(store.outcomes().await, outcomes);
    assert_eq!(store.rows("use").await.len(), 60);
}

#[tokio::test]
async fn what_was_not_stored_does_not_come_back_beside_what_was() {
    let store = Store::new();
    let mut sink = filled(&store).await;
    let rows = texts(&store).await;
    // An erased row, and copies whose keys the index has long forgotten.
    sink.erase(USE, &[contributor(&store, 5)].into(), NOW).await.unwrap();
    drop(sink);
    std::fs::remove_dir_all(store.dir.path().join("index")).unwrap();
    let mut sink = store.sink().await;
    sink.index.expire(NOW.plus(400 * DAY_MS)).unwrap();
    assert_eq!(
        replay(&store, &mut sink, 9).await,
        Difference { unchanged: 49, ..Difference::default() }
    );
    assert_eq!(store.rows("use").await.len(), rows.len() - 1);
}

#[tokio::test]
async fn a_frame_that_gave_nothing_gives_what_is_no_duplicate() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let log = log();
    // The first two frames could not be opened when they were read.
    let lost = |position| Origin { partition: 0, position, import: false };
    sink.count(Some(USE), &lost(0), &Tally::default(), 30, 30);
    sink.count(Some(USE), &lost(1), &Tally::default(), 30, 30);
    store.frame(&mut sink, USE, (0, 3), &log[3].2);
    store.frame(&mut sink, USE, (1, 0), &log[4].2);
    sink.commit(&[(0, 4), (1, 1)], NOW, CONTEXT).await.unwrap();
    for forgotten in [false, true] {
        if forgotten {
            sink.index.expire(NOW.plus(400 * DAY_MS)).unwrap();
        }
        let all = frames(&store, 0, &log);
        let comparison = sink.compare(&all).unwrap();
        let (_, difference) = comparison.differences().find(|(family, _)| *family == USE).unwrap();
        assert_eq!(*difference, Difference { unchanged: 5, added: 45, ..Difference::default() });
    }
    assert_eq!(replay(&store, &mut sink, 9).await.added, 45);
    assert_eq!(store.rows("use").await.len(), 60);
    let outcomes = store.outcomes().await;
    let note = Counted::Note(Note::ReplayedAdded);
    // Ten of them in `view`, whose frame was passed over too.
    assert_eq!((outcomes[&STORED], outcomes[&EXPIRED], outcomes[&note]), (15, 60, 55));
    assert_eq!(replay(&store, &mut sink, 9).await.added, 0);
}

#[tokio::test]
async fn a_suppressed_contributor_goes_and_does_not_come_back() {
    let mut store = Store::new();
    drop(filled(&store).await);
    store.suppress("serial-5");
    let mut sink = store.sink().await;
    let difference = replay(&store, &mut sink, 9).await;
    assert_eq!(difference, Difference { unchanged: 49, removed: 1, ..Difference::default() });
    assert_eq!(store.outcomes().await[&Counted::Note(Note::ReplayedRemoved)], 1);
    assert_eq!(replay(&store, &mut sink, 9).await.added, 0);
    drop(sink);

    // Where nothing is stored, nothing of it is added either.
    let mut store = Store::new();
    store.suppress("serial-5");
    let mut sink = store.sink().await;
    sink.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    assert_eq!(replay(&store, &mut sink, 9).await.added, 49);
    store.gate = store.open_gate();
    let own = contributor(&store, 5);
    let found = sink.contributors(USE, &|other| *other == own).unwrap();
    assert!(found.is_empty());
}

#[tokio::test]
async fn a_row_past_its_end_is_left_to_retention() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, VIEW, (0, 0), &events(0..10));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    let origin = Origin { partition: 0, position: 0, import: false };
    let late = NOW.plus(4 * DAY_MS);
    let batch = store.batch_at(VIEW, &origin, &events(0..10), late);
    assert_eq!(batch.expired(), 10);
    let frames = [Frame::new(origin, batch, &store.package, late).unwrap()];
    let comparison = sink.compare(&frames).unwrap();
    assert!(comparison.differences().all(|(_, difference)| difference.is_none()));
    sink.replace("one", (0, 1), &frames, &comparison, late, CONTEXT).await.unwrap();
    assert_eq!(store.rows("view").await.len(), 10);
}

#[tokio::test]
async fn rows_go_beside_and_the_tables_stay() {
    let mut store = Store::new();
    drop(filled(&store).await);
    let before = texts(&store).await;
    store.declare(COARSE);
    let sink = store.sink().await;
    let version = versions(&store).await;
    let beside = store.dir.path().join("beside");
    let config = SinkConfig {
        root: beside.clone().into(),
        index: beside.join("index"),
        staging: beside.join("staging"),
        ..store.config()
    };
    let package = Arc::clone(&store.package);
    let mut other = sole(config.clone(), &package, LOG).await.unwrap();
    let all = frames(&store, 0, &log());
    let comparison = sink.compare(&all).unwrap();
    for again in [false, true] {
        let written = other.write_compared(&all, &comparison).unwrap();
        let expected = if again { (0, 0) } else { (60, 15) };
        assert_eq!((written.stored, written.duplicate), expected);
        other.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    }
    drop(other);
    assert_eq!((texts(&store).await, versions(&store).await), (before.clone(), version));
    let outcomes = store.books(&beside).await;
    let stored = outcomes.iter().filter(|row| row.counted == STORED).map(|row| row.count);
    assert_eq!(stored.sum::<u64>(), 60);
    let table = store.table_in(&beside, "events/use").await;
    assert_eq!(table.files().iter().map(|file| file.rows).sum::<u64>(), 50);
    drop(sink);

    // An erasure and the end of rows reach there.
    crate::keep_beside(&store.root().into(), &beside).unwrap();
    // A copy of the store, for whatever it is used, does not work on the tables of the original.
    let copy = store.dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(store.root().join("beside.txt"), copy.join("beside.txt")).unwrap();
    let home = Home { root: &copy.clone().into(), staging: &store.staging() };
    assert!(crate::beside::tables(home).await.unwrap().is_empty());
    let mut sink = store.sink().await;
    let own = contributor(&store, 5);
    let erased = sink.erase(USE, &[own].into(), NOW).await.unwrap();
    assert_eq!((erased.rows, erased.files), (2, 2));
    let left = async || {
        let table = store.table_in(&beside, "events/use").await;
        assert_eq!(data_files(&beside.join("events/use")).len(), table.files().len());
        table.files().iter().map(|file| file.rows).sum::<u64>()
    };
    assert_eq!(left().await, 49);
    for _ in 0..2 {
        sink.maintain(NOW.plus(40 * DAY_MS)).await.unwrap();
    }
    assert_eq!(left().await, 0);
    assert_eq!(store.rows("use").await.len(), 0);
}

/// The pseudonym of the device of event `id`.
fn contributor(store: &Store, id: u32) -> [u8; 16] {
    let origin = Origin { partition: 0, position: 0, import: false };
    let batch = store.batch(USE, &origin, &events(id..id + 1));
    let own = batch.rows().column_by_name("contributor").unwrap();
    own.as_binary::<i32>().value(0).try_into().unwrap()
}

on_both! {
    a_changed_bucket_changes_that_field_and_nothing_else,
    a_replay_goes_on_where_it_was_killed,
}
