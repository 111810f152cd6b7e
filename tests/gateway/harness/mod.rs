//! What every test starts from: a folder, a gateway, an upstream that records, clients.

mod client;
mod draft;
pub mod frames;
mod gateway;
mod json_schema;
mod process;
mod script;
mod starts;
mod steady;
mod tls_front;
mod tokens;
mod upstream;
mod verdict;

pub use client::{Answer, H1, connector, h2_client, h2_connect_to, h2_streams, tls};
pub use draft::Draft;
pub use gateway::{Authority, PATIENCE, Start, TestGateway, write_certificate};
pub use json_schema::complaints;
pub use process::{JOTGATE, Process};
pub use script::{Line, Script};
pub use steady::{Client, Steady, generation};
pub use tls_front::TlsFront;
pub use tokens::{Signer, claims, now};
pub use upstream::{Received, Stage, Upstream};
pub use verdict::{Kind, Verdict, assert_refused, bearer, judge};
