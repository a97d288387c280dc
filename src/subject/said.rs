//! What a receipt says in sentences: what was done, what stays, and what nobody can tell any more.

use anonymizer::RequestKind;

use super::gone::Gone;
use super::ledger::Removed;

/// What is to be said of a request that is done, or hidden until its window ends.
pub(super) struct Saying<'a> {
    pub(super) kind: RequestKind,
    pub(super) purposes: &'a [String],
    pub(super) done: &'a Removed,
    pub(super) until: Option<&'a str>,
    pub(super) gone: Option<&'a Gone>,
}

const STATISTICS: &str = "statistics that were released before stay: they are about groups with enough contributors and can be \
    traced to nobody";

pub(super) fn said(of: &Saying<'_>) -> Vec<String> {
    let Saying { kind, purposes, done, until, gone } = of;
    let mut said = Vec::new();
    if is_nothing(done) {
        said.push(NOTHING.to_owned());
    }
    let named = purposes.join(", ");
    match kind {
        RequestKind::Access | RequestKind::Portability => {
            said.push(format!("{} rows are in the file", done.rows_exported));
        }
        RequestKind::Rectify => said.push(format!(
            "{} rows are erased, and {} corrected events are stored in their place",
            done.rows_removed, done.events_stored
        )),
        RequestKind::Restore => said.push(format!(
            "{} requests of before are ended, {} rows are back; events are let in again from now on",
            done.requests_ended, done.rows_brought_back
        )),
        RequestKind::Restrict => {
            said.push(format!(
                "{} rows are set apart and used for nothing, until it is restored or their key's time is over",
                done.rows_set_apart
            ));
            said.push(later(&named));
        }
        RequestKind::Erase if until.is_some() => {
            let until = until.unwrap_or_default();
            said.push(format!(
                "{} rows are hidden until {until}, as was chosen, and erased then; until then they can be restored",
                done.rows_set_apart
            ));
            said.push(later(&named));
        }
        RequestKind::Object | RequestKind::Withdraw if !purposes.is_empty() => {
            said.push(format!(
                "what rested on {named} alone is erased from {} rows; where that was what told contributors apart, they \
                 belong to nobody any more",
                done.rows_narrowed
            ));
            said.push(later(&named));
            said.push(STATISTICS.to_owned());
        }
        RequestKind::Erase | RequestKind::Object | RequestKind::Withdraw => {
            said.push(format!("{} rows are erased", done.rows_removed));
            said.push(later(&named));
            said.push(STATISTICS.to_owned());
        }
    }
    if done.rows_held > 0 {
        said.push(format!(
            "{} rows are under a legal hold: they stay apart and are used for nothing until it ends, and are destroyed \
             then (article 17(3)(e) of the GDPR)",
            done.rows_held
        ));
    }
    if let Some(gone) = gone {
        said.push(format!(
            "of what came before {} nothing can be said: {}; the last of {} keys was destroyed at {}, by commitment {}",
            gone.before, gone.why, gone.epochs, gone.last_destroyed, gone.commitment
        ));
    }
    said
}

const NOTHING: &str = "nothing was found, or nothing more than an earlier request had found: nothing that is stored can be told to be \
    this contributor's";

fn is_nothing(done: &Removed) -> bool {
    let Removed {
        rows_removed,
        frames_rewritten: _,
        sealing_keys_destroyed: _,
        rows_narrowed,
        rows_set_apart,
        rows_brought_back,
        rows_held,
        rows_exported,
        events_stored,
        requests_ended,
    } = done;
    let counts = [rows_removed, rows_narrowed, rows_set_apart, rows_brought_back, rows_held];
    let others = [rows_exported, events_stored, requests_ended];
    counts.into_iter().chain(others).all(|count| *count == 0)
}

fn later(named: &str) -> String {
    match named {
        "" => "later events are kept out".to_owned(),
        named => format!("later events come in without {named}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(kind: RequestKind, done: &Removed, purposes: &[String]) -> String {
        said(&Saying { kind, purposes, done, until: None, gone: None }).join("\n")
    }

    #[test]
    fn every_kind_says_what_it_found_and_that_it_found_nothing() {
        let some = Removed {
            rows_removed: 3,
            rows_narrowed: 3,
            rows_set_apart: 3,
            rows_brought_back: 3,
            rows_exported: 3,
            events_stored: 3,
            requests_ended: 1,
            ..Removed::default()
        };
        for kind in RequestKind::ALL {
            let (found, nothing) =
                (said_of(kind, &some, &[]), said_of(kind, &Removed::default(), &[]));
            assert!(found.contains('3') && !found.contains("nothing was found"), "{found}");
            assert!(nothing.starts_with("nothing was found") && nothing.contains('0'), "{nothing}");
        }
        let text = said_of(RequestKind::Withdraw, &some, &["website".to_owned()]);
        assert!(text.contains("without website") && text.contains("released before"), "{text}");
    }
}
