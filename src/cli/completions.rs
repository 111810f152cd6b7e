//! `jotgate completions`: what a shell needs to complete a command line.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use super::Arguments;

/// `jotgate completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Writes the script.
    ///
    /// # Errors
    /// The output's.
    pub(super) fn run(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut command = Arguments::command();
        // Into memory first: the generator panics where the output fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "jotgate", &mut script);
        out.write_all(&script)
    }
}

const EXAMPLES: &str = "\
Examples:
  bash, for this user:
    mkdir -p ~/.local/share/bash-completion/completions
    jotgate completions bash > ~/.local/share/bash-completion/completions/jotgate

  zsh, into a folder that is in $fpath:
    jotgate completions zsh > ~/.zfunc/_jotgate

  fish:
    jotgate completions fish > ~/.config/fish/completions/jotgate.fish

  elvish, in rc.elv:
    eval (jotgate completions elvish | slurp)

  PowerShell, in $PROFILE:
    jotgate completions powershell | Out-String | Invoke-Expression";
