//! What a listener with TLS and SCRAM needs, and what its clients do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::end;

/// Who may connect.
pub(crate) const USER: &str = "quorate";
/// Their password, and that of the key store.
pub(crate) const PASSWORD: &str = "not-a-secret";

/// A certificate for 127.0.0.1 that vouches for itself, and its key.
pub(crate) struct Secure {
    store: PathBuf,
    certificate: PathBuf,
}

impl Secure {
    /// Makes both, by the tool that comes with Java.
    pub(crate) fn new(folder: &Path) -> Self {
        let secure =
            Self { store: folder.join("broker.p12"), certificate: folder.join("broker.pem") };
        let new = ["-genkeypair", "-keyalg", "EC", "-validity", "3650", "-dname", "CN=quorate"];
        secure.keytool(&[&new[..], &["-ext", "SAN=IP:127.0.0.1,DNS:localhost"]].concat());
        let certificate = secure.certificate.display().to_string();
        secure.keytool(&["-exportcert", "-rfc", "-file", &certificate]);
        secure
    }

    fn keytool(&self, arguments: &[&str]) {
        let mut keytool = Command::new("keytool");
        keytool.args(arguments).args(["-alias", "broker", "-storetype", "PKCS12", "-keystore"]);
        keytool.arg(&self.store).args(["-storepass", PASSWORD]);
        let done = keytool
            .output()
            .expect("keytool comes with Java, which cargo xtask kafka fetch installs");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "keytool failed:\n{}", end(&said));
    }

    /// Settings of the broker.
    pub(crate) fn properties(&self) -> Vec<(&'static str, String)> {
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        vec![
            ("ssl.keystore.type", "PKCS12".to_owned()),
            ("ssl.keystore.location", self.store.display().to_string()),
            ("ssl.keystore.password", PASSWORD.to_owned()),
            ("sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()),
            ("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config", module.to_owned()),
        ]
    }

    /// Settings of a client, under librdkafka's names.
    pub(crate) fn client(&self) -> BTreeMap<String, String> {
        let settings = [
            ("security.protocol", "SASL_SSL".to_owned()),
            ("ssl.ca.location", self.certificate.display().to_string()),
            ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
            ("sasl.username", USER.to_owned()),
            ("sasl.password", PASSWORD.to_owned()),
        ];
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
