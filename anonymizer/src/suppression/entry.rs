//! One entry of the list: who, by hash, and what must not be done with it any more.

use schemas::{Millis, Package, PurposeSet};
use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// What a person asks for: articles 15 to 21 of the GDPR, the withdrawal of consent (7(3)), and the end of the latter three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// To see what is stored, and what becomes of it.
    Access,
    /// To take along what the person supplied.
    Portability,
    /// To have wrong events replaced by right ones.
    Rectify,
    /// Erasure.
    Erase,
    /// To have what is stored kept, but not used.
    Restrict,
    /// Objection: to being counted, or to purposes that rest on legitimate or public interest.
    Object,
    /// The end of consent to purposes.
    Withdraw,
    /// The end of an objection, a restriction or a withdrawal.
    Restore,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Access,
        Self::Portability,
        Self::Rectify,
        Self::Erase,
        Self::Restrict,
        Self::Object,
        Self::Withdraw,
        Self::Restore,
    ];

    /// The word for it in requests, ledger and list.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Portability => "portability",
            Self::Rectify => "rectify",
            Self::Erase => "erase",
            Self::Restrict => "restrict",
            Self::Object => "object",
            Self::Withdraw => "withdraw",
            Self::Restore => "restore",
        }
    }
}

/// What is to be entered.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Id of the request.
    pub request: &'a str,
    /// What is asked for.
    pub kind: RequestKind,
    /// Names of the purposes it is about; none if it is about everything.
    pub purposes: &'a [String],
    /// Until when rows are only set apart, and can be brought back; none if they go at once, or stay apart without end.
    pub until: Option<Millis>,
}

impl<'a> Wanted<'a> {
    /// A request about everything, at once.
    #[must_use]
    pub fn whole(request: &'a str, kind: RequestKind) -> Self {
        Self { request, kind, purposes: &[], until: None }
    }
}

/// One contributor of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppressed {
    /// Id of the request that put it there.
    pub request: String,
    /// What was asked for.
    pub kind: RequestKind,
    /// Name of the family.
    pub family: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Names of the purposes it is about; none if nothing of the contributor may come in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// Until when what is stored is only set apart, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The request that ended it: it keeps nothing out any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<String>,
    /// Whether what is stored may still be other than was asked for.
    pub pending: bool,
    /// Hash of the canonical identifier.
    pub(super) identifier: String,
    /// Hash of its pseudonym in each epoch whose key was alive.
    pub(super) pseudonyms: Vec<(i32, String)>,
}

impl Suppressed {
    pub(super) fn of(wanted: &Wanted<'_>, subject: &Subject, since: Millis, hash: String) -> Self {
        Self {
            request: wanted.request.to_owned(),
            kind: wanted.kind,
            family: subject.family_name().to_owned(),
            since: since.to_string(),
            purposes: wanted.purposes.to_vec(),
            until: wanted.until.map(|until| until.to_string()),
            lifted: None,
            // Whoever removes waits until the pseudonyms are known: without them no row would be found.
            pending: false,
            identifier: hash,
            pseudonyms: Vec::new(),
        }
    }

    /// How many epochs had a key when it was entered.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.pseudonyms.len()
    }

    /// Whether it keeps anything out.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.lifted.is_none()
    }

    /// Whether rows are set apart for it and can be brought back, not removed.
    #[must_use]
    pub fn sets_apart(&self) -> bool {
        self.kind == RequestKind::Restrict || self.until.is_some()
    }

    /// Whether both are about the same contributor of the same family.
    #[must_use]
    pub fn is_about_same(&self, other: &Self) -> bool {
        (&self.family, &self.identifier) == (&other.family, &other.identifier)
    }

    /// Whether both keep the same out of the same contributor's, by the same hashes.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        (&self.family, &self.identifier, &self.pseudonyms, &self.purposes, &self.lifted)
            == (&other.family, &other.identifier, &other.pseudonyms, &other.purposes, &other.lifted)
    }
}

/// What the entries of one contributor keep out, together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    whole: bool,
    purposes: Vec<String>,
}

impl Stop {
    pub(super) fn add(&mut self, entry: &Suppressed) {
        self.whole |= entry.purposes.is_empty();
        self.purposes.extend(entry.purposes.iter().cloned());
    }

    /// As numbers of a package; a purpose that it does not have is granted by nobody anyhow.
    pub(crate) fn of(&self, package: &Package) -> Listed {
        let named = self.purposes.iter().filter_map(|name| package.purpose(name));
        let taken = named.fold(PurposeSet::default(), |set, (index, _)| set.with(index));
        Listed { whole: self.whole, taken }
    }
}

/// What the list says of one row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Listed {
    /// Nothing of it may be stored.
    pub(crate) whole: bool,
    /// Purposes that do not stand for it, whatever it says.
    pub(crate) taken: PurposeSet,
}

impl Listed {
    /// Both together.
    pub(crate) fn add(&mut self, other: Self) {
        self.whole |= other.whole;
        self.taken.0 |= other.taken.0;
    }

    /// The purposes that are left of these.
    pub(crate) fn leaves(self, granted: PurposeSet) -> PurposeSet {
        PurposeSet(granted.0 & !self.taken.0)
    }
}
