//! Roots in a real S3 API.

#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

use std::net::TcpListener;
use std::time::{Duration, Instant};

use cluster::S3;
use storage::{Root, RootError};

#[tokio::test]
async fn a_bucket_that_keeps_versions_is_refused_and_another_is_left_as_it_was() {
    let s3 = S3::shared();
    let kept = Root::parse(&s3.versioned_bucket("versioned"), &s3.options()).unwrap();
    let refused = kept.join("events").probe().await.unwrap_err();
    assert!(matches!(&refused, RootError::Versioned { url } if url == "s3://versioned/events"));
    assert!(refused.to_string().contains("without versioning"), "{refused}");

    let root = Root::parse(&s3.bucket("plain"), &s3.options()).unwrap().join("events");
    root.probe().await.unwrap();
    assert!(root.files("").unwrap().is_empty());
    let missing = Root::parse("s3://no-such-bucket", &s3.options()).unwrap();
    let error = missing.probe().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("NoSuchBucket") && !text.contains("not-a-secret"), "{text}");
}

#[tokio::test]
async fn files_go_and_come_back_in_parts() {
    let s3 = S3::shared();
    let root = Root::parse(&s3.bucket("files"), &s3.options()).unwrap().join("some/place");
    let dir = tempfile::tempdir().unwrap();
    let content = (0..20_000_000_u32).map(|byte| byte.to_le_bytes()[1]).collect::<Vec<_>>();
    let local = ["a", "b", "c", "d", "e", "f"].map(|name| dir.path().join(name));
    let names = local.each_ref().map(|file| {
        std::fs::write(file, &content).unwrap();
        format!("day=2026-01-01/{}", file.file_name().unwrap().to_str().unwrap())
    });
    let named = local.iter().zip(&names).map(|(file, name)| (file.as_path(), name.as_str()));
    root.publish_all(&named.collect::<Vec<_>>()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let mut found = root.list("").await.unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found.iter().map(|found| &found.name).collect::<Vec<_>>(), names.each_ref());
    assert_eq!(root.list_behind("day=2026-01-01", "d").await.unwrap().len(), 2);
    assert_eq!(root.folders("").unwrap(), ["day=2026-01-01"]);
    let mut read = Vec::new();
    let mut file = root.open(&names[0], dir.path()).unwrap();
    std::io::Read::read_to_end(&mut file, &mut read).unwrap();
    assert!(read == content);
    root.delete(&names[0]).unwrap();
    assert!(!root.exists(&names[0]).unwrap() && root.exists(&names[1]).unwrap());
}

#[test]
fn a_store_that_never_answers_is_an_error_within_half_a_minute() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = S3::options_at(&silent.local_addr().unwrap().to_string());
    let root = Root::parse("s3://bucket/x", &options).unwrap();
    let began = Instant::now();
    let error = root.read("y").unwrap_err();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(32), "{took:?}");
    assert!(error.to_string().contains("no answer"), "{error}");
}
