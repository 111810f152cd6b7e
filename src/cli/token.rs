//! `jotgate token`: makes tokens for development, and shows what is in one.

pub mod inspect;
pub mod mint;
mod times;
mod verdict;

use std::io::Write;

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
    /// Runs the command and writes its result to `out`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn run(&self, clock: &Clock, out: &mut dyn Write) -> Result<(), TokenError> {
        match &self.action {
            TokenAction::Mint(args) => Ok(args.run(clock, out)?),
            TokenAction::Inspect(args) => Ok(args.run(clock, &mut std::io::stdin(), out)?),
        }
    }
}
