//! `jotgate upgrade`: lets a new process take the place of a running one.
//!
//! All the work is the running process's (see `handover`); this asks for it and waits until
//! another process answers the operator.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::health::{self, Unhealthy};
use super::{FAILED, UNUSABLE};

/// Why there is no other process.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// There is nobody to ask.
    #[error("no gateway is running that could be upgraded")]
    NotRunning(#[source] Unhealthy),
    /// Whoever answers is no gateway that could.
    #[error("the gateway does not say which process it is")]
    Unnamed,
    /// What it says names somebody else, such as in another container.
    #[error("process {0} on this machine is no jotgate")]
    Foreign(u32),
    /// We may not.
    #[error("cannot signal process {0}")]
    Signal(u32, #[source] io::Error),
    /// It went on by itself.
    #[error("process {0} is still the one that serves; its log says why")]
    Failed(u32),
    /// It has ended, and so has whoever was to take its place.
    #[error("process {0} has ended, and no other has taken its place")]
    Gone(u32),
    /// The result cannot be told.
    #[error("cannot write")]
    Output(#[from] io::Error),
}

impl UpgradeError {
    /// The exit code: whether the gateway has tried at all.
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::NotRunning(_) | Self::Unnamed | Self::Foreign(_) | Self::Signal(..) => UNUSABLE,
            Self::Failed(_) | Self::Gone(_) | Self::Output(_) => FAILED,
        }
    }
}

/// Asks the gateway of a configuration to start what stands now where it was started from.
///
/// # Errors
/// [`UpgradeError`].
pub(super) fn run(config: &Path, out: &mut impl Write) -> Result<(), UpgradeError> {
    let before = serving(config).map_err(UpgradeError::NotRunning)?;
    let before = before.ok_or(UpgradeError::Unnamed)?;
    let old = before.process;
    if !is_ours(old) {
        return Err(UpgradeError::Foreign(old));
    }
    let process = i32::try_from(old).ok().and_then(Pid::from_raw);
    let process = process.ok_or(UpgradeError::Unnamed)?;
    kill_process(process, Signal::USR2).map_err(|error| UpgradeError::Signal(old, error.into()))?;
    let deadline = Instant::now() + PATIENCE;
    let mut gone_since = None;
    let mut heard = 0;
    while Instant::now() < deadline {
        // Until it is over, either of them may answer.
        match serving(config) {
            Ok(Some(Serving { process, .. })) if process != old => {
                heard += 1;
                if heard == HEARD_ALONE {
                    writeln!(out, "process {process} has taken over from {old}")?;
                    return Ok(());
                }
            }
            Ok(Some(now)) if now.failures > before.failures => break,
            Err(_) if test_kill_process(process) == Err(Errno::SRCH) => {
                let since = *gone_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE_WITH_NOBODY {
                    return Err(UpgradeError::Gone(old));
                }
            }
            Ok(_) | Err(_) => heard = 0,
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(UpgradeError::Failed(old))
}

/// Whether a process of this number is one of this program, as far as the system tells, whatever
/// its version is called: who answers may live in a container, or be anybody.
fn is_ours(process: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm"));
    match name {
        Ok(name) => name.starts_with(env!("CARGO_PKG_NAME")),
        // There is no such file on other systems than Linux.
        Err(_) => !Path::new("/proc/self/comm").exists(),
    }
}

/// The process that answers the operator.
struct Serving {
    process: u32,
    /// How many upgrades of it came to nothing.
    failures: u64,
}

fn serving(config: &Path) -> Result<Option<Serving>, Unhealthy> {
    let text = health::readyz(health::address(config)?)?;
    let number = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.parse().ok())
    };
    let process = number("process ").and_then(|process| u32::try_from(process).ok());
    Ok(process.map(|process| Serving {
        process,
        failures: number("failed upgrades ").unwrap_or(0),
    }))
}

/// A little longer than the gateway waits for its successor.
const PATIENCE: Duration = Duration::from_secs(65);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often in a row the new one answers before the old one is believed to answer no more: until
/// then it could be asked for the next upgrade, and would not do it.
const HEARD_ALONE: usize = 3;

/// The old process may be gone just before the new one answers.
const PATIENCE_WITH_NOBODY: Duration = Duration::from_secs(2);

pub(super) const EXAMPLES: &str = "\
The running process starts the program that stands now where it was started from, with the same
arguments, hands it the listening sockets, and drains once the new one is ready. If the new one
does not get ready, nothing changes. [listen] admin must be there.

Exit code 0 if another process serves now, 1 if none has taken over, and 2 if there was nobody to
ask.

Examples:
  install -m 0755 jotgate-new /usr/bin/jotgate && jotgate upgrade --config /etc/jotgate/jotgate.toml";
