//! What an audit can find: each with the promise it breaks and what to do.

use serde::Serialize;

/// Something that is not as promised. Says where and how often, never which value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Which of [`Code::ALL`]: stable.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// File, column, line of a ledger, key.
    pub place: String,
    /// How often, in what `what` counts; 1 where there is nothing to count.
    pub count: u64,
    /// The promise.
    pub breaks: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl Finding {
    pub(super) fn new(code: Code, what: impl Into<String>, place: impl Into<String>) -> Self {
        Self::counted(code, what, place, 1)
    }

    pub(super) fn counted(
        code: Code,
        what: impl Into<String>,
        place: impl Into<String>,
        count: u64,
    ) -> Self {
        let (breaks, remedy) = (code.breaks(), code.remedy());
        Self { code: code.name(), what: what.into(), place: place.into(), count, breaks, remedy }
    }
}

const NOTHING_PERSONAL: &str = "nothing personal is written: no address, no e-mail, no identifier";
const DIE_TOGETHER: &str =
    "rows, frames and keys die together, at the end of their epoch and 48 hours";
const LEAK: &str = "find out which source sent it and which field let it through, narrow that field's declaration, and \
                    replay the hours or erase the rows";
const FOREIGN: &str =
    "look who put it there, and take it away: retention and erasure know nothing of it";
const START: &str =
    "start the service, which removes what is due, or look into its log lines why it does not";

macro_rules! codes {
    ($($variant:ident, $name:literal, $breaks:expr, $remedy:expr;)*) => {
        /// A kind of finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $name] $variant),*
        }

        impl Code {
            /// Every kind, in the order of `docs/audit.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The promise that it breaks.
            #[must_use]
            pub fn breaks(self) -> &'static str {
                match self { $(Self::$variant => $breaks),* }
            }

            /// What to do about it.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

codes! {
    Email, "email", NOTHING_PERSONAL, LEAK;
    Ipv4, "ipv4", NOTHING_PERSONAL, LEAK;
    Ipv6, "ipv6", NOTHING_PERSONAL, LEAK;
    Mac, "mac", NOTHING_PERSONAL, LEAK;
    Uuid, "uuid", NOTHING_PERSONAL, LEAK;
    Token, "token", "no token and no credential is written", LEAK;
    Telephone, "telephone", NOTHING_PERSONAL, LEAK;
    LongNumber, "long_number", NOTHING_PERSONAL, LEAK;
    RowsPastEnd, "rows_past_end", DIE_TOGETHER, START;
    RowsWithoutKey, "rows_without_key", DIE_TOGETHER, START;
    KeyPastEnd, "key_past_end", DIE_TOGETHER, START;
    LogPastEnd, "log_past_end", "frames are gone after raw_retention_max at the latest", START;
    KeyNotDestroyed, "key_not_destroyed", "a destroyed key is nowhere any more",
        "overwrite and delete the file, and look which backup or copy brought it back";
    KeyLedger, "key_ledger", "the ledger of keys is append-only, and a change is seen",
        "put the ledger back from a copy of the ledgers, and look who changed it";
    KeyRing, "key_ring", "every key alive is the one that was made",
        "run `quorate keyring verify`, and put the ring's file back from where it was moved";
    KeysKept, "keys_kept", "a destroyed key cannot be brought back",
        "move the key ring and the key-encryption key out of what is copied, versioned or snapshotted";
    SuppressionWithoutKey, "suppression_without_key", "objections outlive epochs",
        "put the key `suppression` back into the ring: nothing may be taken in until then";
    Stray, "stray_file", "everything at rest is known, and has an end", FOREIGN;
    Changed, "changed_file", "rows are as they were written", "put the file back from where it was moved; its period is not released";
    ColumnStatistics, "column_statistics", "no value of a single row is in Parquet's or Delta's statistics",
        "keep other programs from writing to events/, and rewrite the table by a replay of its hours";
    UndeclaredFamily, "undeclared_family", "only what a policy declares is kept",
        "declare the family again, or remove the table once its rows are gone";
    UndeclaredColumn, "undeclared_column", "only what a policy declares is kept",
        "look who added the column; remove its values by a replay, or the table";
    RefusedCategory, "refused_category", "refused categories are not kept under any name",
        "remove the column, and tell who added it";
    ExpiredField, "expired_field", "a field has no values from its `expires` on",
        "replay the hours from then on under the policy in force";
    KeptPastPurpose, "kept_past_purpose", "a value goes when the last purpose's `keep` is over", START;
    GroupUnderK, "group_under_k", "no group of fewer than `min_contributors` is shown",
        "remove the rows of the statistic: no release writes such a group, so look who did";
    UndeclaredStatistic, "undeclared_statistic", "only declared statistics leave",
        "declare it again, or remove its folder";
    Books, "books", "received = stored + duplicate + refused + expired + suppressed",
        "look into the log lines for a crash or a damaged ledger; `ledger/outcomes` says which family and partition";
    RequestOverdue, "request_overdue", "requests are answered within the days that the policy states",
        "finish it: `quorate subject` of the same kind again, or start the service, which goes on with it";
    ExportPastEnd, "export_past_end", "an export is deleted after 7 days", START;
    HoldPastEnd, "hold_past_end", "held rows go when the hold ends", START;
    HoldReason, "hold_reason", "a hold has a reason that the policy allows, and an end within its bound",
        "release the hold, or declare the reason";
    ReadableByOthers, "readable_by_others", "who may read rows or keys is who runs the service",
        "chmod 700 the folder, or 600 the file";
    Residency, "residency", "data stays where the policy says", "move the store, or change what is promised";
    Unreadable, "unreadable", "everything at rest can be looked at", "look at the message, and audit again";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_have_names_of_their_own_and_are_documented() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        let page = include_str!("../../docs/audit.md");
        for name in names {
            assert!(
                page.contains(&format!("| `{name}` |")),
                "docs/audit.md does not tell of {name}"
            );
        }
    }
}
