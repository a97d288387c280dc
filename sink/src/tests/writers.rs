//! Several sinks on the same tables, each with an index of its own, as several processes would have.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use super::*;
use crate::SinkError;
use crate::shared::MAINTAINER;

mod takeover;

fn streams() -> [Stream; 2] {
    [Stream::log(LOG, 4), Stream { id: "orders".to_owned(), first: 1024, partitions: 2 }]
}

impl Store {
    fn config_of(&self, worker: &str) -> SinkConfig {
        let at = |name: &str| self.dir.path().join(format!("{worker}-{name}"));
        SinkConfig { index: at("index"), staging: at("staging"), ..self.config() }
    }

    async fn try_worker(&self, worker: &str, own: &Own) -> Result<Sink, SinkError> {
        Sink::open(self.config_of(worker), Arc::clone(&self.package), &streams(), own).await
    }

    /// A worker that owns some partitions; the one that owns the lowest maintains.
    async fn worker(&self, worker: &str, own: &[u16]) -> Sink {
        let own = Own::shared(own.iter().copied(), own.contains(&0));
        self.try_worker(worker, &own).await.unwrap()
    }

    /// Rows of both families, in order of their places.
    async fn places(&self) -> Vec<(u16, u64, u32)> {
        let mut rows = self.rows("use").await;
        rows.extend(self.rows("view").await);
        let mut places =
            rows.iter().map(|row| (row.partition, row.position, row.row)).collect::<Vec<_>>();
        places.sort_unstable();
        places
    }

    /// Makes files look as if they were written before `now`, by that much.
    fn age(&self, files: &[PathBuf], now: Millis, by_ms: i64) {
        let millis = u64::try_from(now.0 - by_ms).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        for file in files {
            std::fs::File::options().append(true).open(file).unwrap().set_modified(time).unwrap();
        }
    }

    fn log_of(&self, table: &str) -> Vec<PathBuf> {
        files_below(&self.root().join(table).join("_delta_log"))
    }
}

fn stored(store: &BTreeMap<Counted, u64>) -> (u64, u64, u64) {
    let count = |counted| store.get(&counted).copied().unwrap_or(0);
    (count(Counted::Received), count(STORED), count(DUPLICATE))
}

#[tokio::test]
async fn writers_of_other_partitions_commit_at_the_same_time() {
    let store = Store::new();
    let mut one = store.worker("one", &[0, 1]).await;
    let mut two = store.worker("two", &[2, 1024]).await;
    for round in 0..3_u64 {
        let ids = u32::try_from(round).unwrap() * 100;
        store.frame(&mut one, USE, (0, round), &events(ids..ids + 5));
        store.frame(&mut one, VIEW, (1, round), &events(ids..ids + 5));
        store.frame(&mut two, USE, (2, round), &events(ids..ids + 7));
        store.frame(&mut two, USE, (1024, round), &events(ids + 50..ids + 53));
        let next = round + 1;
        let (first, second) = ([(0, next), (1, next)], [(2, next), (1024, next)]);
        let (first, second) =
            tokio::join!(one.commit(&first, NOW, CONTEXT), two.commit(&second, NOW, CONTEXT));
        assert_eq!((first.unwrap().rows, second.unwrap().rows), (10, 10));
    }
    assert_eq!(store.places().await.len(), 60);
    assert_eq!(stored(&store.outcomes().await), (60, 60, 0));
    for sink in [&mut one, &mut two] {
        let progress = sink.progress().await.unwrap();
        assert_eq!(
            progress,
            BTreeMap::from([(0, 3), (1, 3), (2, 3), (3, 0), (1024, 3), (1025, 0)])
        );
        assert_eq!(sink.outcomes(), store.books(&store.root()).await);
    }
}

#[tokio::test]
async fn a_writer_keeps_to_its_own_partitions() {
    let store = Store::new();
    let mut sink = store.worker("one", &[1]).await;
    let origin = Origin { partition: 2, position: 0, import: false };
    let refused = sink.write(store.batch(USE, &origin, &events(0..1)), &origin).unwrap_err();
    assert!(matches!(refused, SinkError::NotOwn { partition: 2 }), "{refused}");
    let refused = sink.commit(&[(2, 1)], NOW, CONTEXT).await.unwrap_err();
    assert!(matches!(refused, SinkError::NotOwn { partition: 2 }), "{refused}");
    sink.count(None, &origin, &Tally::default(), 1, 0);
    let refused = sink.commit(&[(1, 1)], NOW, CONTEXT).await.unwrap_err();
    assert!(matches!(refused, SinkError::NotOwn { partition: 2 }), "{refused}");

    let mut other = store.worker("other", &[3]).await;
    let refused = other.erase(USE, &Default::default(), NOW).await.unwrap_err();
    assert!(matches!(refused, SinkError::NotMaintainer), "{refused}");
    let unknown = store.try_worker("other2", &Own::shared([9], false)).await.err().unwrap();
    assert!(matches!(unknown, SinkError::NotOwn { partition: 9 }), "{unknown}");
}

#[tokio::test]
async fn another_stream_in_the_place_of_one_is_refused() {
    let store = Store::new();
    let mut sink = store.worker("one", &[0, 1024]).await;
    sink.commit(&[(0, 1), (1024, 3)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let own = Own::shared([1024], false);
    let open = async |log: &str, orders: &str| {
        let mut streams = streams();
        (streams[0].id, streams[1].id) = (log.to_owned(), orders.to_owned());
        let config = store.config_of("one");
        Sink::open(config, Arc::clone(&store.package), &streams, &own)
            .await
            .map(|sink| sink.next(1024))
    };
    assert_eq!(open(LOG, "orders").await.unwrap(), 3);
    let refused = open(LOG, "orders again").await.unwrap_err();
    assert!(matches!(&refused, SinkError::AnotherStream { first: 1024, .. }), "{refused}");
    let refused = open("22222222-2222-4222-8222-222222222222", "orders").await.unwrap_err();
    assert!(matches!(&refused, SinkError::AnotherLog { .. }), "{refused}");
}

#[tokio::test]
async fn sources_get_a_number_once() {
    let store = Store::new();
    let (root, staging) = (storage::Root::folder(&store.root()), store.staging());
    let slot = |name: &'static str| crate::slot(&root, &staging, name);
    let names = ["a", "b", "a", "c"];
    let asked = tokio::join!(slot(names[0]), slot(names[1]), slot(names[2]), slot(names[3]));
    let slots = [asked.0.unwrap(), asked.1.unwrap(), asked.2.unwrap(), asked.3.unwrap()];
    assert_eq!(slots[0], slots[2]);
    let distinct = slots.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(distinct, BTreeSet::from([0, 1, 2]));
    // While the tables are in use, and after.
    let mut sink = store.worker("one", &[0]).await;
    for (name, known) in names.into_iter().zip(slots) {
        assert_eq!(slot(name).await.unwrap(), known);
    }
    assert_eq!(slot("d").await.unwrap(), 3);
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
}

#[tokio::test]
async fn tables_are_made_and_widened_by_one_of_many() {
    let mut store = Store::new();
    let (one, two) = tokio::join!(store.worker("one", &[0]), store.worker("two", &[1]));
    let (mut one, two) = (one, two);
    drop(two);
    store.frame(&mut one, USE, (0, 0), &events(0..3));
    let added = r#"version = { type = "version", is = "usage", about = "software version" }"#;
    let before = Arc::clone(&store.package);
    store.declare(&format!("{FIELDS}\n{added}"));
    let (two, three) = tokio::join!(store.worker("two", &[1]), store.worker("three", &[2]));
    let (mut two, mut three) = (two, three);
    store.frame(&mut two, USE, (1, 0), &events(3..5));
    store.frame(&mut three, USE, (2, 0), &events(5..6));
    two.commit(&[(1, 1)], NOW, CONTEXT).await.unwrap();
    three.commit(&[(2, 1)], NOW, CONTEXT).await.unwrap();
    // It still has the package of before, and saw none of this.
    one.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    assert_eq!(before.families.len(), store.package.families.len());
    assert_eq!(store.rows("use").await.len(), 6);
    assert!(store.table("events/use").await.schema().unwrap().field_with_name("version").is_ok());
    assert_eq!(stored(&store.outcomes().await), (6, 6, 0));
}

#[tokio::test]
async fn rows_are_arranged_and_removed_while_others_append() {
    let store = Store::new();
    let mut keeper = store.worker("keeper", &[0]).await;
    let mut other = store.worker("other", &[1]).await;
    let mut old = events(0..4);
    for event in &mut old {
        event.received = NOW.plus(-DAY_MS);
    }
    store.frame(&mut keeper, VIEW, (0, 0), &old);
    store.frame(&mut keeper, USE, (0, 1), &events(0..4));
    keeper.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    for round in 0..3_u64 {
        let ids = u32::try_from(round).unwrap() * 10 + 100;
        store.frame(&mut other, USE, (1, round), &events(ids..ids + 2));
        store.frame(&mut other, VIEW, (1, round), &events(ids..ids + 2));
        if round == 1 {
            // Between a version that the other saw and its next commit: files that it read of are gone.
            let end = Millis::of_day(NOW.day()).plus(2 * DAY_MS + 1);
            let done = keeper.maintain(end).await.unwrap();
            assert_eq!((done.removed_rows, done.compacted_files > 0), (4, true));
        }
        other.commit(&[(1, round + 1)], NOW, CONTEXT).await.unwrap();
    }
    assert_eq!((store.rows("use").await.len(), store.rows("view").await.len()), (10, 6));
    assert_eq!(stored(&store.outcomes().await), (20, 20, 0));
    // And the other way round: the maintainer knows of none of these commits.
    let done = keeper.maintain(NOW.plus(2 * DAY_MS)).await.unwrap();
    assert!(done.compacted_files > 0);
    assert_eq!((store.rows("use").await.len(), store.rows("view").await.len()), (10, 6));
    let rows = store.rows("use").await.into_iter().collect::<BTreeSet<_>>();
    assert_eq!(rows.len(), 10, "each once");
}

#[tokio::test]
async fn a_maintainer_that_was_replaced_is_refused() {
    let store = Store::new();
    let mut old = store.worker("old", &[0]).await;
    store.frame(&mut old, USE, (0, 0), &events(0..3));
    old.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    store.frame(&mut old, USE, (0, 1), &events(3..6));
    old.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    // Of other partitions, so that nothing but the office is in question.
    let own = Own { partitions: BTreeSet::from([1]), maintainer: true, sole: false };
    let mut new = store.try_worker("new", &own).await.unwrap();
    assert_eq!(store.table("events/use").await.position(MAINTAINER).await.unwrap(), Some(1));
    let done = new.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    assert_eq!(done.compacted_files, 2);
    let refused = old.maintain(NOW.plus(HOUR_MS)).await.unwrap_err();
    assert!(matches!(refused, SinkError::Fenced { .. }), "{refused}");
    assert_eq!(store.rows("use").await.len(), 6);
    // Delta itself would let two commits pass that arrange the same files: each as fast as the other.
    let mut new = {
        drop(new);
        store.try_worker("new", &own).await.unwrap()
    };
    store.frame(&mut new, USE, (1, 0), &events(6..9));
    new.commit(&[(1, 1)], NOW.plus(HOUR_MS), CONTEXT).await.unwrap();
    let newest = Own { partitions: BTreeSet::from([2]), maintainer: true, sole: false };
    let mut newest = store.try_worker("newest", &newest).await.unwrap();
    let (first, second) =
        tokio::join!(new.maintain(NOW.plus(3 * HOUR_MS)), newest.maintain(NOW.plus(3 * HOUR_MS)));
    assert!(matches!(first, Err(SinkError::Fenced { .. })), "{first:?}");
    second.unwrap();
    assert_eq!(store.rows("use").await.len(), 9);
}

#[tokio::test]
async fn entries_stay_in_the_log_until_the_ledger_has_them() {
    let store = Store::new();
    let mut keeper = store.worker("keeper", &[0]).await;
    let mut other = store.worker("other", &[1]).await;
    store.frame(&mut other, USE, (1, 0), &events(0..3));
    other.commit(&[(1, 1)], NOW, CONTEXT).await.unwrap();
    store.frame(&mut other, USE, (1, 1), &events(3..7));
    other.commit_rows(&[(1, 2)], NOW, CONTEXT).await.unwrap();
    drop(other);
    let now = NOW.plus(3 * HOUR_MS);
    for round in 0..3_u64 {
        let ids = u32::try_from(round).unwrap() * 10 + 100;
        store.frame(&mut keeper, USE, (0, round), &events(ids..ids + 2));
        keeper.commit(&[(0, round + 1)], NOW, CONTEXT).await.unwrap();
        for table in ["events/use", "ledger/outcomes"] {
            store.age(&store.log_of(table), now, 2 * HOUR_MS);
        }
        keeper.maintain(now).await.unwrap();
    }
    assert_eq!(stored(&store.outcomes().await).1, 9, "what broke off is not counted yet");
    let mut other = store.worker("other", &[1]).await;
    assert_eq!((other.next(1), other.boundaries(1)), (1, BTreeSet::from([2])));
    assert_eq!(stored(&store.outcomes().await).1, 13);
    assert_eq!(store.frame(&mut other, USE, (1, 1), &events(3..7)).stored, 0);
    other.commit(&[(1, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(stored(&store.outcomes().await), (13, 13, 0));

    // Now they may go, an hour after they came up.
    let entries = |kind: &str| {
        let log = store.log_of("events/use").into_iter();
        log.filter(|file| file.extension().is_some_and(|found| found == kind)).count()
    };
    let before = entries("json");
    for round in 3..6_u64 {
        let ids = u32::try_from(round).unwrap() * 10 + 100;
        store.frame(&mut keeper, USE, (0, round), &events(ids..ids + 2));
        keeper.commit(&[(0, round + 1)], NOW, CONTEXT).await.unwrap();
        let is_entry = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "json");
        let young = store.log_of("events/use").into_iter().rfind(is_entry).unwrap();
        store.age(&store.log_of("events/use"), now, 2 * HOUR_MS);
        store.age(std::slice::from_ref(&young), now, HOUR_MS / 2);
        keeper.maintain(now).await.unwrap();
        assert!(young.exists(), "others may be about to ask for it");
    }
    assert!(entries("json") < before + 6, "{} after {before}", entries("json"));
    assert_eq!(store.rows("use").await.len(), 19);
}

#[tokio::test]
async fn files_that_others_are_about_to_name_are_not_swept_away() {
    let store = Store::new();
    let mut keeper = store.worker("keeper", &[0]).await;
    let mut other = store.worker("other", &[1]).await;
    store.frame(&mut keeper, USE, (0, 0), &events(0..3));
    keeper.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    store.frame(&mut other, VIEW, (1, 0), &events(0..3));
    let files = other.writers.finish().unwrap();
    other.families[VIEW].table.publish(&files[VIEW]).unwrap();
    let published = data_files(&store.root().join("events/view"));
    assert_eq!(published.len(), 1);
    let now = NOW.plus(HOUR_MS);
    store.age(&published, now, DAY_MS - 1);
    let done = keeper.maintain(now).await.unwrap();
    assert_eq!((done.compacted_files, done.deleted_files), (1, 1), "what it replaced goes at once");
    assert_eq!(data_files(&store.root().join("events/view")), published);
    // A day later nobody is: that was a crash.
    store.age(&published, now, DAY_MS + 1);
    let done = keeper.maintain(now).await.unwrap();
    assert_eq!((done.compacted_files, done.deleted_files), (0, 1));
    assert!(data_files(&store.root().join("events/view")).is_empty());
    assert_eq!(store.rows("use").await.len(), 3);
}

#[tokio::test]
async fn a_person_is_erased_while_others_write() {
    let store = Store::new();
    let mut keeper = store.worker("keeper", &[0]).await;
    let mut other = store.worker("other", &[1]).await;
    store.frame(&mut other, USE, (1, 0), &events(0..6));
    other.commit(&[(1, 1)], NOW, CONTEXT).await.unwrap();
    store.frame(&mut other, USE, (1, 1), &events(10..13));
    keeper.progress().await.unwrap();
    keeper.maintain(NOW).await.unwrap();
    let everybody = keeper.contributors(USE, &|_| true).unwrap();
    let one = *everybody.keys().next().unwrap();
    let erased = keeper.erase(USE, &[one].into_iter().collect(), NOW).await.unwrap();
    assert_eq!((erased.rows, erased.files), (1, 1));
    other.commit(&[(1, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 8);
    assert_eq!(data_files(&store.root().join("events/use")).len(), 2, "the old file is gone");
    let outcomes = store.outcomes().await;
    assert_eq!(outcomes[&Counted::Note(schemas::Note::Erased)], 1);
    // A maintainer that crashed before the ledger knew is completed by the next one, once.
    drop(keeper);
    for _ in 0..2 {
        drop(store.worker("keeper", &[0]).await);
    }
    assert_eq!(store.outcomes().await, outcomes);
}
