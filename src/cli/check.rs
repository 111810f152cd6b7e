//! `jotgate check`: every problem, and then what was understood.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::run::{Loaded, load, report};
use super::{against, colored, health};
use crate::clock::{Clock, NumericDate};
use crate::keys::Key;
use crate::route::{Access, Route, Shape};
use crate::snapshot::Snapshot;
use crate::token::{self, TrustedIssuer};

/// What to check.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// The configuration file; paths in it are relative to its folder.
    #[arg(long, short, default_value = "jotgate.toml", value_name = "FILE")]
    config: PathBuf,
    /// Says nothing of a file that is good, but for warnings.
    #[arg(long, short)]
    quiet: bool,
    /// Also tells what the file would change of the gateway that runs, and answers the operator
    /// at this address [default: that of `admin` in the file]
    #[arg(long, value_name = "ADDRESS")]
    #[expect(clippy::option_option, reason = "absent, without a value, with one")]
    against: Option<Option<SocketAddr>>,
}

pub(super) fn run(args: &CheckArgs, out: &mut dyn Write) -> ExitCode {
    let path = &args.config;
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(error) => return report(&error),
    };
    if !loaded.problems.is_empty() {
        let shown = loaded
            .problems
            .render(&loaded.file.source, colored(&io::stderr()));
        // At once: what it means comes after it, on the other stream.
        let _ = writeln!(io::stderr(), "{shown}");
    }
    if !args.quiet
        && let Err(error) = describe(&loaded, Clock::system().numeric_date(), out)
    {
        return super::fail(&error, super::FAILED);
    }
    let address = match args.against {
        None => return ExitCode::SUCCESS,
        Some(Some(address)) => address,
        Some(None) => match health::address(path) {
            Ok(address) => address,
            Err(error) => return super::fail(&error, super::UNUSABLE),
        },
    };
    match against::run(&loaded.snapshot, address, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error, super::FAILED),
    }
}

/// Writes what a configuration means, in the order in which it is used.
///
/// # Errors
/// The output's.
pub(super) fn describe(loaded: &Loaded, now: NumericDate, out: &mut dyn Write) -> io::Result<()> {
    let snapshot = &loaded.snapshot;
    writeln!(out, "{} is good", loaded.file.source.path.display())?;
    writeln!(out, "\nroutes, in the order they are tried")?;
    for (shape, route) in snapshot.routes.iter_in_order() {
        describe_route(&shape, route, &snapshot.issuers, out)?;
    }
    if !snapshot.issuers.is_empty() {
        writeln!(out, "\nissuers")?;
    }
    for (issuer, configured) in snapshot.issuers.iter().zip(&loaded.file.config.issuers) {
        writeln!(
            out,
            "  {}: iss {:?}, aud {}, leeway {:?}",
            issuer.name,
            issuer.iss,
            configured
                .audiences
                .iter()
                .map(|aud| format!("{aud:?}"))
                .collect::<Vec<_>>()
                .join(" or "),
            issuer.leeway
        )?;
        for key in issuer.keys.iter() {
            describe_key(key, out)?;
        }
    }
    writeln!(out, "\ncertificates")?;
    describe_certificates(snapshot, now, out)
}

fn describe_certificates(
    snapshot: &Snapshot,
    now: NumericDate,
    out: &mut dyn Write,
) -> io::Result<()> {
    for certificate in snapshot.certificates.iter() {
        let path = certificate.path.display();
        let names = match &*certificate.names {
            [] => "no names".to_owned(),
            names => names.join(" "),
        };
        let validity = certificate.validity.describe_at(now);
        writeln!(out, "  {path}: {names}, {validity}")?;
    }
    for certificate in snapshot.shown_to_upstreams() {
        let path = certificate.path.display();
        let name = certificate.label();
        let validity = certificate.validity.describe_at(now);
        writeln!(out, "  {path}: {name}, {validity}, shown to upstreams")?;
    }
    Ok(())
}

fn describe_route(
    shape: &Shape<'_>,
    route: &Route,
    issuers: &[Arc<TrustedIssuer>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let host = shape
        .host
        .map_or_else(|| "*".to_owned(), ToString::to_string);
    let methods = shape.methods.map_or_else(String::new, |methods| {
        let names: Vec<_> = methods.iter().map(http::Method::as_str).collect();
        format!(" [{}]", names.join(" "))
    });
    write!(out, "  {host}{}{methods} -> {}", shape.path, route.to)?;
    match &*route.access {
        Access::Public => writeln!(out, ", public"),
        Access::Bearer { accepted, policy } => {
            let accepted = token::accepted(accepted, issuers);
            let issuers: Vec<&str> = accepted.map(|a| &*a.issuer.name).collect();
            let headers: Vec<&str> = policy
                .identity
                .iter()
                .map(|r| r.header().as_str())
                .collect();
            write!(out, ", token of {}", issuers.join(" or "))?;
            if headers.is_empty() {
                writeln!(out, ", no identity header")
            } else {
                writeln!(out, ", forwards {}", headers.join(", "))
            }
        }
    }
}

fn describe_key(key: &Key, out: &mut dyn Write) -> io::Result<()> {
    let name = key.kid().or(key.thumbprint()).unwrap_or("-");
    writeln!(
        out,
        "    key {name}: {}, {} ({})",
        key.description(),
        key.algorithms(),
        key.origin()
    )
}

const EXAMPLES: &str = "\
Examples:
  jotgate check --config /etc/jotgate/jotgate.toml
  jotgate check --config new.toml --against 127.0.0.1:9901";
