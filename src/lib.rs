//! jotgate: a gateway (RFC 9110 §3.7) that terminates TLS, decides who is asking by a JWT, and
//! only then lets the request through to an upstream that trusts it.

pub mod admin;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod json;
pub mod keys;
pub mod observe;
pub mod policy;
pub mod proxy;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod tls;
pub mod token;
pub mod upstream;
