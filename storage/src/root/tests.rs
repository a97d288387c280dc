use std::collections::BTreeMap;
use std::io::Read;

use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, PutMultipartOptions,
    PutOptions, PutResult,
};

use super::network::CHUNK_BYTES;
use super::*;

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A folder and an object store, which have to do the same.
fn both() -> (tempfile::TempDir, [Root; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Root::folder(&dir.path().join("root"));
    (dir, [folder, Root::of(InMemory::new(), "some/root")])
}

#[test]
fn a_folder_and_a_prefix_do_the_same() {
    let (dir, roots) = both();
    let staging = dir.path().join("staging");
    std::fs::create_dir(&staging).unwrap();
    for root in roots {
        assert!(!root.exists("a/b.txt").unwrap() && root.files("a").unwrap().is_empty());
        assert_eq!(root.folders("").unwrap(), Vec::<String>::new());
        for (name, content) in [("a/b.txt", "first"), ("a/day=2026-01-01/c.txt", ""), ("ab/d", "x")]
        {
            let local = staging.join("local");
            std::fs::write(&local, content).unwrap();
            root.publish(&local, name).unwrap();
            assert!(!local.exists() && root.exists(name).unwrap(), "{root}: {name}");
            assert_eq!(root.read(name).unwrap(), content.as_bytes());
            let mut text = String::new();
            root.open(name, &staging).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, content, "{root}: {name}");
        }
        let mut names = root.files("a").unwrap();
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let now = dir.path().metadata().unwrap().modified().unwrap();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let now = i64::try_from(now).unwrap();
        assert!(names.iter().all(|found| (now - found.modified_ms).abs() < 600_000));
        let names = names.into_iter().map(|found| found.name).collect::<Vec<_>>();
        assert_eq!(names, ["a/b.txt", "a/day=2026-01-01/c.txt"], "{root}");
        let below = root.join("a").files("").unwrap();
        assert!(below.iter().any(|found| found.name == "day=2026-01-01/c.txt"), "{root}");
        let mut folders = root.folders("").unwrap();
        folders.sort();
        assert_eq!(folders, ["a", "ab"], "{root}");
        root.delete("a/day=2026-01-01/c.txt").unwrap();
        root.remove_empty_folders("a");
        assert_eq!(root.folders("a").unwrap(), Vec::<String>::new());
        let missing = root.read("a/none").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{root}");
        assert_eq!(root.open("a/none", &staging).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(&staging).unwrap().count(), 0, "{root}");
    }
}

#[test]
fn a_large_object_comes_in_parts() {
    let (dir, roots) = both();
    let content = (0..CHUNK_BYTES * 2 + 5).map(|byte| byte.to_le_bytes()[0]).collect::<Vec<_>>();
    for root in roots {
        let local = dir.path().join("local");
        std::fs::write(&local, &content).unwrap();
        root.publish(&local, "large").unwrap();
        let mut read = Vec::new();
        root.open("large", dir.path()).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == content, "{root}");
    }
}

#[tokio::test]
async fn waiting_does_not_need_the_runtime_of_the_caller() {
    let (_dir, [_, root]) = both();
    assert!(!root.exists("none").unwrap());
}

#[tokio::test]
async fn a_changed_bit_is_found_in_both() {
    let (dir, roots) = both();
    for root in roots {
        let mut checked = crate::Checked::new(Vec::new());
        checked.write_all(b"some rows").unwrap();
        let (content, name) = checked.finish("a.parquet");
        for (content, whole) in [(&content[..], true), (&b"some roWs"[..], false)] {
            let local = dir.path().join("local");
            std::fs::write(&local, content).unwrap();
            root.publish(&local, &name).unwrap();
            assert_eq!(root.is_whole(&name).await.unwrap(), whole, "{root}");
        }
    }
}

#[test]
fn what_cannot_be_a_root_is_refused_with_what_could() {
    let none = options(&[]);
    for path in ["data", "/var/lib/quorate", "./x", "file:///var/lib/quorate"] {
        let root = Root::parse(path, &none).unwrap();
        assert_eq!(root.as_folder().unwrap().is_absolute(), path.contains("/var"), "{path}");
    }
    for (url, said) in [
        ("ftp://host/x", "known are s3://, gs://, az:// and file://"),
        ("s3://key:secret@bucket/x", "credentials"),
        ("s3://bucket/x?versions", "behind ?"),
    ] {
        let error = Root::parse(url, &none).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("secret"), "{url}: {error}");
    }
    let error = Root::parse("/data", &options(&[("region", "x")])).unwrap_err().to_string();
    assert!(error.contains("no option region"), "{error}");
}

#[cfg(feature = "s3")]
#[test]
fn options_are_known_and_never_quoted() {
    let s3 = "s3://bucket";
    for (url, name, value, said) in [
        (s3, "secret_acess_key", "hunter2", "no option secret_acess_key; known are access_key_id"),
        (s3, "allow_http", "hunter2", "not of its kind"),
        (s3, "endpoint", "http://hunter2", "allow_http"),
        ("gs://bucket", "access_key_id", "hunter2", "known are service_account"),
    ] {
        let error = Root::parse(url, &options(&[(name, value)])).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
    }
    let given = [("access_key_id", "hunter2"), ("secret_access_key", "hunter2"), ("region", "eu")];
    let root = Root::parse("s3://bucket/some/prefix/", &options(&given)).unwrap();
    assert_eq!(root.join("events").url().unwrap().as_str(), "s3://bucket/some/prefix/events");
    let shown = format!("{root} {root:?}");
    assert!(shown.contains("s3://bucket/some/prefix") && !shown.contains("hunter2"), "{shown}");
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_build_without_object_stores_says_so() {
    let error = Root::parse("s3://bucket", &options(&[])).unwrap_err().to_string();
    assert!(error.contains("feature s3"), "{error}");
}

/// A store that takes whatever comes, as some S3 APIs do that do not know `If-None-Match`.
#[derive(Debug)]
struct Careless(InMemory);

impl std::fmt::Display for Careless {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Careless {
    async fn put_opts(
        &self,
        location: &Key,
        payload: PutPayload,
        _: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.0.put_opts(location, payload, PutOptions::default()).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Key,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Key,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Key>>,
    ) -> BoxStream<'static, object_store::Result<Key>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> object_store::Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Key,
        to: &Key,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_store_that_lets_two_writers_of_a_name_pass_is_refused() {
    Root::of(InMemory::new(), "some").probe().await.unwrap();
    let refused = Root::of(Careless(InMemory::new()), "some").probe().await.unwrap_err();
    assert!(matches!(refused, RootError::Unconditional { .. }), "{refused}");
}
