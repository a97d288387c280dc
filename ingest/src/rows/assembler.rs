//! One body under way: each event's names, values, time and consent against the package.

use anonymizer::{ClockSource, Consent, RawEvent, Statement, Value};
use schemas::access::SourceKind;
use schemas::time::DAY_MS;
use schemas::{Family, Millis, Note, Reason, Tally};

use super::{
    Change, ID_BYTES_MAX, LISTED_MAX, Received, Refusal, Refused, Report, Rows, Sending, person,
};
use crate::check::{Checked, check, timestamp};
use crate::clock::{AHEAD_MS, Found, Said, event_time};
use crate::decode::{Cell, Decoded, Entry, EventCells, Fault, RefusedNames};
use crate::plan::{FamilyPlan, Plan, Reserved, Word};

/// The reserved names of one event, by [`Reserved`] as index.
type Names<'a> = [Option<Cell<'a>>; 13];

/// One body under way; its buffers are reused from event to event.
pub(super) struct Assembler<'d> {
    plan: &'d Plan,
    decoded: &'d Decoded<'d>,
    sending: &'d Sending<'d>,
    report: Report,
    values: Vec<Value<'d>>,
    seen: Vec<bool>,
    /// What the event under way came with.
    statement: Statement,
    /// The last one that was resolved, for an event of that time, and what stood.
    resolved: Option<(Statement, Millis, Consent)>,
    /// What is counted of the envelope, with its first event.
    shared_undeclared: u64,
    shared_refused: RefusedNames,
}

impl<'d> Assembler<'d> {
    pub(super) fn new(plan: &'d Plan, decoded: &'d Decoded<'d>, sending: &'d Sending<'d>) -> Self {
        let families = plan.package().families.len();
        let report = Report {
            accepted: vec![0; families],
            tallies: vec![Tally::default(); families + 1],
            ..Report::default()
        };
        Self {
            plan,
            decoded,
            sending,
            report,
            values: Vec::new(),
            seen: Vec::new(),
            statement: Statement::default(),
            resolved: None,
            shared_undeclared: u64::from(decoded.shared.undeclared),
            shared_refused: decoded.shared.refused.clone(),
        }
    }

    /// Checks all events.
    pub(super) fn run(mut self, rows: &mut impl Rows) -> Report {
        for (index, cells) in (0_u64..).zip(&self.decoded.cells.events) {
            self.event(index, cells, rows);
        }
        self.report
    }

    fn event(&mut self, index: u64, cells: &EventCells, rows: &mut impl Rows) {
        let changed = (self.report.changed.len(), self.report.changed_total);
        let mut family = None;
        let mut undeclared =
            u64::from(cells.undeclared) + std::mem::take(&mut self.shared_undeclared);
        let result = self.accept(index, cells, rows, &mut family, &mut undeclared);
        self.report.undeclared += undeclared;
        let none = self.report.accepted.len();
        let tally = &mut self.report.tallies[family.unwrap_or(none)];
        tally.note(Note::Undeclared, undeclared);
        let refused = std::mem::take(&mut self.shared_refused);
        let own = self.decoded.cells.entries[cells.entries.clone()].iter();
        for (category, names) in refused.each().chain(own.filter_map(Entry::refused)) {
            tally.note(Note::RefusedName, u64::from(names));
            tally.name(Note::RefusedName, self.plan.category(category), u64::from(names));
        }
        match (result, family) {
            (Ok(consent), Some(family)) => {
                self.report.accepted[family] += 1;
                tally.note(Note::Otherwise, self.report.changed_total - changed.1);
                consent.notes().for_each(|(note, count)| tally.note(note, count));
            }
            (Ok(_), None) => {}
            (Err(Refused { reason, field, expected }), _) => {
                tally.refuse(reason);
                self.report.changed.truncate(changed.0);
                self.report.changed_total = changed.1;
                self.report.refused_total += 1;
                if self.report.refused.len() < LISTED_MAX {
                    let refusal = Refusal { index, reason, field, expected, retry: false };
                    self.report.refused.push(refusal);
                }
            }
        }
    }

    /// Checks one event and hands it on; gives what stood for it.
    fn accept(
        &mut self,
        index: u64,
        cells: &EventCells,
        rows: &mut impl Rows,
        family: &mut Option<usize>,
        undeclared: &mut u64,
    ) -> Result<Consent, Refused> {
        let entries: &'d [Entry<'d>] = match cells.fault {
            Some(Fault::NotAnObject) => {
                let expected = "a JSON object".to_owned();
                return Err(Refused { reason: Reason::Malformed, field: None, expected });
            }
            Some(Fault::Empty) => {
                let expected = "a record with a value".to_owned();
                return Err(Refused { reason: Reason::Empty, field: None, expected });
            }
            Some(Fault::TooLong) => {
                let expected = "an event within the service's size limit".to_owned();
                return Err(Refused { reason: Reason::TooLong, field: None, expected });
            }
            Some(Fault::Repeats) => {
                let expected = "each name once in an event".to_owned();
                return Err(Refused { reason: Reason::Malformed, field: None, expected });
            }
            None => &self.decoded.cells.entries[cells.entries.clone()],
        };
        let names = self.names(entries)?;
        let found = self.family(&names)?;
        *family = Some(found);
        if self.sending.permitted.is_some_and(|permitted| permitted.get(found) != Some(&true)) {
            let expected = "a type that the key or site may send";
            return Err(Refused::of(Reason::NotPermitted, "type", expected));
        }
        let plan = self.plan;
        let (declared, lookups) = plan.of(found);
        let (received, said, time) = self.times(index, &names, declared)?;
        self.values(index, entries, declared, lookups, received, undeclared)?;
        let location_off = self.flags(declared)?;
        let person = self.person(&names)?;
        let consent = self.consent(entries, decided_by(time.clock, said, time.time))?;
        let event = RawEvent {
            values: &self.values,
            time: time.time,
            clock: time.clock,
            said,
            received,
            session: self.session(&names, received)?,
            id: self.id(&names)?,
            boot: self.count(&names, Reserved::Boot)?,
            seq: match self.count(&names, Reserved::Seq)? {
                None => self.decoded.shared.seq.and_then(|first| first.checked_add(index)),
                own => own,
            },
            granted: consent.granted,
            location_off,
        };
        rows.row(found, &event, person);
        Ok(consent)
    }

    /// Heeds the family's flags, whose values are in [`Self::values`]: a child's event goes no further. Whether location is
    /// off.
    fn flags(&self, family: &Family) -> Result<bool, Refused> {
        let is = |flag: Option<usize>, wanted: bool| {
            flag.filter(|flag| self.values.get(*flag) == Some(&Value::Boolean(wanted)))
        };
        match is(family.flags.age, true) {
            Some(flag) => {
                let expected = "an event of nobody under the age that the flag is for";
                Err(Refused::of(Reason::UnderAge, &family.fields[flag].name, expected))
            }
            None => Ok(is(family.flags.location, false).is_some()),
        }
    }

    /// The reserved names of an event, with what it shares with others where it says nothing itself.
    fn names(&self, entries: &[Entry<'d>]) -> Result<Names<'d>, Refused> {
        let mut names: Names<'d> = [None; 13];
        for entry in entries {
            if let Word::Reserved(word) = entry.word
                && names[word as usize].replace(entry.cell).is_some()
            {
                return Err(twice(word.name()));
            }
        }
        for entry in &self.decoded.shared.entries {
            if let Word::Reserved(word) = entry.word {
                names[word as usize].get_or_insert(entry.cell);
            }
        }
        Ok(names)
    }

    fn family(&self, names: &Names<'d>) -> Result<usize, Refused> {
        let expected = || {
            let families = &self.plan.package().families;
            let names: Vec<&str> = families.iter().map(|family| family.name.as_str()).collect();
            format!("one of {}", names.join(", "))
        };
        match names[Reserved::Type as usize] {
            None | Some(Cell::Null) => Err(Refused::of(Reason::UnknownType, "type", expected())),
            Some(cell) => match self.decoded.cells.text(cell) {
                None => Err(Refused::of(Reason::WrongType, "type", expected())),
                Some(name) => self
                    .plan
                    .family(name)
                    .ok_or_else(|| Refused::of(Reason::UnknownType, "type", expected())),
            },
        }
    }

    /// Fills [`Self::values`] from the event and from what it shares; the event wins.
    fn values(
        &mut self,
        index: u64,
        entries: &'d [Entry<'d>],
        family: &'d Family,
        lookups: &'d FamilyPlan,
        received: Millis,
        undeclared: &mut u64,
    ) -> Result<(), Refused> {
        self.values.clear();
        self.values.resize(family.fields.len(), Value::Null);
        self.seen.clear();
        self.seen.resize(family.fields.len(), false);
        let shared: &'d [Entry<'d>] = &self.decoded.shared.entries;
        for (place, entry) in entries.iter().chain(shared).enumerate() {
            let Word::Declared(word) = entry.word else { continue };
            let slot = lookups.slots.get(usize::from(word)).copied().flatten();
            let Some(slot) = slot.map(usize::from) else {
                *undeclared += 1;
                continue;
            };
            if std::mem::replace(&mut self.seen[slot], true) {
                if place < entries.len() {
                    return Err(twice(&family.fields[slot].name));
                }
                continue;
            }
            // What a flag protects does not end with its declaration.
            let is_flag = [family.flags.age, family.flags.location].contains(&Some(slot));
            if !is_flag && family.fields[slot].expires.is_some_and(|end| received >= end) {
                *undeclared += 1;
                continue;
            }
            self.values[slot] = self.value(index, family, lookups, slot, entry.cell)?;
        }
        for &slot in &lookups.required {
            let field = &family.fields[slot];
            let has_expired = field.expires.is_some_and(|end| received >= end);
            if self.values[slot] == Value::Null && !has_expired {
                let expected = field.kind.expected();
                return Err(Refused::of(Reason::MissingField, &field.name, expected));
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        index: u64,
        family: &'d Family,
        lookups: &'d FamilyPlan,
        slot: usize,
        cell: Cell<'d>,
    ) -> Result<Value<'d>, Refused> {
        let field = &family.fields[slot];
        let refused = &self.plan.package().refused.content;
        let cells = &self.decoded.cells;
        match check(field, lookups.enums[slot].as_ref(), refused, cells, cell) {
            Checked::Value(value) => Ok(value),
            Checked::Otherwise(kept) => {
                let word = FamilyPlan::listed(field, kept).to_owned();
                self.change(index, &field.name, word, || field.kind.expected());
                Ok(Value::Index(kept))
            }
            Checked::Refused(Reason::RefusedContent) => {
                let expected =
                    "text that is not an image, another refused file, or a run of base64";
                Err(Refused::of(Reason::RefusedContent, &field.name, expected))
            }
            Checked::Refused(reason) => {
                Err(Refused::of(reason, &field.name, field.kind.expected()))
            }
        }
    }

    fn change(&mut self, index: u64, field: &str, kept: String, expected: impl FnOnce() -> String) {
        self.report.changed_total += 1;
        if self.report.changed.len() < LISTED_MAX {
            let field = field.to_owned();
            self.report.changed.push(Change { index, field, kept, expected: expected() });
        }
    }

    /// When the event was received and when it happened.
    fn times(
        &mut self,
        index: u64,
        names: &Names<'d>,
        family: &Family,
    ) -> Result<(Millis, Option<Millis>, Found), Refused> {
        let mut said = Said {
            time: self.moment(names, Reserved::Time)?,
            sent: self.moment(names, Reserved::Sent)?,
            uptime_ms: self.count(names, Reserved::UptimeMs)?,
            sent_uptime_ms: self.count(names, Reserved::SentUptimeMs)?,
            restarted: false,
        };
        let boot = self.count(names, Reserved::Boot)?;
        said.restarted = self.decoded.shared.boot.is_some_and(|sender| Some(sender) != boot);
        let received = match self.sending.received {
            Received::At(received) => received,
            Received::Told(now) => {
                let told = self.moment(names, Reserved::Received)?;
                let Some(received) = told.or(said.time) else {
                    let expected =
                        "RFC 3339 text, or milliseconds since 1970: history needs a time";
                    return Err(Refused::of(Reason::MissingField, "time", expected));
                };
                if received > now.plus(AHEAD_MS) || received < Millis(0) {
                    let field = told.map_or("time", |_| "received");
                    return Err(Refused::of(
                        Reason::OutOfRange,
                        field,
                        "a time since 1970 that has passed",
                    ));
                }
                received
            }
        };
        let found = event_time(said, received, family.late_ms);
        if found.disbelieved {
            let days = family.late_ms.div_euclid(DAY_MS).max(1);
            self.change(index, "time", "time of receipt".to_owned(), || {
                format!("a time within the last {days} days, or `sent` beside `time`")
            });
        }
        Ok((received, said.time, found))
    }

    /// When the event's session began, by the service's clock if the sender's can be put right.
    fn session(&self, names: &Names<'d>, received: Millis) -> Result<Option<Millis>, Refused> {
        let Some(start) = self.moment(names, Reserved::SessionStart)? else { return Ok(None) };
        let sent = self.moment(names, Reserved::Sent)?;
        let age = sent.map(|sent| sent.0.saturating_sub(start.0));
        Ok(Some(age.map_or(start, |age| received.plus(age.saturating_neg()))))
    }

    fn moment(&self, names: &Names<'d>, name: Reserved) -> Result<Option<Millis>, Refused> {
        match names[name as usize] {
            None | Some(Cell::Null) => Ok(None),
            Some(cell) => match timestamp(&self.decoded.cells, cell) {
                Ok(time) => Ok(Some(time)),
                // A number that is no time of ours is a wrong clock, and the rule for those decides.
                Err(Reason::OutOfRange) => Ok(Some(Millis(i64::MIN))),
                Err(reason) => {
                    let expected = "RFC 3339 text, or milliseconds since 1970 as a number";
                    Err(Refused::of(reason, name.name(), expected))
                }
            },
        }
    }

    fn count(&self, names: &Names<'d>, name: Reserved) -> Result<Option<u64>, Refused> {
        match names[name as usize] {
            None | Some(Cell::Null) => Ok(None),
            Some(cell) => {
                let refused = |reason| Refused::of(reason, name.name(), "a whole number from 0 on");
                if cell.float().is_none() {
                    return Err(refused(Reason::WrongType));
                }
                let number = cell.integer();
                let count = number.and_then(|number| u64::try_from(number).ok());
                count.map(Some).ok_or_else(|| refused(Reason::OutOfRange))
            }
        }
    }

    fn id(&self, names: &Names<'d>) -> Result<Option<&'d str>, Refused> {
        let refused = |reason| {
            let expected = format!("text of 1 to {ID_BYTES_MAX} bytes, unique to the event");
            Refused::of(reason, "id", expected)
        };
        match names[Reserved::Id as usize] {
            None | Some(Cell::Null) => Ok(None),
            Some(cell) => match self.decoded.cells.text(cell) {
                None => Err(refused(Reason::WrongType)),
                Some("") => Err(refused(Reason::WrongForm)),
                Some(id) if id.len() > ID_BYTES_MAX => Err(refused(Reason::TooLong)),
                Some(id) => Ok(Some(id)),
            },
        }
    }

    fn person(&self, names: &Names<'d>) -> Result<Option<usize>, Refused> {
        match names[Reserved::EndUser as usize] {
            None | Some(Cell::Null) => Ok(None),
            Some(_) if self.sending.kind != SourceKind::Server => {
                let expected = "no `end_user`: only a server key may say whose connection it was";
                Err(Refused::of(Reason::NotPermitted, "end_user", expected))
            }
            Some(Cell::EndUser(index)) => {
                let index = index as usize;
                person(self.decoded, index).map(|_| Some(index))
            }
            Some(_) => {
                let expected = "an object with address, user_agent and language";
                Err(Refused::of(Reason::WrongType, "end_user", expected))
            }
        }
    }

    /// What stands for an event of that time, from its own statement, the shared one and the signals: the strictest wins.
    fn consent(&mut self, entries: &[Entry<'d>], event: Millis) -> Result<Consent, Refused> {
        hear(&mut self.statement, self.decoded, entries, self.sending)?;
        if let Some((known, time, consent)) = &self.resolved
            && *known == self.statement
            && (*time == event || !known.is_timed())
        {
            return Ok(*consent);
        }
        let consent = self.statement.resolve(self.plan.package(), event);
        // The earlier one's memory is used for the next.
        let before = self.resolved.take().map(|(known, ..)| known).unwrap_or_default();
        let known = std::mem::replace(&mut self.statement, before);
        self.resolved = Some((known, event, consent));
        Ok(consent)
    }
}

/// The time at which consent has to have been given, by the clock that gave its time too.
pub(crate) fn decided_by(clock: ClockSource, said: Option<Millis>, time: Millis) -> Millis {
    match clock {
        ClockSource::Device | ClockSource::Uptime => said.unwrap_or(time),
        ClockSource::Received => time,
    }
}

/// Puts everything that an event of these entries came with into one statement, instead of what is in it.
pub(crate) fn hear<'d>(
    statement: &mut Statement,
    decoded: &Decoded<'d>,
    entries: &[Entry<'d>],
    sending: &Sending<'_>,
) -> Result<(), Refused> {
    statement.clear();
    statement.signals(sending.signals);
    for entry in entries.iter().chain(&decoded.shared.entries) {
        let word = match entry.word {
            Word::Reserved(word @ (Reserved::Consent | Reserved::Signals)) => word,
            Word::Reserved(_) | Word::Declared(_) | Word::Refused(_) => continue,
        };
        let said = match entry.cell {
            Cell::Null => continue,
            Cell::Said(said) => decoded.cells.said.get(said as usize),
            Cell::Boolean(_)
            | Cell::Integer(_)
            | Cell::Float(_)
            | Cell::Text(_)
            | Cell::Copied { .. }
            | Cell::Nested
            | Cell::EndUser(_) => None,
        };
        let Some(said) = said else {
            let expected = if word == Reserved::Consent {
                "an object of purposes with true, false, or {granted, version, at}"
            } else {
                "an object with gpc and dnt as true or false, tcf as text, google as an object of granted or denied"
            };
            return Err(Refused::of(Reason::WrongType, word.name(), expected));
        };
        statement.add(said);
    }
    Ok(())
}

fn twice(name: &str) -> Refused {
    Refused::of(Reason::Malformed, name, "each name once in an event")
}
