//! What only an object store does: writers of one name at once, answers that do not come, objects that change.

use std::time::{Duration, Instant};

use super::*;
use crate::SinkError;
use crate::table::Change;

const WRITERS: u64 = 4;
const COMMITS: u64 = 5;

fn change(application: &str, next: u64) -> Change<'static> {
    Change { positions: vec![(application.to_owned(), next)], time: NOW, ..Change::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_once_lose_no_commit_and_one_of_two_with_the_same_position_is_refused() {
    let store = Store::in_bucket();
    drop(store.sink().await);
    let before = store.table("events/use").await.version();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut table = store.table("events/use").await;
        writers.push(tokio::spawn(async move {
            for next in 1..=COMMITS {
                table.commit(change(&format!("log/{writer}"), next)).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut first = store.table("events/use").await;
    assert_eq!(first.version(), before + WRITERS * COMMITS);
    for writer in 0..WRITERS {
        assert_eq!(first.position(&format!("log/{writer}")).await.unwrap(), Some(COMMITS));
    }
    let mut second = store.table("events/use").await;
    first.commit(change("log/0", COMMITS + 1)).await.unwrap();
    let refused = second.commit(change("log/0", COMMITS + 1)).await.unwrap_err();
    assert!(matches!(refused, SinkError::Fenced { .. }), "{refused}");
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_and_nothing_is_lost() {
    let proxy = cluster::Proxy::start(cluster::S3::shared().address());
    let mut options = cluster::S3::options_at(proxy.address());
    options.insert("timeout".to_owned(), "2s".to_owned());
    let root = Root::parse(&bucket(), &options).unwrap();
    let store = Store { bucket: Some(root), ..Store::new() };
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..5));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    store.frame(&mut sink, USE, (0, 1), &events(5..9));
    proxy.shut();
    let began = Instant::now();
    let away = sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let text = format!("{:#} {away:?}", Chain(&away));
    assert!(text.contains("no answer") && !text.contains("not-a-secret"), "{text}");
    drop(sink);
    assert!(store.try_sink(LOG).await.is_err());
    proxy.open();

    let mut sink = store.sink().await;
    assert_eq!(sink.next(0), 1);
    store.frame(&mut sink, USE, (0, 1), &events(5..9));
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 9);
    assert_eq!(store.outcomes().await, BTreeMap::from([(Counted::Received, 9), (STORED, 9)]));
}

/// An error with all its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut error = Some(self.0);
        while let Some(cause) = error {
            write!(formatter, "{cause}: ")?;
            error = cause.source();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_changed_object_is_named_and_its_rows_are_not_arranged() {
    let store = Store::in_bucket();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..50));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    let name = format!("events/use/{}", store.table("events/use").await.files()[0].path);
    let mut content = store.place().read(&name).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 4;
    let local = store.dir.path().join("changed");
    std::fs::write(&local, content).unwrap();
    store.place().publish(&local, &name).unwrap();
    let refused = sink.maintain(NOW.plus(HOUR_MS)).await.unwrap_err();
    assert!(matches!(&refused, SinkError::Changed { path } if path.ends_with(&name)), "{refused}");
}
