//! Bodies: one event, an array, lines, an envelope; those of Plausible's trackers; what an image says in its head.

use anonymizer::{RawEvent, Signals};
use ingest::{
    BodyError, Decoded, Limits, Received, Report, Rows, Sending, assemble, decode, fuzzing,
};
use schemas::access::SourceKind;

use crate::fixture::{NOW, PLAN};
use crate::must_not_repeat;

/// Small enough that inputs reach them.
const LIMITS: Limits = Limits { events_max: 64, event_bytes_max: 512 };
/// An event that is always accepted.
const GOOD: &[u8] = br#"{"type":"web","name":"pageview"}"#;

/// A body as it is, in whatever form.
pub(crate) fn json(body: &[u8]) {
    drop(take(body));
}

/// Lines behind a good one, which no other line may cost.
pub(crate) fn ndjson(lines: &[u8]) {
    let body = [GOOD, b"\n", lines].concat();
    let report = take(&body);
    let found = |line: &&[u8]| !line.trim_ascii().is_empty();
    let count = 1 + lines.split(|byte| *byte == b'\n').filter(found).count();
    let goes_on = matches!(lines.trim_ascii_start().first(), Some(b',' | b']' | b'}'));
    if count > LIMITS.events_max || goes_on || count == 1 {
        return;
    }
    let report = report.expect("lines are taken one by one");
    assert!(report.accepted_total() >= 1, "a line cost another one");
    let events = report.accepted_total() + report.refused_total;
    assert_eq!(events, count as u64, "as many events as lines");
}

/// `common` and events of an envelope: what stands before and behind the first line break.
pub(crate) fn envelope(parts: &[u8]) {
    let middle = parts.iter().position(|byte| *byte == b'\n').unwrap_or(parts.len());
    let (common, events) = parts.split_at(middle);
    let body = [&br#"{"boot":1,"common":"#[..], common, br#","events":["#, events, b"]}"].concat();
    drop(take(&body));
}

/// A body of Plausible's trackers, which is one event of a page or nothing.
pub(crate) fn plausible(body: &[u8]) {
    page(fuzzing::plausible(&PLAN, body, LIMITS));
}

/// Query and `Referer` of a pixel, likewise.
pub(crate) fn pixel(told: &[u8]) {
    page(fuzzing::pixel(&PLAN, told, LIMITS));
}

fn page(decoded: Result<Decoded<'_>, BodyError>) {
    let Ok(decoded) = decoded.inspect_err(must_not_say) else { return };
    assert_eq!(decoded.events(), 1, "one event a request");
    let report = judge(&decoded);
    let web = PLAN.package().families.iter().position(|family| family.name == "web");
    for (family, &accepted) in report.accepted.iter().enumerate() {
        assert!(accepted == 0 || Some(family) == web, "a page sends events of pages");
    }
}

/// Decodes and checks a body.
fn take(body: &[u8]) -> Result<Report, BodyError> {
    decode(&PLAN, body, LIMITS).inspect_err(must_not_say).map(|decoded| judge(&decoded))
}

fn must_not_say(error: &BodyError) {
    must_not_repeat(&format!("{error} {error:?}"));
}

/// Checks what was decoded, as from any sender; what is said of it must not repeat what was read.
fn judge(decoded: &Decoded<'_>) -> Report {
    assert!(decoded.events() <= LIMITS.events_max);
    // A site id is public, and asked for here: the only value that a decoded body gives away.
    let _site = decoded.site();
    for kind in [SourceKind::Device, SourceKind::Server, SourceKind::Site] {
        for received in [Received::At(NOW), Received::Told(NOW)] {
            let signals = Signals::default();
            let sending = Sending { kind, permitted: None, received, signals };
            let mut rows = Counted(0);
            let report = assemble(&PLAN, decoded, &sending, &mut rows);
            let ends = report.accepted_total() + report.refused_total;
            assert_eq!(ends, decoded.events() as u64, "every event ends once");
            assert_eq!(report.accepted_total(), rows.0, "what is accepted is handed on");
            let counted: u64 = report.tallies.iter().map(schemas::Tally::refused_total).sum();
            assert_eq!(report.refused_total, counted, "every refusal is counted");
            let heard = serde_json::to_string(&(&report.refused, &report.changed));
            must_not_repeat(&heard.expect("refusals are JSON"));
        }
    }
    let sending = Sending {
        kind: SourceKind::Device,
        permitted: None,
        received: Received::At(NOW),
        signals: Signals::default(),
    };
    assemble(&PLAN, decoded, &sending, &mut Counted(0))
}

struct Counted(u64);

impl Rows for Counted {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, _: Option<usize>) {
        let declared = &PLAN.package().families[family];
        assert_eq!(event.values.len(), declared.fields.len());
        self.0 += 1;
    }
}
