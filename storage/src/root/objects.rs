//! Connections to object stores.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::SpawnedReqwestConnector;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::RootError;
use super::network::runtime;

/// Time for one request with its answer: enough for 64 MiB at 30 Mbit/s. Options may give more.
const REQUEST: Duration = Duration::from_secs(20);
const CONNECT: Duration = Duration::from_secs(5);
/// No further attempt begins after this time, so that a store that is away is an error within half a minute.
const RETRY: Duration = Duration::from_secs(10);

const S3_OPTIONS: &str = "access_key_id, secret_access_key, session_token, region, endpoint, allow_http, \
     virtual_hosted_style_request, skip_signature, imdsv1_fallback, role_arn, web_identity_token_file, \
     server_side_encryption, sse_kms_key_id, timeout, connect_timeout, proxy_url and the others of object_store";
const GS_OPTIONS: &str = "service_account, service_account_key, application_credentials, base_url, skip_signature, \
     allow_http, timeout, connect_timeout, proxy_url and the others of object_store";
const AZ_OPTIONS: &str = "account_name, access_key, sas_token, client_id, client_secret, tenant_id, endpoint, use_emulator, \
     federated_token_file, allow_http, timeout, connect_timeout, proxy_url and the others of object_store";

macro_rules! built {
    ($builder:ty, $url:expr, $options:expr, $known:expr) => {{
        let mut builder = <$builder>::new()
            .with_client_options(client())
            .with_retry(retry())
            .with_http_connector(connector($url)?)
            .with_url($url.to_string());
        for (name, value) in $options {
            builder = builder.with_config(key(name, $url, $known)?, value);
        }
        let built = builder.build().map_err(|error| refused($url, $options, &error.to_string()))?;
        Ok(Arc::new(built))
    }};
}

/// The store that a URL of ours names.
pub(super) fn build(
    url: &Url,
    options: &BTreeMap<String, String>,
) -> Result<Arc<dyn ObjectStore>, RootError> {
    let endpoint = options.iter().find(|(name, _)| name.to_ascii_lowercase().contains("endpoint"));
    let plain = endpoint.is_some_and(|(_, value)| value.starts_with("http://"));
    if plain && !options.keys().any(|name| name.to_ascii_lowercase().ends_with("allow_http")) {
        let what = "the endpoint is without TLS; write allow_http = \"true\" if it may be";
        return Err(RootError::Options { url: url.to_string(), what: what.to_owned() });
    }
    match url.scheme() {
        "s3" => built!(AmazonS3Builder, url, options, S3_OPTIONS),
        "gs" => {
            built!(GoogleCloudStorageBuilder, url, options, GS_OPTIONS)
        }
        _ => built!(MicrosoftAzureBuilder, url, options, AZ_OPTIONS),
    }
}

fn client() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(CONNECT)
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(3), ..Default::default() };
    RetryConfig { backoff, max_retries: 10, retry_timeout: RETRY }
}

fn connector(url: &Url) -> Result<SpawnedReqwestConnector, RootError> {
    let runtime =
        runtime().map_err(|source| RootError::Unavailable { url: url.to_string(), source })?;
    Ok(SpawnedReqwestConnector::new(runtime.handle().clone()))
}

fn key<K: FromStr>(name: &str, url: &Url, known: &'static str) -> Result<K, RootError> {
    name.to_ascii_lowercase().parse().map_err(|_| RootError::Option {
        name: name.to_owned(),
        scheme: url.scheme().to_owned(),
        known,
    })
}

/// Says what the builder says, unless that quotes a value.
fn refused(url: &Url, options: &BTreeMap<String, String>, said: &str) -> RootError {
    let quotes = options.values().any(|value| !value.is_empty() && said.contains(value.as_str()));
    let what = match quotes {
        true => "one of them has a value that is not of its kind".to_owned(),
        false => said.to_owned(),
    };
    RootError::Options { url: url.to_string(), what }
}
