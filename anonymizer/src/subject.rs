//! Whom a request is about: one contributor of one family, by identifier, in memory alone.

use std::net::IpAddr;

use schemas::Millis;
use schemas::model::ContributorSource;
use schemas::time::epoch_of;
use zeroize::Zeroizing;

use crate::agents::bounded;
use crate::crypto::{length_prefixed, random};
use crate::error::Error;
use crate::gate::Gate;
use crate::keys::{KeyName, KeyState, epoch_end, from_hexadecimal, hexadecimal};
use crate::pseudonym::{Canonical, FieldKey, Hash, write_visit};

/// Names what commitments of receipts are for; part of the format, never to be changed.
const RECEIPT_CONTEXT: &str = "quorate 2026-11 v1 request receipt";
const NONCE_BYTES: usize = 16;

/// How a contributor is named by who asks. Never written anywhere, hence no `Debug`, `Clone` or `Serialize`:
///
/// ```compile_fail,E0277
/// fn show(identifier: anonymizer::Identifier) {
///     println!("{identifier:?}");
/// }
/// ```
pub struct Identifier(Named);

enum Named {
    Text(Zeroizing<String>),
    Visit { site: Zeroizing<String>, address: IpAddr, user_agent: Zeroizing<String> },
}

impl Identifier {
    /// The value of the field that names a family's contributors.
    #[must_use]
    pub fn text(text: String) -> Self {
        Self(Named::Text(Zeroizing::new(text)))
    }

    /// Who is counted by visits: the public id of the site or the name of the source, the address, and the
    /// `User-Agent` header.
    #[must_use]
    pub fn visit(site: String, address: IpAddr, user_agent: String) -> Self {
        let (site, user_agent) = (Zeroizing::new(site), Zeroizing::new(user_agent));
        Self(Named::Visit { site, address, user_agent })
    }
}

/// One contributor of one family. No `Debug`, `Clone` or `Serialize`:
///
/// ```compile_fail,E0277
/// fn show(subject: anonymizer::Subject) {
///     println!("{subject:?}");
/// }
/// ```
pub struct Subject {
    family: usize,
    family_name: String,
    controller: String,
    canonical: Zeroizing<Vec<u8>>,
    spoken: Vec<Zeroizing<String>>,
}

/// The pseudonyms of one contributor, by epoch: only to compare with. No `Debug`, `Clone` or `Serialize`:
///
/// ```compile_fail,E0277
/// fn show(pseudonyms: anonymizer::Pseudonyms) {
///     println!("{pseudonyms:?}");
/// }
/// ```
pub struct Pseudonyms(Zeroizing<Vec<(i32, Hash)>>);

impl Pseudonyms {
    /// Epochs and pseudonyms.
    pub fn iter(&self) -> impl Iterator<Item = (i32, &Hash)> {
        self.0.iter().map(|(epoch, pseudonym)| (*epoch, pseudonym))
    }
}

/// What proves later that a receipt is about an identifier, to who holds both.
pub struct Commitment {
    /// Random, in hexadecimal; on the receipt alone.
    pub nonce: String,
    /// Hash of nonce, controller, family and canonical identifier, in hexadecimal.
    pub commitment: String,
}

impl Subject {
    /// Index of the family.
    #[must_use]
    pub fn family(&self) -> usize {
        self.family
    }

    /// Name of the family.
    #[must_use]
    pub fn family_name(&self) -> &str {
        &self.family_name
    }

    /// The texts it was named by, to look for where none of them may be.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.spoken.iter().map(|text| text.as_str())
    }

    /// Whether both are the same contributor of the same family.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.family, &self.canonical) == (other.family, &other.canonical)
    }

    /// A commitment under a nonce of its own. Who has no nonce cannot try identifiers out on it.
    ///
    /// # Errors
    ///
    /// [`Error::Crypto`] if the system gives no random bytes.
    pub fn commit(&self) -> Result<Commitment, Error> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        Ok(Commitment { nonce: hexadecimal(&nonce), commitment: self.commitment(&nonce) })
    }

    /// Whether a receipt with this nonce and commitment is about this contributor.
    #[must_use]
    pub fn verify(&self, nonce: &str, commitment: &str) -> bool {
        let nonce = from_hexadecimal::<NONCE_BYTES>(nonce);
        nonce.is_some_and(|nonce| self.commitment(&nonce) == commitment)
    }

    fn commitment(&self, nonce: &[u8; NONCE_BYTES]) -> String {
        let mut material = Zeroizing::new(nonce.to_vec());
        length_prefixed(&mut material, self.controller.as_bytes());
        length_prefixed(&mut material, self.family_name.as_bytes());
        material.extend_from_slice(&self.canonical);
        hexadecimal(&blake3::derive_key(RECEIPT_CONTEXT, &material))
    }

    pub(crate) fn canonical(&self) -> &[u8] {
        &self.canonical
    }
}

impl Gate {
    /// The contributor of `family` that `identifier` names, whether or not anything of it was ever received.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownFamily`]; [`Error::Identifier`] if it has no canonical form, or is of the other kind than the
    /// family's contributors.
    pub fn subject(&self, family: &str, identifier: &Identifier) -> Result<Subject, Error> {
        let (index, declared) =
            self.package.family(family).ok_or_else(|| Error::UnknownFamily(family.to_owned()))?;
        let mut canonical = Zeroizing::new(Vec::with_capacity(512));
        let mut spoken = Vec::new();
        match (&identifier.0, declared.contributor.source) {
            (Named::Text(text), ContributorSource::Field(_)) => {
                let form = Canonical::of(text);
                let form =
                    form.ok_or(Error::Identifier("is empty, or of a form that is never stored"))?;
                form.write(&mut canonical);
                spoken.push(Zeroizing::new(text.trim().to_owned()));
            }
            (Named::Visit { site, address, user_agent }, ContributorSource::Visit) => {
                if site.is_empty() {
                    return Err(Error::Identifier("names no site"));
                }
                write_visit(&mut canonical, site, *address, bounded(user_agent));
                spoken.push(Zeroizing::new(address.to_string()));
            }
            (Named::Text(_), ContributorSource::Visit) => {
                return Err(Error::Identifier("must be a site, an address and a user agent"));
            }
            (Named::Visit { .. }, ContributorSource::Field(_)) => {
                return Err(Error::Identifier("must be the text of one field"));
            }
        }
        let family_name = declared.name.clone();
        let controller = self.package.controller.clone();
        Ok(Subject { family: index, family_name, controller, canonical, spoken })
    }

    /// As [`Gate::pseudonyms`], for whoever is entered in a list that many nodes share: the keys of every epoch in which one
    /// may make a pseudonym before it has seen the list are made first.
    ///
    /// # Errors
    ///
    /// What the key ring gives.
    pub fn pseudonyms_ahead(&self, subject: &Subject, now: Millis) -> Result<Pseudonyms, Error> {
        if self.ring.is_shared() {
            let family = self.family(subject.family);
            let first = epoch_of(now.plus(-family.grace_ms()), family.epoch_days) - 1;
            let last = epoch_of(now, family.epoch_days) + 1;
            for epoch in first..=last {
                let is_over = epoch_end(family, epoch).plus(family.grace_ms()) < now;
                if is_over {
                    continue;
                }
                let name = KeyName::Pseudonym { family: family.name.clone(), epoch };
                match self.ring.get_or_create(&name) {
                    Ok(_) | Err(Error::Destroyed(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        self.pseudonyms(subject)
    }

    /// The subject's pseudonym in every epoch of its family whose key is alive. No key is made for it.
    ///
    /// # Errors
    ///
    /// What the key ring gives.
    pub fn pseudonyms(&self, subject: &Subject) -> Result<Pseudonyms, Error> {
        let declared = self.family(subject.family);
        let field = match declared.contributor.source {
            ContributorSource::Field(index) => declared.fields[index].name.as_str(),
            ContributorSource::Visit => "",
        };
        let mut found = Zeroizing::new(Vec::new());
        for entry in self.ring.list()? {
            let KeyName::Pseudonym { family, epoch } = &entry.name else { continue };
            if *family != declared.name || entry.state == KeyState::Destroyed {
                continue;
            }
            let Some(root) = self.ring.alive(&entry.name)? else { continue };
            let controller = &self.package.controller;
            let key = FieldKey::of(&root, controller, &declared.name, field, *epoch);
            found.push((*epoch, key.canonical(&subject.canonical)));
        }
        Ok(Pseudonyms(found))
    }
}
