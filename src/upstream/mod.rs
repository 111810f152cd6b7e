//! Where a request goes: targets, and one worker's connections to them.
//!
//! HTTP/1.1 without TLS. A request leaves only with a [`Permit`](crate::policy::Permit).

mod connect;
mod pool;
mod target;

pub use pool::{Lease, Pool, SendError};
pub use target::{TargetUrl, TargetUrlError};
