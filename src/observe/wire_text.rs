//! Text that a client sent, shared with its request rather than copied out of it.

use std::borrow::Cow;

use http::HeaderValue;
use http::uri::{Authority, PathAndQuery};

/// What a client wrote, for the log alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireText {
    /// The value of a field.
    Field(HeaderValue),
    /// The authority of a target.
    Authority(Authority),
    /// The path of a target, without its query.
    Path(PathAndQuery),
    /// Anything else.
    Other(Box<str>),
}

impl WireText {
    /// As text; what is no UTF-8 is replaced.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Field(value) => String::from_utf8_lossy(value.as_bytes()),
            Self::Authority(authority) => Cow::Borrowed(authority.as_str()),
            Self::Path(target) => Cow::Borrowed(target.path()),
            Self::Other(text) => Cow::Borrowed(text),
        }
    }
}

impl From<&str> for WireText {
    fn from(text: &str) -> Self {
        Self::Other(text.into())
    }
}
