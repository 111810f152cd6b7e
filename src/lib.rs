//! jotgate: a gateway (RFC 9110 §3.7) that terminates TLS, decides who is asking by a JWT, and
//! only then lets the request through to an upstream that trusts it.
//!
//! # The map, in the order a request meets it
//!
//! | module | what it decides |
//! |---|---|
//! | [`server`] | who may connect: listeners, workers, one connection's life, the drain |
//! | [`tls`] | which certificate answers a name |
//! | [`proxy`] | **the request's life**: admit, forward, one access event; start at `proxy::handle` |
//! | [`route`] | which route a head belongs to: canonical host and path, patterns, the table |
//! | [`token`] | whether a credential is a good token: strict parsing, claims, the cache |
//! | [`keys`] | with which keys: algorithms, key sets, PEM, JWK and secret files |
//! | [`policy`] | whether this token may do this; the only maker of a `Permit` |
//! | [`upstream`] | where the request goes: targets, connections, the pool |
//!
//! Around them: [`config`] turns the file into checked values, [`snapshot`] builds from those
//! everything that a request needs, [`control`] keeps that what the files say, [`trust`] knows
//! whose word about a client is believed, [`via`] who we are to others, [`observe`] tells what
//! happened, [`admin`] answers the operator, [`cli`] puts it all together, [`clock`], [`crypto`]
//! and [`json`] are what their names say, `pem_text` finds blocks that readers of PEM would pass
//! over, `exposure` files that others can read and should not, [`pieces`] says how much hyper reads
//! at once, and `socket` how it writes.

pub mod admin;
mod base64url;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod crypto;
mod exposure;
pub mod json;
pub mod keys;
pub mod observe;
mod pem_text;
pub mod pieces;
pub mod policy;
pub mod proxy;
pub mod route;
pub mod server;
pub mod snapshot;
mod socket;
pub mod tls;
pub mod token;
pub mod trust;
pub mod upstream;
pub mod via;
