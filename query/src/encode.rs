//! Answers as bytes: JSON, CSV, an Arrow stream, Parquet.
//!
//! JSON holds everything in one object, with the periods in which something is hidden. In the other formats `complete_until` and `privacy` go into the schema's
//! metadata (Arrow, Parquet) and, over HTTP, into the headers `quorate-complete-until` and `quorate-privacy`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvWriter;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder as JsonWriter;
use arrow::json::writer::JsonArray;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schemas::time::Millis;
use serde::Serialize;

use crate::{Answer, Privacy, QueryError};

const COMPLETE_UNTIL: &str = "complete_until";
const PRIVACY: &str = "privacy";

/// A format of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: one object, `{"complete_until", "privacy", "hidden_in": [..], "revised_in": [..],
    /// "rows": [{..}, ..]}`.
    Json,
    /// `text/csv`: a line of names, then one a row; nulls are empty.
    Csv,
    /// `application/vnd.apache.arrow.stream`.
    Arrow,
    /// `application/vnd.apache.parquet`.
    Parquet,
}

/// An encoded answer.
pub struct Encoded {
    /// Its media type.
    pub media_type: &'static str,
    /// The answer.
    pub bytes: Vec<u8>,
    /// End of the last released period, RFC 3339, if any.
    pub complete_until: Option<String>,
    /// The privacy object as JSON, ASCII.
    pub privacy: String,
}

#[derive(Serialize)]
struct Envelope<'a> {
    complete_until: Option<String>,
    privacy: &'a Privacy,
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden_in: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revised_in: Option<Vec<String>>,
}

impl Format {
    /// All, the preferred first.
    pub const ALL: [Self; 4] = [Self::Json, Self::Csv, Self::Arrow, Self::Parquet];

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The format that an `Accept` header likes best; JSON without one. Of equally liked ones the first.
    ///
    /// # Errors
    ///
    /// [`QueryError::NotAcceptable`] with all media types.
    pub fn accepted(header: Option<&str>) -> Result<Self, QueryError> {
        let Some(header) = header else { return Ok(Self::Json) };
        let mut best: Option<(f32, Self)> = None;
        for part in header.split(',') {
            let mut parameters = part.split(';').map(str::trim);
            let media_type = parameters.next().unwrap_or_default().to_ascii_lowercase();
            let quality = parameters.find_map(|parameter| parameter.strip_prefix("q="));
            let quality: f32 = quality.and_then(|quality| quality.parse().ok()).unwrap_or(1.0);
            let format = Self::ALL.into_iter().find(|format| format.is_in(&media_type));
            let better = |format| best.is_none_or(|(best, _)| quality > best).then_some(format);
            if let Some(format) = format.filter(|_| quality > 0.0).and_then(better) {
                best = Some((quality, format));
            }
        }
        best.map(|(_, format)| format)
            .ok_or_else(|| QueryError::NotAcceptable(Self::ALL.map(Self::media_type).join(", ")))
    }

    /// Whether a range like `text/csv`, `text/*` or `*/*` covers it.
    fn is_in(self, range: &str) -> bool {
        let own = self.media_type();
        match range.split_once('/') {
            Some(("*", "*")) => true,
            Some((kind, "*")) => own.split_once('/').is_some_and(|(own, _)| own == kind),
            _ => range == own,
        }
    }

    /// Encodes an answer.
    ///
    /// # Errors
    ///
    /// [`QueryError::Encoding`] where the format has no form for a column (lists in CSV, say).
    pub fn encode(self, answer: &Answer) -> Result<Encoded, QueryError> {
        let complete_until = answer.complete_until.map(|time| time.to_string());
        let privacy = json(&answer.privacy);
        let bytes = match self {
            Self::Json => encode_json(answer, complete_until.clone()),
            Self::Csv => encode_csv(&answer.rows),
            Self::Arrow => encode_arrow(&answer.rows, metadata(&complete_until, &privacy)),
            Self::Parquet => encode_parquet(&answer.rows, metadata(&complete_until, &privacy)),
        };
        let bytes = bytes.map_err(|_| QueryError::Encoding(self.media_type()))?;
        Ok(Encoded { media_type: self.media_type(), bytes, complete_until, privacy })
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("texts, numbers and flags always have a JSON form")
}

fn encode_json(answer: &Answer, complete_until: Option<String>) -> Result<Vec<u8>, ArrowError> {
    let mut rows = JsonWriter::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    rows.write(&answer.rows)?;
    rows.finish()?;
    let rows = rows.into_inner();
    // As rows write the beginnings of their periods, so that the two can be compared as texts.
    let start = |time: &Millis| time.to_string().replace(".000Z", "Z");
    let starts = |times: &Vec<Millis>| times.iter().map(start).collect();
    let envelope = Envelope {
        complete_until,
        privacy: &answer.privacy,
        hidden_in: answer.hidden_in.as_ref().map(starts),
        revised_in: answer.revised_in.as_ref().map(starts),
    };
    let mut whole = json(&envelope).into_bytes();
    // The rows are JSON already, and may be many: they are put into the object as they are.
    whole.pop();
    whole.extend_from_slice(b",\"rows\":");
    whole.extend_from_slice(if rows.is_empty() { b"[]" } else { &rows });
    whole.push(b'}');
    Ok(whole)
}

fn encode_csv(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = CsvWriter::new().with_header(true).build(Vec::new());
    writer.write(rows)?;
    Ok(writer.into_inner())
}

fn metadata(complete_until: &Option<String>, privacy: &str) -> HashMap<String, String> {
    let mut metadata = HashMap::from([(PRIVACY.to_owned(), privacy.to_owned())]);
    metadata.extend(complete_until.clone().map(|until| (COMPLETE_UNTIL.to_owned(), until)));
    metadata
}

fn described(
    rows: &RecordBatch,
    metadata: HashMap<String, String>,
) -> Result<RecordBatch, ArrowError> {
    let schema = rows.schema().as_ref().clone().with_metadata(metadata);
    rows.clone().with_schema(Arc::new(schema))
}

fn encode_arrow(
    rows: &RecordBatch,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, ArrowError> {
    let rows = described(rows, metadata)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(&rows)?;
    writer.into_inner()
}

fn encode_parquet(
    rows: &RecordBatch,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let plain = metadata.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(plain.collect()))
        .build();
    let rows = described(rows, metadata)?;
    let parquet = |error: ParquetError| ArrowError::from(error);
    let mut writer =
        ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).map_err(parquet)?;
    writer.write(&rows).map_err(parquet)?;
    writer.close().map_err(parquet)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_format_is_taken() {
        let of = |header: &str| Format::accepted(Some(header)).ok();
        assert_eq!(Format::accepted(None).ok(), Some(Format::Json));
        assert_eq!(of("*/*"), Some(Format::Json));
        assert_eq!(of("text/*"), Some(Format::Csv));
        assert_eq!(of("Text/CSV; charset=utf-8"), Some(Format::Csv));
        assert_eq!(of("text/html, application/json;q=0.4, text/csv;q=0.5"), Some(Format::Csv));
        assert_eq!(of("application/vnd.apache.parquet, */*;q=0.1"), Some(Format::Parquet));
        assert_eq!(of("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(of("application/json;q=0"), None);
        let refused = Format::accepted(Some("text/html")).expect_err("no such format");
        assert_eq!(
            refused.to_string(),
            "no such format; `Accept` one of application/json, text/csv, \
             application/vnd.apache.arrow.stream, application/vnd.apache.parquet"
        );
    }
}
