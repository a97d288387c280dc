//! Rows that leave and come back: what is there in between, and crashes at every step.

use std::collections::HashSet;

use schemas::Note;

use super::*;
use crate::{Frame, PutBack, Which};

const APART: Counted = Counted::Note(Note::SetApart);
const BACK: Counted = Counted::Note(Note::PutBack);
const MANY: u64 = 1_000;

/// Sixty events of `use` on three days, in two frames.
fn three_days() -> Vec<Event> {
    let of = |id: u32| {
        let time = NOW.plus(-DAY_MS * i64::from(id % 3));
        Event { time, ..event(id) }
    };
    (0..60).map(of).collect()
}

async fn filled(store: &Store) -> Sink {
    let mut sink = store.sink().await;
    let events = three_days();
    store.frame(&mut sink, USE, (0, 0), &events[..30]);
    store.frame(&mut sink, USE, (1, 0), &events[30..]);
    sink.commit(&[(0, 1), (1, 1)], NOW, CONTEXT).await.unwrap();
    sink
}

/// Every column of every row of `use`, in order.
async fn whole(store: &Store) -> Vec<String> {
    let table = store.table("events/use").await;
    let mut rows = Vec::new();
    for file in table.files() {
        for batch in table.read(&file.path, None).unwrap() {
            let batch = batch.unwrap();
            rows.extend((0..batch.num_rows()).map(|row| {
                let row = [batch.slice(row, 1)];
                let text = arrow::util::pretty::pretty_format_batches(&row).unwrap();
                format!("{:?} {text}", file.day)
            }));
        }
    }
    rows.sort();
    rows
}

fn rows(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

fn today() -> Which<'static> {
    Which::Days(NOW.day()..=NOW.day())
}

async fn rows_leave_and_come_back_as_they_were(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let before = whole(&store).await;
    let chosen = sink.chosen(USE, &today(), MANY).unwrap();
    assert_eq!((rows(&chosen), before.len()), (20, 60));
    assert_eq!(whole(&store).await, before, "looking changes nothing");
    let refused = sink.chosen(USE, &today(), 19).err().unwrap();
    assert!(matches!(refused, crate::SinkError::TooMany { rows_max: 19 }));

    assert_eq!(sink.set_apart(USE, &chosen, NOW).await.unwrap(), 20);
    let left = whole(&store).await;
    assert_eq!(left.len(), 40);
    assert!(left.iter().all(|row| before.contains(row)), "the others are untouched");
    assert!(!store.root().join("events/use/day=2026-03-02").exists());
    assert_eq!(sink.set_apart(USE, &chosen, NOW).await.unwrap(), 0, "once");
    assert_eq!(store.outcomes().await[&APART], 20);

    let back = sink.put_back(USE, &chosen, NOW).await.unwrap();
    assert_eq!(back, PutBack { rows: 20, known: 0, ended: 0 });
    assert_eq!(whole(&store).await, before);
    let again = sink.put_back(USE, &chosen, NOW).await.unwrap();
    assert_eq!(again, PutBack { rows: 0, known: 20, ended: 0 });
    assert_eq!(whole(&store).await, before);
    let outcomes = store.outcomes().await;
    assert_eq!((outcomes[&BACK], outcomes[&STORED]), (20, 60));
    // Mixed with others later, they go on as any row.
    sink.maintain(NOW.plus(2 * HOUR_MS)).await.unwrap();
    assert_eq!(whole(&store).await.len(), 60);
    let again = store.frame(&mut sink, USE, (0, 1), &three_days());
    assert_eq!((again.stored, again.duplicate), (0, 60), "the index knows them");
}

async fn rows_of_one_contributor_leave_alone(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let table = store.table("events/use").await;
    let mut own = HashSet::new();
    for file in table.files() {
        let batch = table.read(&file.path, None).unwrap().next().unwrap().unwrap();
        let column = batch.column_by_name("contributor").unwrap().as_binary::<i32>();
        own.insert(<[u8; 16]>::try_from(column.value(0)).unwrap());
    }
    let chosen = sink.chosen(USE, &Which::Contributors(&own), MANY).unwrap();
    assert_eq!(rows(&chosen), own.len() as u64);
    sink.set_apart(USE, &chosen, NOW).await.unwrap();
    assert!(sink.contributors(USE, &|found| own.contains(found)).unwrap().is_empty());
    assert_eq!(store.rows("use").await.len(), 60 - own.len());
}

/// Whatever the index forgot meanwhile.
async fn what_is_apart_does_not_come_in_again(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let chosen = sink.chosen(USE, &today(), MANY).unwrap();
    sink.set_apart(USE, &chosen, NOW).await.unwrap();
    for forgotten in [false, true] {
        if forgotten {
            drop(sink);
            std::fs::remove_dir_all(store.dir.path().join("index")).unwrap();
            sink = store.sink().await;
            sink.know_apart(USE, &chosen, NOW).unwrap();
        }
        let again = store.frame(&mut sink, USE, (1, 1), &three_days());
        assert_eq!((again.stored, again.duplicate), (0, 60), "sent again");
        sink.index.forget_pending();
        drop(sink);
        sink = store.sink().await;
        sink.know_apart(USE, &chosen, NOW).unwrap();
        let events = three_days();
        for (partition, own) in [(0, &events[..30]), (1, &events[30..])] {
            let origin = Origin { partition, position: 0, import: false };
            let batch = store.batch(USE, &origin, own);
            let frame = Frame::new(origin, batch, &store.package, NOW).unwrap();
            let comparison = sink.compare(&[frame]).unwrap();
            let (_, difference) = comparison.differences().next().unwrap();
            assert!(difference.is_none(), "replayed: {difference:?}");
        }
    }
    sink.forget_apart(USE, &chosen).unwrap();
    let again = store.frame(&mut sink, USE, (1, 1), &three_days());
    assert_eq!((again.stored, again.duplicate), (20, 40), "what is destroyed is known no more");
}

async fn a_whole_frame_that_is_apart_is_not_replayed(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let all = Which::Days(0..=i32::MAX);
    let chosen = sink.chosen(USE, &all, MANY).unwrap();
    sink.set_apart(USE, &chosen, NOW).await.unwrap();
    let frame = || {
        let origin = Origin { partition: 0, position: 0, import: false };
        let batch = store.batch(USE, &origin, &three_days()[..30]);
        [Frame::new(origin, batch, &store.package, NOW).unwrap()]
    };
    let none = |sink: &Sink| {
        let comparison = sink.compare(&frame()).unwrap();
        comparison.differences().all(|(_, difference)| difference.is_none())
    };
    assert!(none(&sink));
    sink.forget_apart(USE, &chosen).unwrap();
    assert!(!none(&sink), "that it stays out is for being apart");
}

async fn what_has_come_to_its_end_does_not_come_back(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let chosen = sink.chosen(USE, &today(), MANY).unwrap();
    sink.set_apart(USE, &chosen, NOW).await.unwrap();
    let end = sink.families[USE].life.end(schemas::time::epoch_of(NOW, 28));
    let back = sink.put_back(USE, &chosen, end.plus(1)).await.unwrap();
    assert_eq!(back, PutBack { rows: 0, known: 0, ended: 20 });
    assert_eq!(sink.put_back(USE, &chosen, end).await.unwrap().rows, 20);
}

/// Who comes in again while its row is apart and forgotten is there once in the end.
async fn what_came_in_again_is_not_put_beside(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let chosen = sink.chosen(USE, &today(), MANY).unwrap();
    sink.set_apart(USE, &chosen, NOW).await.unwrap();
    sink.forget_apart(USE, &chosen).unwrap();
    assert_eq!(store.frame(&mut sink, USE, (0, 1), &three_days()).stored, 20);
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    let back = sink.put_back(USE, &chosen, NOW).await.unwrap();
    assert_eq!(back, PutBack { rows: 0, known: 20, ended: 0 });
    assert_eq!(store.rows("use").await.len(), 60);
}

/// How far a step came before the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Written,
    Published,
    Table,
    Ledger,
}

const STEPS: [Until; 4] = [Until::Written, Until::Published, Until::Table, Until::Ledger];

async fn carry_out(sink: &mut Sink, rewrite: &crate::rewrite::Rewrite, note: Note, until: Until) {
    let manifest = sink.noting(note, USE, &rewrite.counted, NOW);
    let none = Vec::new();
    match until {
        Until::Written => {}
        Until::Published => sink.families[USE].table.publish(&rewrite.add).unwrap(),
        Until::Table => sink.commit_rewritten(USE, rewrite, &manifest, none, NOW).await.unwrap(),
        Until::Ledger => sink.commit_rewrite(USE, rewrite, manifest, none, NOW).await.unwrap(),
    }
}

/// What is written down elsewhere stands for the rows from before the first step of the way out to after the last one of
/// the way back: at every moment each row is in one of the two, and in the end in the table, once.
async fn a_crash_between_any_two_steps_loses_and_doubles_nothing(new: New) {
    for until in STEPS {
        let store = new();
        let mut sink = filled(&store).await;
        let before = whole(&store).await;
        let written = sink.chosen(USE, &today(), MANY).unwrap();
        let places = crate::replay::places(&written[0]).unwrap().into_iter();
        let places =
            places.chain(written[1..].iter().flat_map(|rows| crate::replay::places(rows).unwrap()));
        let places = places.collect::<HashSet<_>>();
        let table = &sink.families[USE].table;
        let mut out = crate::rewrite::without(table, &crate::replay::Places(&places)).unwrap();
        out.keys.clear();
        carry_out(&mut sink, &out, Note::SetApart, until).await;
        drop(sink);

        let mut sink = store.sink().await;
        sink.know_apart(USE, &written, NOW).unwrap();
        let committed = until > Until::Published;
        assert_eq!(whole(&store).await.len(), if committed { 40 } else { 60 }, "{until:?}");
        sink.set_apart(USE, &written, NOW).await.unwrap();
        assert_eq!(whole(&store).await.len(), 40, "{until:?}");
        assert_eq!(store.outcomes().await[&APART], 20, "counted once after {until:?}");

        let table = &sink.families[USE].table;
        let mut back = crate::rewrite::Rewrite {
            add: crate::rewrite::fresh(table, &written).unwrap(),
            ..Default::default()
        };
        for rows in &written {
            crate::rewrite::count(table, rows, &mut back.counted).unwrap();
        }
        carry_out(&mut sink, &back, Note::PutBack, until).await;
        drop(sink);

        let mut sink = store.sink().await;
        sink.know_apart(USE, &written, NOW).unwrap();
        sink.put_back(USE, &written, NOW).await.unwrap();
        assert_eq!(whole(&store).await, before, "{until:?}");
        assert_eq!(store.outcomes().await[&BACK], 20, "counted once after {until:?}");
        let again = store.frame(&mut sink, USE, (0, 1), &three_days());
        assert_eq!((again.stored, again.duplicate), (0, 60), "{until:?}");
    }
}

on_both! {
    rows_leave_and_come_back_as_they_were,
    rows_of_one_contributor_leave_alone,
    what_is_apart_does_not_come_in_again,
    a_whole_frame_that_is_apart_is_not_replayed,
    what_has_come_to_its_end_does_not_come_back,
    what_came_in_again_is_not_put_beside,
    a_crash_between_any_two_steps_loses_and_doubles_nothing,
}
