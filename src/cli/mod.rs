//! The command line: one file for each sub-command.

mod against;
mod check;
mod completions;
pub mod demo;
mod handover;
mod health;
pub mod keys;
mod man;
mod operator;
mod origin;
pub mod run;
mod schema;
mod service;
mod signals;
mod successor;
pub mod token;
mod upgrade;

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::clock::Clock;
use crate::crypto;
use crate::observe::messages::{self, Style};
use crate::observe::{panics, with_causes};

/// A gateway that terminates TLS, verifies JWTs in front of any upstream, and forwards who the
/// caller is in a header that nobody can forge.
#[derive(Debug, Parser)]
#[command(name = "jotgate", version, max_term_width = 100, after_help = EXAMPLES)]
struct Arguments {
    /// What is written to stderr: error, warn, info, debug or trace, or TARGET=LEVEL pairs.
    #[arg(
        long,
        global = true,
        env = "JOTGATE_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows everything at once: certificate, keys, upstream, gateway, and the curls to try it.
    Demo(demo::DemoArgs),
    /// Serves until SIGTERM or Ctrl-C.
    Run(ConfigArgs),
    /// Tells every problem with a configuration, or what it means; listens on nothing.
    Check(check::CheckArgs),
    #[command(after_help = health::EXAMPLES)]
    Health(health::HealthArgs),
    /// Lets a new version take the place of a running gateway, without a lost request.
    #[command(after_help = upgrade::EXAMPLES)]
    Upgrade(ConfigArgs),
    /// Makes key pairs.
    Keys(keys::KeysCommand),
    /// Makes and takes apart tokens, with nothing leaving this machine.
    Token(token::TokenCommand),
    /// Prints a JSON Schema of jotgate.toml, with which editors complete and check it.
    #[command(after_help = schema::EXAMPLES)]
    Schema,
    /// Prints a script that completes commands and options in a shell.
    Completions(completions::CompletionsArgs),
    /// Prints a page of the manual.
    Man(man::ManArgs),
}

/// Which configuration.
#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// The configuration file; paths in it are relative to its folder.
    #[arg(long, short, default_value = "jotgate.toml", value_name = "FILE")]
    config: PathBuf,
}

/// Reads the arguments and does what they say.
///
/// Exit codes: 0 done, 1 something failed on the way, 2 the arguments, the configuration or a
/// file that it names are not usable; for `demo`, `keys` and `token` whatever fails, but that
/// `token inspect` exits 1 for a token that the configuration refuses.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crypto::install();
    let style = if colored(&io::stderr()) {
        Style::Colored
    } else if service::has_journal() {
        Style::Journal
    } else {
        Style::Plain
    };
    let _until_the_end = match messages::init(&arguments.log, style) {
        Ok(messages) => messages,
        Err(error) => return fail(&error, UNUSABLE),
    };
    panics::tell();
    let clock = Clock::system();
    let mut out = io::stdout().lock();
    let done = match arguments.command {
        Command::Demo(args) => {
            drop(out);
            return demo::run(&args);
        }
        Command::Run(args) => {
            drop(out);
            return run::run(&args.config);
        }
        Command::Check(args) => return check::run(&args, &mut out),
        Command::Health(args) => health::run(&args).map_err(|error| fail(&error, FAILED)),
        Command::Upgrade(args) => {
            upgrade::run(&args.config, &mut out).map_err(|error| fail(&error, error.code()))
        }
        Command::Keys(command) => command
            .run(&clock, &mut out)
            .map_err(|error| fail(&error, UNUSABLE)),
        Command::Token(command) => {
            return command
                .run(&clock, &mut out)
                .unwrap_or_else(|error| fail(&error, UNUSABLE));
        }
        Command::Schema => schema::run(&mut out).map_err(|error| fail(&error, FAILED)),
        Command::Completions(args) => args.run(&mut out).map_err(|error| fail(&error, FAILED)),
        Command::Man(args) => args.run(&mut out).map_err(|error| match error {
            man::ManError::NoSuchCommand(_) => fail(&error, UNUSABLE),
            man::ManError::Output(_) => fail(&error, FAILED),
        }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

/// Says why it ends, and what lies beneath.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    messages::say(&format!("jotgate: {}", with_causes(error)));
    ExitCode::from(code)
}

/// Whether to colour what goes to this stream (no-color.org), by the rules that clap has for its
/// own help.
fn colored(stream: &impl IsTerminal) -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    stream.is_terminal() && !is_unwanted && !is_dumb
}

/// Something failed on the way.
const FAILED: u8 = 1;

/// What was asked for cannot be used as it is.
const UNUSABLE: u8 = 2;

const EXAMPLES: &str = "\
Start here:
  jotgate demo                      see it work, with keys and a configuration to keep
  jotgate check --config FILE       is this configuration right, and what does it mean?
  jotgate run --config FILE         serve it";
