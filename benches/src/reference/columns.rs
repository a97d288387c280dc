//! The rows under way: one column for each that the two tables have.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use chrono::DateTime;

use super::event::{Event, Text};
use super::lookup::{self, Lookup};

/// A key is a key: which one does not change what a hash costs.
const KEY: [u8; 32] = [7; 32];

const TEXTS: [&str; 17] = [
    "family",
    "name",
    "page",
    "hostname",
    "referrer",
    "target",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "country",
    "browser",
    "os",
    "device_class",
    "language",
    "product",
    "version",
    "feature",
];
const NUMBERS: [&str; 3] = ["engaged", "scroll_depth", "duration"];

/// Builders for one batch after the other.
pub(super) struct Columns {
    schema: SchemaRef,
    time: TimestampMicrosecondBuilder,
    contributor: FixedSizeBinaryBuilder,
    key: FixedSizeBinaryBuilder,
    texts: Vec<StringBuilder>,
    error: StringBuilder,
    numbers: Vec<Int64Builder>,
    rows: usize,
    /// What a visit is hashed from.
    visit: Vec<u8>,
}

impl Columns {
    pub(super) fn new(rows: usize) -> Self {
        let hash = DataType::FixedSizeBinary(16);
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = vec![
            Field::new("time", time, false),
            Field::new("contributor", hash.clone(), true),
            Field::new("key", hash, true),
        ];
        fields.extend(TEXTS.map(|name| Field::new(name, DataType::Utf8, true)));
        fields.push(Field::new("error", DataType::Utf8, true));
        fields.extend(NUMBERS.map(|name| Field::new(name, DataType::Int64, true)));
        Self {
            schema: Arc::new(Schema::new(fields)),
            time: TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"),
            contributor: FixedSizeBinaryBuilder::with_capacity(rows, 16),
            key: FixedSizeBinaryBuilder::with_capacity(rows, 16),
            texts: TEXTS.map(|_| StringBuilder::new()).into(),
            error: StringBuilder::new(),
            numbers: NUMBERS.map(|_| Int64Builder::with_capacity(rows)).into(),
            rows: 0,
            visit: Vec::new(),
        }
    }

    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends an event; not one without a readable time.
    pub(super) fn append(&mut self, event: &Event<'_>, lookup: &mut Lookup) -> bool {
        let Ok(time) = DateTime::parse_from_rfc3339(&event.time.0) else { return false };
        self.time.append_value(time.timestamp_micros());
        let user = event.end_user.as_ref();
        let address = user.and_then(|user| str(&user.address)).unwrap_or_default();
        let user_agent = user.and_then(|user| str(&user.user_agent)).unwrap_or_default();
        let language = user.and_then(|user| str(&user.language)?.split(['-', ',', ';']).next());

        let contributor = match &event.serial_number {
            Some(serial) => hash(serial.0.as_bytes()),
            None => {
                self.visit.clear();
                self.visit.extend_from_slice(address.as_bytes());
                self.visit.push(0);
                self.visit.extend_from_slice(user_agent.as_bytes());
                hash(&self.visit)
            }
        };
        let key = event.id.as_ref().map(|id| hash(id.0.as_bytes()));
        append_hash(&mut self.contributor, Some(contributor));
        append_hash(&mut self.key, key);

        let page = event.url.as_ref().and_then(|url| lookup::page(&url.0));
        let referrer = event.referrer.as_ref().and_then(|url| lookup::page(&url.0));
        let agent = (!user_agent.is_empty()).then(|| lookup.agent(user_agent));
        let target = event.target.as_ref().and_then(|url| lookup::page(&url.0));
        let page = page.as_ref();
        let agent = agent.as_deref();
        let campaign = |index: usize| page.and_then(|page| page.campaign[index].as_deref());
        let texts: [Option<&str>; TEXTS.len()] = [
            Some(&event.family.0),
            str(&event.name),
            page.map(|page| page.path.as_str()),
            page.map(|page| page.host.as_str()),
            referrer.as_ref().map(|page| page.host.as_str()),
            target.as_ref().map(|page| page.host.as_str()),
            campaign(0),
            campaign(1),
            campaign(2),
            lookup.country(address),
            agent.and_then(|agent| agent.browser.as_deref()),
            agent.and_then(|agent| agent.os.as_deref()),
            agent.map(|agent| agent.class),
            language,
            str(&event.product),
            str(&event.version),
            str(&event.feature),
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.append_option(text);
        }
        self.error.append_option(str(&event.error));
        let numbers = [event.engaged, event.scroll_depth, event.duration];
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.append_option(number);
        }
        self.rows += 1;
        true
    }

    /// The rows so far, as a batch.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish()),
            Arc::new(self.contributor.finish()),
            Arc::new(self.key.finish()),
        ];
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.error.finish()));
        columns.extend(self.numbers.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

fn str<'a>(text: &'a Option<Text<'_>>) -> Option<&'a str> {
    text.as_ref().map(|text| &*text.0)
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    let hash = blake3::keyed_hash(&KEY, bytes);
    hash.as_bytes()[..16].try_into().expect("a hash has 32 bytes")
}

fn append_hash(column: &mut FixedSizeBinaryBuilder, hash: Option<[u8; 16]>) {
    match hash {
        Some(hash) => column.append_value(hash).expect("the column holds 16 bytes"),
        None => column.append_null(),
    }
}
