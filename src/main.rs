//! The `jotgate` command: arguments in, exit code out. Everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    jotgate::cli::main()
}
