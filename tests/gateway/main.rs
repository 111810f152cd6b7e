//! The gateway, seen from outside: real sockets, real TLS, real files, keys made at run time.

// One binary: what a module shares with the others is public, and cannot be reached from outside.
#![allow(unreachable_pub)]
// All of this is test code, where a panic is how to say that something is wrong; clippy counts
// only the bodies of tests as such.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod against;
mod architecture;
mod bodies;
mod chaos;
mod colors;
mod command;
mod credentials;
mod crowds;
mod deploy;
mod docs;
mod endings;
mod examples;
mod files;
mod forwarded;
mod framing;
mod harness;
mod health;
mod http2;
mod hygiene;
mod identity;
mod idioms;
mod keys;
mod life;
mod manual;
mod memory;
mod mistakes;
mod overstaying;
mod probe;
mod proxy_protocol;
mod reach;
mod redirect;
mod reload;
mod request_id;
mod resumption;
mod rotation;
mod schema;
mod series;
mod smoke;
mod targets;
mod tls;
mod tokens;
mod upgrade;
mod upgrades;
mod uploads;
mod upstreams;
mod vectors;
mod writing;
