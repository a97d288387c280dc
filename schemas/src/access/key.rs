//! A secret, and what is remembered of it.

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// A key or token in clear, as its holder needs it. Has no `Debug`, `Display` or `Clone`: it is shown once.
///
/// ```compile_fail
/// fn show(secret: schemas::access::Secret) {
///     println!("{secret:?}");
/// }
/// ```
pub struct Secret(String);

impl Secret {
    /// `prefix` followed by 160 random bits in base 32, lower case.
    pub(super) fn new(prefix: &str, entropy: [u8; 20]) -> Self {
        let letters = data_encoding::BASE32_NOPAD.encode(&entropy).to_ascii_lowercase();
        Self(format!("{prefix}{letters}"))
    }

    /// For what is public anyway: a site's id.
    pub(super) fn public(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The text to hand over.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What a registry keeps of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// How people refer to it: eight hexadecimal digits, no part of the secret.
    pub id: String,
    /// BLAKE3 of the secret, hexadecimal.
    hash: String,
    /// When it was made.
    #[serde(with = "moment")]
    pub created: Millis,
    /// Since when it is worthless.
    #[serde(default, with = "optional_moment", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Millis>,
}

impl KeyRecord {
    pub(super) fn new(secret: &Secret, now: Millis) -> Self {
        let hash = hash(secret.reveal());
        // The id is a hash of the hash: it leads back to neither.
        let id = blake3::derive_key("quorate 2026 access key id", &hash);
        let id = data_encoding::HEXLOWER.encode(&id[..4]);
        Self { id, hash: data_encoding::HEXLOWER.encode(&hash), created: now, revoked: None }
    }

    /// The hash of the secret; none where the file holds something else.
    pub(super) fn digest(&self) -> Option<[u8; 32]> {
        data_encoding::HEXLOWER.decode(self.hash.as_bytes()).ok()?.try_into().ok()
    }
}

/// What a secret is looked up by. 160 random bits need no slow hash.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}

/// Revokes the key `id` or, without one, all of `keys`; tells whether any was alive.
pub(super) fn revoke(keys: &mut [KeyRecord], id: Option<&str>, now: Millis) -> bool {
    let mut any = false;
    for key in keys.iter_mut().filter(|key| id.is_none_or(|id| key.id == id)) {
        if key.revoked.is_none() {
            key.revoked = Some(now);
            any = true;
        }
    }
    any
}

/// [`Millis`] as RFC 3339 text.
pub(super) mod moment {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::time::Millis;

    pub(in crate::access) fn serialize<S: Serializer>(
        time: &Millis,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_str(time)
    }

    pub(in crate::access) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Millis, D::Error> {
        let text = String::deserialize(input)?;
        Millis::parse(&text).ok_or_else(|| D::Error::custom("not an RFC 3339 time"))
    }
}

/// As [`moment`], for what may be absent.
pub(super) mod optional_moment {
    use serde::{Deserializer, Serializer};

    use crate::time::Millis;

    #[expect(clippy::ref_option, reason = "serde hands fields over by reference")]
    pub(in crate::access) fn serialize<S: Serializer>(
        time: &Option<Millis>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => out.collect_str(time),
            None => out.serialize_none(),
        }
    }

    pub(in crate::access) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Millis>, D::Error> {
        super::moment::deserialize(input).map(Some)
    }
}
