use super::*;
use crate::Written;

#[tokio::test]
async fn a_second_copy_is_found_within_a_frame_a_commit_and_after_it() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let twice = [event(1), event(2), event(1)];
    assert_eq!(store.frame(&mut sink, USE, (0, 0), &twice), Written { stored: 2, duplicate: 1 });
    assert_eq!(store.frame(&mut sink, USE, (0, 1), &[event(2), event(3)]).duplicate, 1);
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(
        store.frame(&mut sink, USE, (0, 2), &events(1..5)),
        Written { stored: 1, duplicate: 3 }
    );
    sink.commit(&[(0, 3)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(
        store.frame(&mut sink, USE, (0, 3), &events(0..5)),
        Written { stored: 1, duplicate: 4 }
    );
    sink.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 5);
    assert_eq!(store.outcomes().await[&DUPLICATE], 9);
}

#[tokio::test]
async fn families_and_days_do_not_mix() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &[event(1)]);
    assert_eq!(store.frame(&mut sink, VIEW, (0, 1), &[event(1)]).stored, 1);
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    // A day's key is another one: what has one id on two days is two events.
    let mut later = event(1);
    later.time = NOW.plus(DAY_MS);
    later.received = later.time;
    assert_eq!(store.frame(&mut sink, USE, (0, 2), &[later]).stored, 1);
}

#[tokio::test]
async fn events_without_a_key_are_all_kept() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let mut keyless = event(1);
    keyless.id = None;
    let frame = [keyless.clone(), keyless];
    assert_eq!(store.frame(&mut sink, USE, (0, 0), &frame).stored, 2);
}

#[tokio::test]
async fn a_counting_device_without_a_clock_is_known_again() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let counted = |received: Millis| Event {
        id: None,
        counter: Some(3),
        clock: ClockSource::Uptime,
        time: received,
        received,
        ..event("x")
    };
    store.frame(&mut sink, USE, (0, 0), &[counted(NOW)]);
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    // Later, and under the next generation of keys.
    for (position, days) in [(1, 1), (2, 27)] {
        let retry = counted(NOW.plus(days * DAY_MS));
        assert_eq!(
            store.frame(&mut sink, USE, (0, position), &[retry]).duplicate,
            1,
            "{days} days"
        );
    }
}

#[tokio::test]
async fn a_copy_that_comes_after_its_family_takes_events_is_known_again() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &[event(1), event(2)]);
    // An acknowledgement lost on Friday: the device says the same on Monday, and is no longer believed.
    let late = |days: i64| {
        let received = NOW.plus(days * DAY_MS);
        let clock = ClockSource::Received;
        Event { clock, said: Some(NOW), time: received, received, ..event(1) }
    };
    assert_eq!(store.frame(&mut sink, USE, (0, 1), &[late(9)]).duplicate, 1, "not committed yet");
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.frame(&mut sink, USE, (0, 2), &[late(9)]).duplicate, 1, "in the index");
    assert_eq!(store.frame(&mut sink, USE, (0, 3), &[late(40)]).stored, 1, "after the window");
}

#[tokio::test]
async fn the_index_can_be_deleted() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let mut sent = events(0..50);
    sent[7].clock = ClockSource::Uptime;
    sent[8].id = None;
    sent[9].time = NOW.plus(-DAY_MS);
    store.frame(&mut sink, USE, (0, 0), &sent);
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    sink.maintain(NOW.plus(3 * HOUR_MS)).await.unwrap();
    store.frame(&mut sink, USE, (0, 1), &events(50..60));
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    std::fs::remove_dir_all(store.config().index).unwrap();
    let mut sink = store.sink().await;
    sent.extend(events(50..60));
    let written = store.frame(&mut sink, USE, (0, 2), &sent);
    assert_eq!(written, Written { stored: 1, duplicate: 59 }, "all but the one without a key");
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_built_anew() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..5));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    std::fs::write(store.config().index.join("version"), b"nonsense").unwrap();
    let mut sink = store.sink().await;
    assert_eq!(store.frame(&mut sink, USE, (0, 1), &events(0..5)).duplicate, 5);
}

#[tokio::test]
async fn an_index_of_other_tables_is_not_believed() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..5));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    std::fs::remove_dir_all(store.root()).unwrap();
    // Tables as far as those were, by way of another index.
    let config = SinkConfig { index: store.dir.path().join("other"), ..store.config() };
    let mut sink = sole(config, &store.package, LOG).await.unwrap();
    store.frame(&mut sink, USE, (0, 0), &events(5..9));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    let written = store.frame(&mut sink, USE, (0, 1), &events(0..9));
    assert_eq!(written, Written { stored: 5, duplicate: 4 });
}

#[tokio::test]
async fn another_window_builds_the_index_anew() {
    let mut store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..5));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    for days in [56, 28] {
        store.declare_package(package_of(FIELDS, 28, days, true));
        let sink = store.sink().await;
        assert_eq!(sink.index.places(USE).len(), 5, "{days} days");
    }
}

#[tokio::test]
async fn an_index_behind_its_table_catches_up() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..5));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let (index, before) = (store.config().index, store.dir.path().join("before"));
    copy(&index, &before);
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 1), &events(5..9));
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    std::fs::remove_dir_all(&index).unwrap();
    copy(&before, &index);
    let mut sink = store.sink().await;
    assert_eq!(store.frame(&mut sink, USE, (0, 2), &events(0..9)).duplicate, 9);
}

fn copy(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(file, target).unwrap();
    }
}

#[tokio::test]
async fn the_same_position_again_is_no_duplicate_of_itself() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 4), &events(0..5));
    sink.commit(&[(0, 5)], NOW, CONTEXT).await.unwrap();
    let origin = |position| Origin { partition: 0, position, import: false };
    let again = store.batch(USE, &origin(4), &events(0..5));
    let other = store.batch(USE, &origin(3), &events(0..5));
    for (batch, position, expected) in [(&again, 4, false), (&other, 3, true)] {
        for (row, key) in batch.keys().iter().enumerate() {
            let row = u32::try_from(row).unwrap();
            let place = crate::dedupe::Place { partition: 0, position, row };
            let found = sink.index.is_duplicate(USE, &key.unwrap(), place).unwrap();
            assert_eq!(found, expected, "at {place:?}");
            sink.index.forget_pending();
        }
    }
    // Through the front door the frame does not even come that far.
    assert_eq!(store.frame(&mut sink, USE, (0, 4), &events(0..5)), Written::default());
    sink.commit(&[(0, 5)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.outcomes().await[&Counted::Received], 5);
}

#[tokio::test]
async fn keys_go_when_their_window_is_over() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let mut uptime = event("up");
    uptime.clock = ClockSource::Uptime;
    store.frame(&mut sink, VIEW, (0, 0), &[event(1), uptime.clone()]);
    store.frame(&mut sink, USE, (0, 1), &[event(1)]);
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    // `view` looks back two days; two windows at most.
    assert_eq!(sink.maintain(NOW.plus(2 * DAY_MS)).await.unwrap().expired_keys, 0);
    assert_eq!(store.frame(&mut sink, VIEW, (0, 2), &[event(1), uptime]).duplicate, 2);
    sink.commit(&[(0, 3)], NOW, CONTEXT).await.unwrap();
    let expired = sink.maintain(NOW.plus(5 * DAY_MS)).await.unwrap().expired_keys;
    assert_eq!(expired, 2);
    assert_eq!(store.frame(&mut sink, USE, (0, 3), &[event(1)]).duplicate, 1, "28 days here");
}
