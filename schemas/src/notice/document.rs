//! A document as its parts, before anything is known of how it is shown.

/// A whole notice.
pub(super) struct Document {
    /// Small line above the title.
    pub(super) kind: String,
    pub(super) title: String,
    pub(super) summary: Vec<Text>,
    pub(super) sections: Vec<Section>,
    pub(super) colophon: Text,
}

/// A numbered section.
pub(super) struct Section {
    /// Its anchor: letters and `-`.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

/// What a section is made of.
pub(super) enum Block {
    Heading(Text),
    Paragraph(Text),
    List(Vec<Text>),
    Table(Table),
}

/// The first cell of a row names the row.
pub(super) struct Table {
    pub(super) caption: String,
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Text>>,
}

/// Pieces of one line. What they hold is not escaped yet.
#[derive(Clone, Default)]
pub(super) struct Text(pub(super) Vec<Piece>);

/// A piece of a line.
#[derive(Clone)]
pub(super) enum Piece {
    Plain(String),
    Strong(String),
    Code(String),
}

impl Text {
    pub(super) fn strong(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Strong(text.into()));
        self
    }

    pub(super) fn code(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Code(text.into()));
        self
    }

    pub(super) fn plain(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Plain(text.into()));
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::default().plain(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::default().plain(text)
    }
}

/// One line with a term in front: `Residency: EEA`.
pub(super) fn term(name: &str, text: impl Into<Text>) -> Text {
    let mut line = Text::default().strong(format!("{name}:")).plain(" ");
    line.0.extend(text.into().0);
    line
}
