//! The pipeline's own books, beside what the senders counted.

use std::collections::BTreeMap;

use schemas::{Outcome, Reason};
use sink::{Counted, OutcomeRow};

use super::place::Place;
use crate::generate::Sent;
use crate::generate::sent::Counts;

/// What the ledger says, partitions together.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// All families together.
    pub(super) total: Counts,
    /// By family; what had none is in the total only.
    families: BTreeMap<String, Counts>,
    /// Rows that died before they were stored.
    lost: u64,
}

/// Reads the ledger of outcomes.
///
/// # Errors
///
/// If it cannot be read.
pub(super) async fn read(place: &Place) -> anyhow::Result<Books> {
    let rows = sink::outcomes(&place.config.events_root()?, &place.config.staging_dir()).await?;
    Ok(Books::of(&rows))
}

impl Books {
    fn of(rows: &[OutcomeRow]) -> Self {
        let mut books = Self::default();
        for row in rows {
            enter(&mut books.total, row);
            if let Some(family) = &row.family {
                enter(books.families.entry(family.clone()).or_default(), row);
            }
            if let Counted::Outcome(Outcome::Expired | Outcome::Suppressed) = row.counted {
                books.lost += row.count;
            }
        }
        books
    }

    /// The first number that is not what it must be; numbers and names of rules only.
    pub(super) fn difference(&self, sent: &Sent) -> Option<String> {
        let total = &self.total;
        let sum = total.stored + total.duplicate + total.refused_total() + self.lost;
        if total.received != sum {
            let received = total.received;
            return Some(format!("received {received} is not the sum of all outcomes, {sum}"));
        }
        let mut pairs = vec![
            ("received".to_owned(), sent.total.received, total.received),
            ("stored".to_owned(), sent.total.stored, total.stored),
            ("duplicate".to_owned(), sent.total.duplicate, total.duplicate),
            ("lost".to_owned(), 0, self.lost),
        ];
        for &reason in Reason::ALL {
            let of = |counts: &Counts| counts.refused.get(&reason).copied().unwrap_or(0);
            pairs.push((format!("refused as {}", reason.name()), of(&sent.total), of(total)));
        }
        for (family, counts) in &sent.families {
            let kept = self.families.get(family).cloned().unwrap_or_default();
            pairs.push((format!("stored of {family}"), counts.stored, kept.stored));
            pairs.push((format!("duplicate of {family}"), counts.duplicate, kept.duplicate));
        }
        let (what, sent, found) = pairs.into_iter().find(|(_, sent, found)| sent != found)?;
        Some(format!("{what}: {sent} were sent, {found} are in the books"))
    }
}

fn enter(counts: &mut Counts, row: &OutcomeRow) {
    match &row.counted {
        Counted::Received => counts.received += row.count,
        Counted::Outcome(Outcome::Stored) => counts.stored += row.count,
        Counted::Outcome(Outcome::Duplicate) => counts.duplicate += row.count,
        Counted::Refused(reason) => *counts.refused.entry(*reason).or_default() += row.count,
        Counted::Outcome(Outcome::Refused | Outcome::Expired | Outcome::Suppressed)
        | Counted::Note(_)
        | Counted::Named(..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(counted: Counted, count: u64) -> OutcomeRow {
        OutcomeRow { family: Some("web".to_owned()), partition: 0, counted, count }
    }

    fn rows() -> Vec<OutcomeRow> {
        vec![
            row(Counted::Received, 10),
            row(Counted::Outcome(Outcome::Stored), 7),
            row(Counted::Outcome(Outcome::Duplicate), 2),
            row(Counted::Refused(Reason::TooLong), 1),
        ]
    }

    fn sent() -> Sent {
        let refused = [(Reason::TooLong, 1)].into();
        let counts = Counts { received: 10, stored: 7, duplicate: 2, refused };
        Sent { total: counts.clone(), families: [("web".to_owned(), counts)].into() }
    }

    fn differs(change: impl Fn(&mut Vec<OutcomeRow>)) -> bool {
        let mut rows = rows();
        change(&mut rows);
        Books::of(&rows).difference(&sent()).is_some()
    }

    #[test]
    fn equal_books_balance() {
        assert!(!differs(|_| {}));
    }

    #[test]
    fn every_number_that_differs_is_seen() {
        for index in 0..4 {
            assert!(differs(|rows| rows[index].count += 1), "{index}");
        }
        assert!(
            differs(|rows| rows.iter_mut().take(2).for_each(|row| row.count -= 1)),
            "an event that the books do not know"
        );
    }

    #[test]
    fn a_row_that_was_lost_is_seen() {
        assert!(differs(|rows| {
            rows[1].count -= 1;
            rows.push(row(Counted::Outcome(Outcome::Expired), 1));
        }));
    }

    #[test]
    fn a_right_number_in_a_wrong_place_is_seen() {
        assert!(differs(|rows| rows[1].family = Some("device_usage".to_owned())), "family");
        assert!(differs(|rows| rows[3].counted = Counted::Refused(Reason::WrongType)), "reason");
    }
}
