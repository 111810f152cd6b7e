//! `jotgate token`: makes tokens for development, and shows what is in one.

pub mod inspect;
pub mod mint;
mod times;
mod verdict;

use std::io::Write;
use std::process::ExitCode;

use super::FAILED;
use crate::clock::Clock;

/// `jotgate token`.
#[derive(Debug, clap::Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Debug, clap::Subcommand)]
enum TokenAction {
    /// Sign a token, for development and tests
    Mint(Box<mint::MintArgs>),
    /// Show what is in a token, without verifying it
    Inspect(inspect::InspectArgs),
}

/// Why a token command failed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// No token was made.
    #[error(transparent)]
    Mint(#[from] mint::MintError),
    /// No token could be read.
    #[error(transparent)]
    Inspect(#[from] inspect::InspectError),
}

impl TokenCommand {
    /// Runs the command and writes its result to `out`. That a configuration refuses a token is a
    /// result, with a code that scripts can see.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn run(&self, clock: &Clock, out: &mut dyn Write) -> Result<ExitCode, TokenError> {
        match &self.action {
            TokenAction::Mint(args) => args.run(clock, out)?,
            TokenAction::Inspect(args) => {
                if args.run(clock, &mut std::io::stdin(), out)? == Some(false) {
                    return Ok(ExitCode::from(FAILED));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
