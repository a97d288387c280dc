//! The two families of the default package as one flat struct: a tagged enum would buffer each object.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Text that borrows from the input unless it holds escapes; `Option<Cow<str>>` would always copy.
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// An event of either family.
#[derive(serde::Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) family: Text<'a>,
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) time: Text<'a>,
    #[serde(borrow, default)]
    pub(super) end_user: Option<EndUser<'a>>,

    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) url: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) referrer: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) target: Option<Text<'a>>,
    #[serde(default)]
    pub(super) engaged: Option<i64>,
    #[serde(default)]
    pub(super) scroll_depth: Option<i64>,

    #[serde(borrow, default)]
    pub(super) serial_number: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) product: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) feature: Option<Text<'a>>,
    #[serde(default)]
    pub(super) duration: Option<i64>,
    #[serde(borrow, default)]
    pub(super) error: Option<Text<'a>>,
}

/// For whom a server speaks.
#[derive(serde::Deserialize)]
pub(super) struct EndUser<'a> {
    #[serde(borrow, default)]
    pub(super) address: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) user_agent: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) language: Option<Text<'a>>,
}
