//! What happened, told to the operator: an access event per request, metrics, messages.
//!
//! Nothing here decides about a request, waits for a reader or knows another module of ours. What
//! a client controls reaches the access log capped and escaped, and never becomes a label.

mod access_lines;
mod access_log;
mod by_name;
mod causes;
mod event;
mod histogram;
mod inventory;
mod label;
mod line_log;
pub mod messages;
mod metrics;
pub mod panics;
mod readiness;
mod reload;
mod request_id;
mod requests;
mod route_name;
mod upstream;
mod value;
mod wire_text;

pub use access_lines::AccessLines;
pub use access_log::AccessLog;
pub use causes::with_causes;
pub use event::{AccessEvent, LogFormat};
pub use inventory::Inventory;
pub use label::{Connect, ConnectionState, Handshake, Introduction, Listener, Reload, TokenLookup};
pub use line_log::{LogWriter, unbuffered};
pub use metrics::{Metrics, OpenConnection};
pub use readiness::{Phase, Readiness};
pub use reload::ReloadMetrics;
pub use request_id::RequestId;
pub use requests::{DurationsOf, RouteNames};
pub use route_name::RouteName;
pub use upstream::UpstreamMetrics;
pub use wire_text::WireText;
