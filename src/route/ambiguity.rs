//! Why a host or a target is refused before any route is looked for.
//!
//! Each of these is something that two parties could read in two ways; the client learns only
//! that it was refused (400), the log learns the label.

use thiserror::Error;

/// What makes a host, a target or the literal part of a pattern ambiguous or malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Ambiguity {
    /// No Host where one is required (RFC 9112 §3.2).
    #[error("there is no host")]
    HostMissing,
    /// More than one Host field line.
    #[error("there is more than one host")]
    HostRepeated,
    /// Not a host name, an IPv4 address or an IPv6 address in brackets, or a bad port.
    #[error("the host is not a valid name or address")]
    HostMalformed,
    /// Host names another authority than the target does (RFC 9113 §8.3.1).
    #[error("the target and the host name different hosts")]
    HostMismatch,
    /// A form of target that the method or a gateway has no use for (RFC 9112 §3.2).
    #[error("the target has the wrong form")]
    TargetForm,
    /// An absolute target whose scheme is neither `http` nor `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// The path does not start with a slash.
    #[error("the path does not start with /")]
    PathNotAbsolute,
    /// A `.` or `..` segment, in whatever spelling and with whatever parameters.
    #[error("the path has a . or .. segment")]
    DotSegment,
    /// Parameters (`;…`) without which the path would be for another route.
    #[error("the path is for another route without its parameters (;…)")]
    PathParameters,
    /// `//`.
    #[error("the path has an empty segment (//)")]
    EmptySegment,
    /// `%2F`.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// `\` or `%5C`.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, raw or escaped; NUL is one.
    #[error("the path has a control character")]
    ControlCharacter,
    /// A `%` without two hexadecimal digits after it.
    #[error("the path has a % without two hexadecimal digits after it")]
    MalformedEscape,
    /// Escapes that are not UTF-8, overlong forms included (RFC 3629 §3).
    #[error("the path has escapes that are not UTF-8")]
    InvalidUtf8,
    /// A raw byte that RFC 3986 §3.3 has no place for in a path.
    #[error("the path has a character that must be percent-encoded")]
    PathCharacter,
    /// A raw byte in the query that a request line cannot carry.
    #[error("the query has a character that must be percent-encoded")]
    QueryCharacter,
}

impl Ambiguity {
    /// The stable label for the log and the metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::HostMissing => "host_missing",
            Self::HostRepeated => "host_repeated",
            Self::HostMalformed => "host_malformed",
            Self::HostMismatch => "host_mismatch",
            Self::TargetForm => "target_form",
            Self::Scheme => "scheme",
            Self::PathNotAbsolute => "path_not_absolute",
            Self::DotSegment => "dot_segment",
            Self::PathParameters => "path_parameters",
            Self::EmptySegment => "empty_segment",
            Self::EncodedSlash => "encoded_slash",
            Self::Backslash => "backslash",
            Self::ControlCharacter => "control_character",
            Self::MalformedEscape => "malformed_escape",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::PathCharacter => "path_character",
            Self::QueryCharacter => "query_character",
        }
    }
}
