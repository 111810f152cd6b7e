//! Where a request goes: targets, and one worker's connections to them.
//!
//! HTTP/1.1, inside TLS where `to` says so. A request leaves only with a
//! [`Permit`](crate::policy::Permit).

mod addresses;
mod connect;
mod dial;
mod last_words;
mod pool;
mod shelf;
mod slots;
mod switched;
mod target;
mod tls;
mod url;

pub use connect::ConnectError;
pub use pool::{Lease, Pool, SendError, Stage};
pub use slots::Slots;
pub use switched::Duplex;
pub use target::{Resolution, Settings, Target};
pub use tls::{ClientConfigs, ClientTls, ClientTlsError, SystemAuthorities};
pub use url::{Origin, Scheme, TargetUrl, TargetUrlError};
