//! Statistics in an object store, read by who may read nothing else.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod fixture;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use cluster::S3;
use disclosure::Disclosure;
use fixture::support::at;
use fixture::{NOW, statistics, store};
use query::{Answer, QueryError, Request, Statistics};
use storage::Root;

async fn ask(statistics: &Statistics) -> Result<Answer, QueryError> {
    let request = br#"{"from": "active_devices", "by": ["product"]}"#;
    statistics.answer(&Request::parse(request)?).await
}

fn text(answer: &Answer) -> String {
    pretty_format_batches(std::slice::from_ref(&answer.rows)).unwrap().to_string()
}

/// What the account's own service of users answers.
fn account(s3: &S3, form: &[(&str, &str)]) -> String {
    let scope = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, \
                 SignedHeaders=host, Signature=x";
    let form = [form, &[("Version", "2010-05-08")]].concat();
    let request = ureq::post(s3.endpoint()).header("Authorization", scope);
    request.send_form(form).unwrap().into_body().read_to_string().unwrap()
}

/// Options of a user who may read one bucket; from then on the server asks everybody for credentials.
fn reader(s3: &S3, bucket: &str) -> BTreeMap<String, String> {
    account(s3, &[("Action", "CreateUser"), ("UserName", "reader")]);
    let policy = format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
             "Resource": ["arn:aws:s3:::{bucket}", "arn:aws:s3:::{bucket}/*"]}}]}}"#
    );
    let named = [("UserName", "reader"), ("PolicyName", "read"), ("PolicyDocument", &policy)];
    account(s3, &[&[("Action", "PutUserPolicy")], &named[..]].concat());
    let keys = account(s3, &[("Action", "CreateAccessKey"), ("UserName", "reader")]);
    let part = |name: &str| {
        let (_, rest) = keys.split_once(&format!("<{name}>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let mut options = s3.options();
    options.insert("aws_access_key_id".to_owned(), part("AccessKeyId"));
    options.insert("aws_secret_access_key".to_owned(), part("SecretAccessKey"));
    let switch = ureq::post(format!("{}/moto-api/reset-auth", s3.endpoint()));
    switch.header("Content-Type", "text/plain").send("0").unwrap();
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_are_released_to_a_bucket_and_read_with_credentials_for_it_alone() {
    let store = store().await;
    let s3 = S3::start();
    let [events, released] = ["events", "statistics"].map(|name| s3.bucket(name));
    let all = |url: &str| Root::parse(url, &s3.options()).unwrap();
    let local = Root::folder(&store.root("events"));
    for found in local.files("").unwrap() {
        let file = store.root("events").join(&found.name);
        let copy = store.root("copy");
        std::fs::copy(file, &copy).unwrap();
        all(&events).publish(&copy, &found.name).unwrap();
    }
    let root = all(&released);
    let (tables, ledger) = (root.join("statistics"), root.join("ledger"));
    let disclosure =
        |ledger: &Root| Disclosure::new(Arc::clone(&store.package), all(&events), &tables, ledger);
    let now = at(NOW);
    assert_eq!(disclosure(&ledger).release_closed(now, &|_| now).await.unwrap().len(), 6);
    assert!(disclosure(&ledger).release_closed(now, &|_| now).await.unwrap().is_empty(), "once");
    // A crash before the ledger: lines are made of the rows that are there.
    let again = disclosure(&root.join("other")).release_closed(now, &|_| now).await.unwrap();
    assert_eq!(again.len(), 6);

    let expected = ask(&statistics(&store)).await.unwrap();
    let options = reader(&s3, "statistics");
    let root = Root::parse(&released, &options).unwrap();
    let reading =
        Statistics::new(Arc::clone(&store.package), root.join("statistics"), root.join("ledger"));
    for _ in 0..2 {
        let answer = ask(&reading).await.unwrap();
        assert_eq!(text(&answer), text(&expected));
        assert_eq!(
            (answer.complete_until, answer.hidden_in),
            (expected.complete_until, expected.hidden_in.clone())
        );
    }
    let sql = reading.sql("SELECT count(*) FROM active_devices").await.unwrap();
    assert_eq!(sql.rows.num_rows(), 1);

    // Not one of the rows, and nothing to be written.
    let rows = Root::parse(&events, &options).unwrap();
    let refused = format!("{:?}", rows.list("").await.unwrap_err());
    assert!(
        refused.contains("403") && !refused.contains(&options["aws_secret_access_key"]),
        "{refused}"
    );
    assert!(!refused.contains(&options["aws_access_key_id"]), "{refused}");
    assert!(root.probe().await.is_err(), "may not write");
}
