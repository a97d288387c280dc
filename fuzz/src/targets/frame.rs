//! Frames: any bytes, a genuine one that was changed, and columns behind the seal.

use std::sync::LazyLock;

use anonymizer::{Origin, Sealed};

use crate::fixture::{HOUSE, NOW};
use crate::must_not_repeat;

/// Two events, one of each family.
const EVENTS: [&[u8]; 2] = [
    br#"{"type":"web","time":"2026-11-22T12:00:00Z","name":"pageview","url":"https://www.example.org/blog/a"}"#,
    br#"{"type":"device_usage","time":"2026-11-22T12:00:00Z","id":"1","serial_number":"X1-000417","product":"x1"}"#,
];

static GENUINE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut importer = HOUSE.importer.lock().expect("no target panicked before");
    for event in EVENTS {
        importer.push_line(event).expect("the event is good");
    }
    let tally = schemas::Tally::default();
    let seal = |batch| HOUSE.gate.seal(batch, tally.clone()).expect("the hour has a key");
    let mut frames: Vec<_> = importer.take().into_iter().map(seal).collect();
    let mut tally = tally;
    tally.refuse(schemas::Reason::Malformed);
    frames.push(HOUSE.gate.seal_tally(None, tally, NOW).expect("the hour has a key"));
    frames.into_iter().map(Sealed::into_bytes).collect()
});

/// A byte that chooses; then the frame itself, or triples of what to change in a genuine one: place (two bytes), by what.
pub(crate) fn run(data: &[u8]) {
    let [choice, rest @ ..] = data else { return };
    let Some(genuine) = GENUINE.get(usize::from(*choice)) else { return open(rest.to_vec(), None) };
    let mut frame = genuine.clone();
    for change in rest.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let length = frame.len();
        match change[2] {
            // Cut short there.
            0 => frame.truncate(place % (length + 1)),
            by if length > 0 => frame[place % length] ^= by,
            by => frame.push(by),
        }
    }
    open(frame, Some(genuine));
}

/// Opens a frame; only `genuine` may open.
fn open(bytes: Vec<u8>, genuine: Option<&Vec<u8>>) {
    let is_genuine = genuine == Some(&bytes);
    let parsed = match Sealed::parse(bytes.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert!(!is_genuine);
            return must_not_repeat(&format!("{error} {error:?}"));
        }
    };
    assert_eq!(parsed.as_bytes(), bytes, "a frame is its bytes");
    let rows = parsed.header().rows;
    let opened = HOUSE.gate.authenticate(parsed);
    let is_open = opened.is_ok();
    assert_eq!(is_open, is_genuine, "what opens is what was sealed");
    if let Err(error) = opened {
        must_not_repeat(&format!("{error} {error:?}"));
    } else if rows > 0 {
        let parsed = Sealed::parse(bytes).expect("it parsed before");
        let batch = HOUSE.gate.open(parsed).expect("it is genuine");
        assert_eq!(batch.rows(), usize::try_from(rows).unwrap_or(usize::MAX));
        let origin = Origin { partition: 0, position: 0, import: false };
        let rows = HOUSE.gate.anonymize(batch, &origin, NOW).expect("its keys live");
        assert_eq!(rows.rows().num_rows(), 1);
    }
}

/// The body of a frame that was sealed with these columns: the first byte chooses the family.
pub(crate) fn columns(data: &[u8]) {
    let [family, body @ ..] = data else { return };
    let opened = anonymizer::fuzzing::columns(&HOUSE.gate, usize::from(family % 2), body.to_vec());
    if let Err(error) = opened {
        must_not_repeat(&format!("{error} {error:?}"));
    }
}
