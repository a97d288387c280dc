//! Contributors who leave: what is gone, what stays, and crashes in between.

use std::collections::HashSet;

use schemas::Note;

use super::*;
use crate::rewrite;

const ERASED: Counted = Counted::Note(Note::Erased);

/// A table of three files, one of them mixed: serials `serial-0` to `serial-99`, each in two events.
async fn filled(store: &Store) -> Sink {
    let mut sink = store.sink().await;
    let again = |ids: std::ops::Range<u32>| {
        ids.map(|id| Event { id: Some(format!("again-{id}")), ..event(id) }).collect::<Vec<_>>()
    };
    store.frame(&mut sink, USE, (0, 0), &events(0..100));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    store.frame(&mut sink, USE, (0, 1), &again(0..50));
    store.frame(&mut sink, VIEW, (0, 2), &events(0..10));
    sink.commit(&[(0, 3)], NOW.plus(HOUR_MS), CONTEXT).await.unwrap();
    store.frame(&mut sink, USE, (1, 0), &again(50..100));
    sink.commit(&[(1, 1)], NOW.plus(HOUR_MS), CONTEXT).await.unwrap();
    sink
}

/// Whole rows of `use`, and the contributor of each, in the order of the places in their frames.
async fn whole(store: &Store) -> Vec<(Row, [u8; 16], String)> {
    let table = store.table("events/use").await;
    let mut rows = Vec::new();
    for file in table.files() {
        let day = file.day.clone().unwrap();
        for batch in table.read(&file.path, None).unwrap() {
            let batch = batch.unwrap();
            let own = batch.column_by_name("contributor").unwrap().as_binary::<i32>();
            for (index, row) in decode(&batch, &day).into_iter().enumerate() {
                let text = arrow::util::pretty::pretty_format_batches(&[batch.slice(index, 1)]);
                rows.push((row, own.value(index).try_into().unwrap(), text.unwrap().to_string()));
            }
        }
    }
    rows.sort();
    rows
}

/// The contributors of some rows of the first frame.
fn contributors(rows: &[(Row, [u8; 16], String)], numbers: &[u32]) -> HashSet<[u8; 16]> {
    let chosen = rows
        .iter()
        .filter(|(row, ..)| (row.partition, row.position) == (0, 0) && numbers.contains(&row.row));
    chosen.map(|(_, own, _)| *own).collect()
}

/// Whether any file below the folder holds one of the pseudonyms: as bytes, and decoded.
fn found(folder: &Path, gone: &HashSet<[u8; 16]>) -> bool {
    files_below(folder).iter().any(|path| {
        let bytes = std::fs::read(path).unwrap();
        let raw = bytes.windows(16).any(|part| gone.contains(part));
        let decoded = path.extension().is_some_and(|kind| kind == "parquet")
            && read(path, None).any(|batch| {
                let batch = batch.unwrap();
                batch.columns().iter().any(|column| {
                    let column = column.as_binary_opt::<i32>();
                    let mut values = column.into_iter().flatten().flatten();
                    values.any(|value| {
                        value.try_into().is_ok_and(|value: [u8; 16]| gone.contains(&value))
                    })
                })
            });
        raw || decoded
    })
}

/// Whether the table's log, checkpoints decoded, names one of the files.
fn named(folder: &Path, names: &[String]) -> bool {
    files_below(&folder.join("_delta_log")).iter().any(|path| {
        let text = match path.extension().is_some_and(|kind| kind == "parquet") {
            true => read(path, None)
                .map(|batch| {
                    arrow::util::pretty::pretty_format_batches(&[batch.unwrap()])
                        .unwrap()
                        .to_string()
                })
                .collect::<String>(),
            false => String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned(),
        };
        names.iter().any(|name| text.contains(name.as_str()))
    })
}

fn names(store: &Store) -> Vec<String> {
    let files = data_files(&store.root().join("events/use"));
    files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

async fn an_erased_contributor_is_in_no_file_and_everybody_else_is(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let before = whole(&store).await;
    let gone = contributors(&before, &[3, 7, 60]);
    assert_eq!(gone.len(), 3);
    let old = names(&store);
    assert!(found(&store.root(), &gone) && named(&store.root().join("events/use"), &old));

    let now = NOW.plus(HOUR_MS);
    let erased = sink.erase(USE, &gone, now).await.unwrap();
    assert_eq!(erased, crate::Erased { rows: 6, files: 3 });
    assert!(!found(&store.root(), &gone), "no file holds a pseudonym");
    assert!(!named(&store.root().join("events/use"), &old), "the log names none of the old files");
    assert!(names(&store).iter().all(|name| !old.contains(name)));
    let orders = |names: &[String]| names.iter().filter(|name| name.starts_with("mixed")).count();
    assert_eq!(orders(&old), orders(&names(&store)), "mixed files stay mixed, fresh ones fresh");
    let kept = before.into_iter().filter(|(_, own, _)| !gone.contains(own)).collect::<Vec<_>>();
    assert_eq!(whole(&store).await, kept);
    assert_eq!(store.rows("view").await.len(), 10);

    let outcomes = store.outcomes().await;
    assert_eq!((outcomes[&STORED], outcomes[&ERASED]), (210, 6));
    let version = store.table("events/use").await.version();
    assert_eq!(sink.erase(USE, &gone, now).await.unwrap(), crate::Erased::default());
    assert_eq!(store.table("events/use").await.version(), version, "nothing was left to do");
    assert_eq!(store.outcomes().await, outcomes);

    // Others are known to the index still, the erased no more: gate 1 keeps those out.
    let again = store.frame(&mut sink, USE, (0, 3), &events(0..100));
    assert_eq!((again.stored, again.duplicate), (3, 97));
}

async fn whole_files_go_and_the_table_may_be_empty(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let everybody = whole(&store).await.iter().map(|(_, own, _)| *own).collect::<HashSet<_>>();
    assert_eq!(sink.erase(USE, &everybody, NOW).await.unwrap().rows, 200);
    assert!(data_files(&store.root().join("events/use")).is_empty());
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!((sink.next(0), sink.next(1)), (3, 1), "positions stand");
    sink.maintain(NOW.plus(3 * HOUR_MS)).await.unwrap();
    assert_eq!(store.outcomes().await[&ERASED], 200);
}

#[tokio::test]
async fn what_waits_for_a_commit_is_refused() {
    let store = Store::new();
    let mut sink = filled(&store).await;
    let gone = contributors(&whole(&store).await, &[3]);
    store.frame(&mut sink, USE, (1, 1), &events(200..201));
    let refused = sink.erase(USE, &gone, NOW).await.err().unwrap();
    assert!(matches!(refused, crate::SinkError::Uncommitted), "{refused}");
    sink.commit(&[(1, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(sink.erase(USE, &gone, NOW).await.unwrap().rows, 2);
    assert!(matches!(
        sink.erase(9, &gone, NOW).await.err().unwrap(),
        crate::SinkError::NoFamily(9)
    ));
}

/// How far an erasure came before the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Written,
    Published,
    Table,
    Ledger,
}

async fn broken(store: &Store, sink: &mut Sink, gone: &HashSet<[u8; 16]>, until: Until) {
    let table = &sink.families[USE].table;
    let rewrite = rewrite::without(table, &crate::erase::Contributors(gone)).unwrap();
    let manifest = sink.noting(Note::Erased, USE, &rewrite.counted, NOW);
    match until {
        Until::Written => assert!(!data_files(&store.staging()).is_empty()),
        Until::Published => {
            table.publish(&rewrite.add).unwrap();
            assert!(names(store).len() > 3);
        }
        Until::Table => {
            sink.commit_rewritten(USE, &rewrite, &manifest, Vec::new(), NOW).await.unwrap();
        }
        Until::Ledger => {
            sink.commit_rewrite(USE, &rewrite, manifest, Vec::new(), NOW).await.unwrap();
        }
    }
}

async fn a_crash_at_any_step_is_made_good(new: New) {
    for until in [Until::Written, Until::Published, Until::Table, Until::Ledger] {
        let store = new();
        let mut sink = filled(&store).await;
        let before = whole(&store).await;
        let gone = contributors(&before, &[3, 7, 60]);
        let old = names(&store);
        broken(&store, &mut sink, &gone, until).await;
        drop(sink);

        let mut sink = store.sink().await;
        let committed = until > Until::Published;
        assert_eq!(found(&store.root(), &gone), !committed, "{until:?}");
        assert_eq!(named(&store.root().join("events/use"), &old), !committed, "{until:?}");
        assert_eq!(names(&store).len(), 3, "nothing is left over after {until:?}");
        assert!(data_files(&store.staging()).is_empty(), "{until:?}");
        let outcomes = store.outcomes().await;
        assert_eq!(outcomes.get(&ERASED), committed.then_some(&6), "{until:?}");

        let rows = sink.erase(USE, &gone, NOW).await.unwrap().rows;
        assert_eq!(rows, if committed { 0 } else { 6 }, "{until:?}");
        assert!(!found(&store.root(), &gone));
        drop(sink);
        drop(store.sink().await);
        assert_eq!(store.outcomes().await[&ERASED], 6, "counted once after {until:?}");
        let kept = before.into_iter().filter(|(_, own, _)| !gone.contains(own));
        assert_eq!(whole(&store).await, kept.collect::<Vec<_>>());
    }
}

/// Maintenance replaces the log; who is erased right after it goes all the same.
async fn an_erasure_may_follow_maintenance_at_once(new: New) {
    let store = new();
    let mut sink = filled(&store).await;
    let gone = contributors(&whole(&store).await, &[3, 7]);
    let now = NOW.plus(3 * HOUR_MS);
    assert!(sink.maintain(now).await.unwrap().compacted_files > 0);
    assert_eq!(sink.erase(USE, &gone, now).await.unwrap().rows, 4);
    sink.maintain(now).await.unwrap();
    assert_eq!(sink.erase(USE, &gone, now).await.unwrap(), crate::Erased::default());
}

#[tokio::test]
async fn files_of_another_program_are_rewritten_by_epoch() {
    let store = Store::new();
    let sink = filled(&store).await;
    let gone = contributors(&whole(&store).await, &[3, 60]);
    drop(sink);
    let url = url::Url::from_directory_path(store.root().join("events/use")).unwrap();
    let table = deltalake::open_table(url).await.unwrap();
    table.optimize().await.unwrap();
    let mut sink = store.sink().await;
    assert_eq!(sink.erase(USE, &gone, NOW).await.unwrap(), crate::Erased { rows: 4, files: 1 });
    assert!(!found(&store.root(), &gone));
    let table = store.table("events/use").await;
    assert!(table.files().iter().all(|file| file.label.is_some()));
    assert_eq!(store.rows("use").await.len(), 196);
}

on_both! {
    an_erased_contributor_is_in_no_file_and_everybody_else_is,
    an_erasure_may_follow_maintenance_at_once,
    whole_files_go_and_the_table_may_be_empty,
    a_crash_at_any_step_is_made_good,
}
