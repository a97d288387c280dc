//! Why a question was not answered.

use disclosure::Error as DisclosureError;

/// Why a question was not answered. Messages say what is declared instead; they quote nothing of the question
/// but, for SQL, what the planner says of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The body is not JSON, or not a request.
    #[error("line {line}, column {column}: {what}")]
    Malformed {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
        /// What a request is.
        what: &'static str,
    },
    /// `from` names nothing.
    #[error("`from` names no statistic; declared are {declared}")]
    UnknownStatistic {
        /// Names of all.
        declared: String,
    },
    /// `measures` names something else.
    #[error("{statistic} does not measure that; `measures` are {declared}")]
    UnknownMeasure {
        /// The statistic.
        statistic: String,
        /// Its columns.
        declared: String,
    },
    /// `by` is no grouping.
    #[error("{statistic} is not grouped that way; `by` is one of {declared}")]
    UnknownGrouping {
        /// The statistic.
        statistic: String,
        /// Its groupings, as JSON.
        declared: String,
    },
    /// `every` is another.
    #[error("{statistic} has one row every {declared}; leave `every` out, or write that")]
    UnknownEvery {
        /// The statistic.
        statistic: String,
        /// Its period.
        declared: &'static str,
    },
    /// `where` names something else, or no value.
    #[error("`where` takes {declared}")]
    UnknownFilter {
        /// What it takes in this grouping.
        declared: String,
    },
    /// `between` is no span of time.
    #[error("`between` is [from, to): two dates (2024-05-01) or RFC 3339 times, the earlier first")]
    NoSpan,
    /// SQL that this service does not run.
    #[error("only one SELECT over statistics is run; this is {0}")]
    SqlRefused(&'static str),
    /// SQL that cannot be planned or fails.
    #[error("{0}")]
    Sql(String),
    /// More than one answer may take.
    #[error("the answer takes more than {0}; ask for less, with `between`, `where` or a LIMIT")]
    TooMuch(&'static str),
    /// A format that cannot hold the answer's columns.
    #[error("{0} cannot hold these columns; ask for application/json")]
    Encoding(&'static str),
    /// None of the accepted formats is one of ours.
    #[error("no such format; `Accept` one of {0}")]
    NotAcceptable(String),
    /// A table could not be read.
    #[error("the statistics cannot be read now; ask again later")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// As many questions as are answered at once are being answered.
    #[error("too many questions at once; ask again after Retry-After")]
    Busy,
    /// A path under `/v1` at which nothing is.
    #[error("nothing is here; ask GET /v1/statistics what there is")]
    UnknownPath,
    /// No token.
    #[error("send a read token, `Authorization: Bearer qr_…`; `quorate reader add NAME` makes one")]
    NoToken,
    /// A token that is none, or was revoked.
    #[error("this read token is unknown or revoked; `quorate reader add NAME` makes a new one")]
    UnknownToken,
    /// A key of a source.
    #[error("this is a write key, and write keys read nothing; use a read token, `qr_…`")]
    WriteKey,
}

impl QueryError {
    /// The word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::UnknownStatistic { .. } => "unknown_statistic",
            Self::UnknownMeasure { .. } => "unknown_measure",
            Self::UnknownGrouping { .. } => "unknown_grouping",
            Self::UnknownEvery { .. } => "unknown_every",
            Self::UnknownFilter { .. } => "unknown_filter",
            Self::NoSpan => "no_span",
            Self::SqlRefused(_) => "sql_refused",
            Self::Sql(_) => "sql",
            Self::TooMuch(_) => "too_much",
            Self::Encoding(_) => "encoding",
            Self::NotAcceptable(_) => "not_acceptable",
            Self::Unavailable(_) => "unavailable",
            Self::Busy => "busy",
            Self::UnknownPath => "unknown_path",
            Self::NoToken => "no_token",
            Self::UnknownToken => "unknown_token",
            Self::WriteKey => "write_key",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. }
            | Self::UnknownStatistic { .. }
            | Self::UnknownMeasure { .. }
            | Self::UnknownGrouping { .. }
            | Self::UnknownEvery { .. }
            | Self::UnknownFilter { .. }
            | Self::NoSpan
            | Self::SqlRefused(_)
            | Self::Sql(_) => 400,
            Self::TooMuch(_) => 422,
            Self::Encoding(_) | Self::NotAcceptable(_) => 406,
            Self::Unavailable(_) | Self::Busy => 503,
            Self::UnknownPath => 404,
            Self::NoToken | Self::UnknownToken => 401,
            Self::WriteKey => 403,
        }
    }

    /// Whether the same question may be answered later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy)
    }
}

impl From<DisclosureError> for QueryError {
    fn from(error: DisclosureError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}
