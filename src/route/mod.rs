//! Which route a request belongs to: the pure part, without any I/O.
//!
//! [`RequestHead`] reduces a head to the one form that is both matched and forwarded, or refuses
//! it: what two parties could read in two ways never gets as far as a route. [`HostPattern`] and
//! [`PathPattern`] are what a route is written as, [`conflicts`] finds those that could both win,
//! and [`Table`] picks the one that does.
//!
//! Nothing here knows who may use a route; that is decided after the route is known.

mod access;
mod ambiguity;
mod conflict;
mod head;
mod host;
mod path;
mod pattern;
#[cfg(test)]
mod properties;
mod reach;
mod table;
mod trie;

pub use access::{Access, Route};
pub use ambiguity::Ambiguity;
pub use conflict::{Conflict, Shape, conflicts};
pub use head::{HeadError, RequestHead};
pub use host::is_host;
pub use pattern::{HostPattern, PathPattern, PatternError};
pub use reach::{Reach, Reaches};
pub use table::{Lookup, Table};
