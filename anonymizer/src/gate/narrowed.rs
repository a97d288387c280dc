//! Rows from which purposes are taken: what rests on these alone goes, in events that come in and in sealed frames.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{UInt32Type, UInt64Type};
use schemas::PurposeSet;

use super::Gate;
use crate::error::Error;
use crate::layout;
use crate::nulled::Nulled;
use crate::seal::Header;
use crate::suppression::Listed;

impl Gate {
    /// Today's raw columns without what rests on purposes that the list takes, and how many values that were.
    ///
    /// What is left is what a [`crate::RawBuilder`] would have taken in with the purposes that remain: the contributor's own
    /// value stays where it is the sole key by which a second copy is known.
    pub(crate) fn narrowed(
        &self,
        family: usize,
        columns: RecordBatch,
        listed: Option<&[Listed]>,
    ) -> (RecordBatch, Nulled) {
        let Some(listed) = listed.filter(|listed| listed.iter().any(|row| row.taken.0 != 0)) else {
            return (columns, Nulled::default());
        };
        let granted = columns.column(layout::GRANTED).as_primitive::<UInt32Type>().values();
        let left = |(granted, listed): (&u32, &Listed)| listed.leaves(PurposeSet(*granted));
        let left: Vec<PurposeSet> = granted.iter().zip(listed).map(left).collect();
        let has_id = |row: usize| columns.column(layout::ID).is_valid(row);
        let boots = columns.column(layout::BOOT).as_primitive::<UInt64Type>();
        let seqs = columns.column(layout::SEQ).as_primitive::<UInt64Type>();
        let is_key = |row: usize| !has_id(row) && boots.is_valid(row) && seqs.is_valid(row);

        let (declared, plan) = (self.family(family), &self.plans[family]);
        let mut out: Vec<ArrayRef> = columns.columns().to_vec();
        out[layout::GRANTED] =
            Arc::new(left.iter().map(|left| Some(left.0)).collect::<UInt32Array>());
        let stays = |row: usize, purposes: PurposeSet| {
            listed[row].taken.0 == 0 || left[row].meets(purposes)
        };
        out[layout::VISIT] = kept(&out[layout::VISIT], |row| stays(row, declared.purposes)).0;
        let mut nulled = Nulled::default();
        for (field, raw) in declared.fields.iter().zip(&plan.layout.fields) {
            let Some(raw) = *raw else { continue };
            let contributor = plan.contributor.raw == Some(raw);
            let stays = |row: usize| stays(row, field.purposes) || (contributor && is_key(row));
            let (column, gone) = kept(&out[raw], stays);
            out[raw] = column;
            nulled.fallen(field.purposes, if contributor { 0 } else { gone });
        }
        let columns = RecordBatch::try_new(columns.schema(), out);
        (columns.expect("each column has as many values as before"), nulled)
    }

    /// The same for the columns of a frame, which become those of today's policy.
    pub(super) fn narrowed_again(
        &self,
        mut header: Header,
        mut columns: RecordBatch,
        listed: &[Listed],
    ) -> Result<(Header, RecordBatch), Error> {
        let name = header.family.clone().unwrap_or_default();
        let unknown = || Error::UnknownFamily(name.clone());
        let (family, _) = self.package.family(&name).ok_or_else(unknown)?;
        if header.policy != self.package.digest {
            let then = self.archive.policy(header.policy)?;
            let old = then.family(&name).ok_or_else(unknown)?;
            let today = &self.plans[family].layout;
            columns = then.convert(old, &columns, &self.package, family, today)?;
            header.policy = self.package.digest;
        }
        let (columns, _) = self.narrowed(family, columns, Some(listed));
        Ok((header, columns))
    }
}

/// The column with nothing in the rows that `stays` does not pick, and how many values went. They are left out, where
/// nulling would only hide them.
fn kept(column: &ArrayRef, stays: impl Fn(usize) -> bool) -> (ArrayRef, u64) {
    let row_of = |row: u64| usize::try_from(row).expect("a row number");
    let rows = 0..column.len() as u64;
    let gone = rows.clone().filter(|row| column.is_valid(row_of(*row)) && !stays(row_of(*row)));
    let gone = gone.count() as u64;
    if gone == 0 {
        return (Arc::clone(column), 0);
    }
    let indices: UInt64Array = rows.map(|row| stays(row_of(row)).then_some(row)).collect();
    (take(column, &indices, None).expect("each index is one of a row"), gone)
}
