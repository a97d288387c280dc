//! What a sender should have sent, in words of the package alone.

use crate::model::{Family, Field, Kind, Source};

impl Family {
    /// The fields that an event's body may carry, with their indices, in order of the package.
    pub fn body_fields(&self) -> impl Iterator<Item = (usize, &Field)> {
        self.fields.iter().enumerate().filter(|(_, field)| field.source == Source::Body)
    }
}

impl Kind {
    /// The declared values of an enum; of any other kind none.
    #[must_use]
    pub fn listed(&self) -> Option<&[String]> {
        if let Self::Enum { values, .. } = self { Some(values) } else { None }
    }

    /// The accepted values for people: `whole number from 0 to 100`. Holds declared words only.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::String { bytes_max, pattern: Some(pattern) } => {
                format!("text of at most {bytes_max} bytes in the form {}", pattern.source)
            }
            Self::String { bytes_max, pattern: None } => {
                format!("text of at most {bytes_max} bytes")
            }
            Self::Enum { values, otherwise: Some(_) } => {
                format!("text, best one of {}", values.join(", "))
            }
            Self::Enum { values, otherwise: None } => format!("one of {}", values.join(", ")),
            Self::Integer { min, max } => format!("whole number from {min} to {max}"),
            Self::Float { min, max } => format!("number from {min} to {max}"),
            Self::Boolean => "true or false".to_owned(),
            Self::Duration { unit_ms: 1, min, max } => {
                format!("whole number of milliseconds from {min} to {max}")
            }
            Self::Duration { min, max, .. } => {
                format!("whole number of seconds from {min} to {max}")
            }
            Self::Timestamp => "time as RFC 3339 text, or as milliseconds since 1970".to_owned(),
            Self::Version => "version of at most four numbers, such as 3.8.1".to_owned(),
            Self::Url { bytes_max } => {
                format!("absolute URL or path, of at most {bytes_max} bytes")
            }
        }
    }
}
