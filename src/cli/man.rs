//! `jotgate man`: the manual's pages, written from the definition of the command line.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Arguments;

/// `jotgate man`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// The command that the page is about; without it, jotgate itself.
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManError {
    /// No command is called that.
    #[error("there is no command {0:?}; jotgate --help lists them")]
    NoSuchCommand(String),
    /// The page could not be written.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl ManArgs {
    /// Writes the page.
    ///
    /// # Errors
    /// [`ManError`].
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), ManError> {
        // `help` only repeats what the pages say.
        let mut command = Arguments::command()
            .disable_help_subcommand(true)
            .mut_subcommands(|command| command.disable_help_subcommand(true));
        command.build();
        let mut found = &command;
        for name in &self.command {
            found = found
                .find_subcommand(name)
                .ok_or_else(|| ManError::NoSuchCommand(self.command.join(" ")))?;
        }
        out.write_all(page(found)?.as_bytes())?;
        Ok(())
    }
}

/// The page of a command. It is ASCII, so that it does not depend on what reads it.
fn page(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone().after_help(None::<&str>))
        // Not empty: an empty one would be left out, and what follows taken for the date.
        .date(" ")
        .source(concat!("jotgate ", env!("CARGO_PKG_VERSION")))
        .manual("jotgate");
    let mut page = Vec::new();
    man.render(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    if let Some(examples) = command.get_after_help() {
        let section = section_as_it_stands("EXAMPLES", &examples.to_string()).render();
        // What stands before it is the same preamble again.
        page.push_str(&section[section.find(".SH").unwrap_or(0)..]);
    }
    Ok(ascii(&page))
}

/// A section whose lines are not joined: commands must stay what they are.
fn section_as_it_stands(title: &str, text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]).control("nf", []);
    let text = text.strip_prefix("Examples:\n").unwrap_or(text);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

/// Writes other characters as the escapes that every reader of pages knows.
fn ascii(page: &str) -> String {
    let escaped = |c: char| {
        if c.is_ascii() {
            c.to_string()
        } else {
            format!("\\[u{:04X}]", u32::from(c))
        }
    };
    page.chars().map(escaped).collect()
}

const EXAMPLES: &str = "\
Examples:
  Read it now:
    jotgate man | man -l -
    jotgate man token mint | man -l -

  Install it:
    jotgate man > /usr/local/share/man/man1/jotgate.1
    jotgate man token mint > /usr/local/share/man/man1/jotgate-token-mint.1";
