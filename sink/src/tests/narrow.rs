//! Contributors who withdraw a purpose: what goes with it, what stays, and rows that do not name their purposes.

use std::collections::HashSet;

use schemas::Note;

use super::*;
use crate::Narrowed;
use crate::rewrite;

const NARROWED: Counted = Counted::Note(Note::Narrowed);
const POLICY: &str = r#"
controller = "Test"
version    = "2026-01-01"
[purposes.care]
basis  = "consent"
source = "text"
notice = "to care"
[purposes.improve]
basis  = "legitimate interest"
source = "assumed"
notice = "to test"
"#;
const FAMILY: &str = r#"
family = "use"
contributor = { field = "serial", called = "devices" }
epoch = "28 days"
late = "7 days"
dedupe = "28 days"
grain = "1 hour"
purposes = ["improve"]
[fields]
serial   = { type = "string(64)", is = "identifier", transform = "pseudonym", purposes = ["care", "improve"], about = "serial number" }
product  = { type = ["x1", "kathea"], is = "usage", about = "which product" }
duration = { type = "ms", range = [0, 3_600_000], is = "usage", purposes = ["care"], transform = { bucket = 100 }, about = "how long" }
"#;

fn purposes(store: &Store, names: &[&str]) -> PurposeSet {
    let index = |name: &str| store.package.purpose(name).unwrap().0;
    names.iter().fold(PurposeSet::default(), |set, name| set.with(index(name)))
}

fn store(new: New) -> Store {
    store_of(new, POLICY)
}

pub(super) fn store_of(new: New, policy: &str) -> Store {
    let mut store = new();
    let files = [("policy.toml", policy), ("use.toml", FAMILY)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    store.declare_package(Arc::new(Package::from_files(files.into()).unwrap()));
    store
}

/// Serials 0 to 29: a third granted both purposes, a third `care`, a third `improve`.
async fn filled(store: &Store) -> Sink {
    let mut sink = store.sink().await;
    let granted = |id: u32| {
        let names: &[&str] = [&["care", "improve"][..], &["care"], &["improve"]][(id % 3) as usize];
        Event { granted: purposes(store, names), ..event(id) }
    };
    store.frame(&mut sink, USE, (0, 0), &(0..30).map(granted).collect::<Vec<_>>());
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    sink
}

/// Row, contributor, product, duration, purposes.
pub(super) type Seen = (u32, Option<[u8; 16]>, Option<String>, Option<i64>, Option<String>);

pub(super) async fn seen(store: &Store) -> Vec<Seen> {
    let table = store.table("events/use").await;
    let mut rows = Vec::new();
    for file in table.files() {
        for batch in table.read(&file.path, None).unwrap() {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap();
            let own = column("contributor").as_binary::<i32>();
            let (product, named) =
                (column("product").as_string::<i32>(), column("_purposes").as_string::<i32>());
            let duration = column("duration").as_primitive::<Int64Type>();
            for (index, row) in decode(&batch, "").into_iter().enumerate() {
                let text = |column: &arrow::array::StringArray| {
                    column.is_valid(index).then(|| column.value(index).to_owned())
                };
                rows.push((
                    row.row,
                    own.is_valid(index).then(|| own.value(index).try_into().unwrap()),
                    text(product),
                    duration.is_valid(index).then(|| duration.value(index)),
                    text(named),
                ));
            }
        }
    }
    rows.sort();
    rows
}

async fn what_a_purpose_alone_carried_goes_with_it(new: New) {
    let store = store(new);
    let mut sink = filled(&store).await;
    let before = seen(&store).await;
    let text = |row: usize| before[row].4.as_deref();
    assert_eq!([text(0), text(1), text(2)], [Some("care,improve"), Some("care"), Some("improve")]);
    let who = [0, 1, 2, 3].map(|row: usize| before[row].1.unwrap());
    let who = who.into_iter().collect::<HashSet<_>>();
    let done = sink.narrow(USE, &who, purposes(&store, &["care"]), NOW).await.unwrap();
    assert_eq!(done, Narrowed { rows: 3, files: 1 });
    let after = seen(&store).await;
    for row in 0..30 {
        let (number, own, product, duration, _) = before[row].clone();
        let expected = match row {
            // `improve` carries both the contributor and the product still.
            0 | 3 => (number, own, product, None, Some("improve".to_owned())),
            // Nothing is left: the event counts, and is nobody's.
            1 => (number, None, None, None, Some(String::new())),
            _ => (number, own, product, duration, before[row].4.clone()),
        };
        assert_eq!(after[row], expected, "row {row}");
    }
    assert_eq!(store.outcomes().await[&NARROWED], 3);
    let again = sink.narrow(USE, &who, purposes(&store, &["care"]), NOW).await.unwrap();
    assert_eq!(again, Narrowed::default(), "once");
    assert_eq!(seen(&store).await, after);
    // A copy is one still.
    assert_eq!(store.frame(&mut sink, USE, (0, 1), &events(0..30)).duplicate, 30);
}

/// Of rows from before there was the column nobody knows what carries them.
async fn rows_that_do_not_name_their_purposes_lose_all_it_may_have_been(new: New) {
    let store = store(new);
    let mut sink = filled(&store).await;
    forget_purposes(&mut sink).await;
    let before = seen(&store).await;
    assert!(before.iter().all(|row| row.4.is_none()));
    let own = before[0].1.unwrap();
    let who = HashSet::from([own]);
    let done = sink.narrow(USE, &who, purposes(&store, &["care"]), NOW).await.unwrap();
    assert_eq!(done.rows, 1);
    let after = seen(&store).await;
    let product = before[0].2.clone();
    // The serial number may have been there for `care` alone.
    assert_eq!(after[0], (before[0].0, None, product, None, None));
    assert_eq!(after[1..], before[1..]);
    let again = sink.narrow(USE, &who, purposes(&store, &["care"]), NOW).await.unwrap();
    assert_eq!(again, Narrowed::default());
}

/// Takes the names away, as if the rows were older than their column.
pub(super) async fn forget_purposes(sink: &mut Sink) {
    struct Unnamed;
    impl rewrite::Edit for Unnamed {
        fn columns(&self) -> &[&str] {
            &["_purposes"]
        }
        fn may_change(&self, _: &RecordBatch) -> Option<bool> {
            Some(true)
        }
        fn edit(&self, rows: &RecordBatch) -> Option<rewrite::Edited> {
            let schema = rows.schema();
            let columns = schema.fields().iter().zip(rows.columns());
            let columns = columns.map(|(field, column)| match field.name().as_str() {
                "_purposes" => arrow::array::new_null_array(field.data_type(), rows.num_rows()),
                _ => Arc::clone(column),
            });
            let changed = vec![true; rows.num_rows()].into();
            let rows = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).ok()?;
            Some(rewrite::Edited { rows, changed })
        }
    }
    let rewrite = rewrite::edited(&sink.families[USE].table, |_| Some(Unnamed)).unwrap();
    let manifest = sink.noting(Note::Nulled, USE, &rewrite.counted, NOW);
    sink.commit_rewrite(USE, &rewrite, manifest, Vec::new(), NOW).await.unwrap();
}

/// How far it came before the crash.
async fn a_crash_at_any_step_is_made_good(new: New) {
    for until in 0..4 {
        let store = store(new);
        let mut sink = filled(&store).await;
        let before = seen(&store).await;
        let who = HashSet::from([before[0].1.unwrap()]);
        let care = purposes(&store, &["care"]);
        let package = Arc::clone(&store.package);
        let all = crate::narrow::Loss::of_all(&package, &package.families[USE], care);
        let loss = crate::narrow::Loss { of: Some(&who), ..all };
        let rewrite = rewrite::edited(&sink.families[USE].table, |_| Some(loss)).unwrap();
        let manifest = sink.noting(Note::Narrowed, USE, &rewrite.counted, NOW);
        match until {
            0 => {}
            1 => sink.families[USE].table.publish(&rewrite.add).unwrap(),
            2 => {
                let none = Vec::new();
                sink.commit_rewritten(USE, &rewrite, &manifest, none, NOW).await.unwrap();
            }
            _ => {
                sink.commit_rewrite(USE, &rewrite, manifest, Vec::new(), NOW).await.unwrap();
            }
        }
        drop(sink);
        let mut sink = store.sink().await;
        let done = sink.narrow(USE, &who, care, NOW).await.unwrap().rows;
        assert_eq!(done, if until < 2 { 1 } else { 0 }, "{until}");
        assert_eq!(store.outcomes().await[&NARROWED], 1, "counted once, {until}");
        let after = seen(&store).await;
        assert_eq!((after[0].3, after.len()), (None, 30));
        assert_eq!(after[1..], before[1..]);
        assert_eq!(data_files(&store.root().join("events/use")).len(), 1, "nothing is left over");
    }
}

on_both! {
    what_a_purpose_alone_carried_goes_with_it,
    rows_that_do_not_name_their_purposes_lose_all_it_may_have_been,
    a_crash_at_any_step_is_made_good,
}
