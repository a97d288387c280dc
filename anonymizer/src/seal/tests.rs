use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field as Column, Schema};
use proptest::prelude::*;
use schemas::Reason;

use super::*;

const KEY: [u8; 32] = [1; 32];
const NONCE: [u8; NONCE_BYTES] = [2; NONCE_BYTES];

fn header(rows: u32) -> Header {
    let mut tally = Tally::default();
    tally.refuse(Reason::TooLong);
    Header {
        family: Some("web".into()),
        policy: Digest([7; 32]),
        hour: 498_732,
        generation: 0,
        rows,
        tally,
    }
}

fn batch(rows: usize) -> RecordBatch {
    let numbers: Int64Array = (0..rows as i64).map(|row| (row % 3 > 0).then_some(row)).collect();
    let texts: StringArray = (0..rows).map(|row| Some(format!("value {row}"))).collect();
    let columns = vec![
        Column::new("number", DataType::Int64, true),
        Column::new("text", DataType::Utf8, true),
    ];
    let schema = Arc::new(Schema::new(columns));
    RecordBatch::try_new(schema, vec![Arc::new(numbers), Arc::new(texts)]).unwrap()
}

fn sealed(rows: u32) -> Sealed {
    let body = if rows == 0 { Body::Empty } else { Body::of(&batch(rows as usize), 5).unwrap() };
    Sealed::seal_with_nonce(header(rows), &body, &Key::apart(KEY), NONCE).unwrap()
}

/// Pinned for good. The header is in clear; the tag is AES-256-GCM of nothing, computed with Python's
/// `cryptography` package, not with this code.
#[test]
fn known_answer() {
    let bytes = sealed(0).into_bytes();
    let head = "{\"family\":\"web\",\"policy\":\"0707070707070707070707070707070707070707070707070707070707070707\",\
                \"hour\":498732,\"rows\":0,\"tally\":{\"refused\":{\"too_long\":1}}}";
    let mut expected = b"QFRM\x01".to_vec();
    expected.extend_from_slice(&u32::try_from(head.len()).unwrap().to_le_bytes());
    expected.extend_from_slice(head.as_bytes());
    expected.extend_from_slice(&NONCE);
    let (clear, tag) = bytes.split_at(bytes.len() - TAG_BYTES);
    assert_eq!(clear, expected);
    let tag: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(tag, "81b2bebde547febc3ed80421b6e56edb");
}

/// A frame as the first version wrote it: what lies in a log when a build is replaced.
#[test]
fn frames_of_the_first_version_open() {
    let bytes = include_bytes!("v1.frame").to_vec();
    let (found, body) = Sealed::parse(bytes).unwrap().open(&Key::apart(KEY)).unwrap();
    assert_eq!(found, header(3));
    let (columns, nulled) = Body::read(body, &batch(0).schema()).unwrap();
    assert_eq!((columns, nulled), (batch(3), 5));
}

#[test]
fn what_goes_in_comes_out() {
    for rows in [1, 3, 5_000] {
        let frame = sealed(rows);
        assert_eq!(frame.header(), &header(rows));
        let frame = Sealed::parse(frame.into_bytes()).unwrap();
        let (found, body) = frame.open(&Key::apart(KEY)).unwrap();
        assert_eq!(found, header(rows));
        let before = batch(rows as usize);
        let (columns, nulled) = Body::read(body, &before.schema()).unwrap();
        assert_eq!(columns, before);
        assert_eq!(nulled, 5);
    }
}

#[test]
fn large_bodies_are_compressed() {
    let plain = batch(5_000).get_array_memory_size();
    assert!(plain > COMPRESS_FROM_BYTES);
    assert!(sealed(5_000).as_bytes().len() < plain / 2);
}

#[test]
fn nonces_differ() {
    let body = Body::of(&batch(1), 0).unwrap();
    let seal = || Sealed::seal(header(1), &body, &Key::apart(KEY)).unwrap().into_bytes();
    assert_ne!(seal(), seal());
}

#[test]
fn another_key_opens_nothing() {
    assert!(matches!(sealed(3).open(&Key::apart([9; 32])), Err(Error::Frame(_))));
}

#[test]
fn bytes_that_are_no_frame_are_refused() {
    let long = [b"QFRM\x01".as_slice(), &u32::MAX.to_le_bytes(), &[0; 64]].concat();
    let newer = [b"QFRM\x02".as_slice(), &sealed(0).as_bytes()[5..]].concat();
    for bytes in [vec![], b"QFRM\x01".to_vec(), vec![0; 200], long, newer] {
        assert!(matches!(Sealed::parse(bytes), Err(Error::Frame(_))));
    }
}

/// Whether a frame is found out, by its form or by its key.
fn found_out(bytes: Vec<u8>) -> bool {
    Sealed::parse(bytes).and_then(|frame| frame.open(&Key::apart(KEY))).is_err()
}

proptest! {
    #[test]
    fn every_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8, rows in 0_u32..4) {
        let mut bytes = sealed(rows).into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(found_out(bytes));
    }

    #[test]
    fn every_cut_is_found(at in any::<prop::sample::Index>(), rows in 0_u32..4) {
        let mut bytes = sealed(rows).into_bytes();
        bytes.truncate(at.index(bytes.len()));
        prop_assert!(found_out(bytes));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(found_out(bytes.clone()));
        prop_assert!(found_out([b"QFRM\x01", bytes.as_slice()].concat()));
        let schema = batch(1).schema();
        prop_assert!(Body::read(bytes, &schema).is_err());
    }
}
