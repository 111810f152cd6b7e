//! `jotgate schema`: the configuration file's JSON Schema, for editors.

use std::io::{self, Write};

use crate::config;

/// Writes the schema.
///
/// # Errors
/// The output's.
pub(super) fn run(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{:#}", config::json_schema())
}

pub(super) const EXAMPLES: &str = "\
Examples:
  Once, beside jotgate.toml, and again after an update of jotgate:
    jotgate schema > jotgate.schema.json

  Then, as the first line of jotgate.toml, for editors with Taplo (Even Better TOML):
    #:schema ./jotgate.schema.json

An editor sees what a value looks like. What values say of each other is for jotgate check.";
