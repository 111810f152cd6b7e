//! The sockets' way from a process to the one that takes its place; `successor` is the other side.
//!
//! The successor is the program that stands where ours was started from, run with our arguments.
//! Its standard input is a Unix socket, the link, over which it gets the listening sockets
//! (unix(7), `SCM_RIGHTS`) and on which it says when it is ready. Until then nothing has changed
//! for us, and if it does not come to that, nothing will.
//!
//! It is nobody's child but the system's: what we start ends as soon as it has started the one that
//! stays. A service manager must hear of its end, and hears of its own children only.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Why nobody took our place.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    /// Nobody could.
    #[error("this process cannot be upgraded: it is a demo, or the first one of a container")]
    Unable,
    /// The program is not there, or cannot be run.
    #[error("cannot start {}", .0.display())]
    Start(PathBuf, #[source] io::Error),
    /// It does not take the sockets.
    #[error("the new process does not take the sockets")]
    Send(#[source] io::Error),
    /// It ended, most likely because it cannot use the configuration; it has said so itself.
    #[error("the new process ended before it was ready")]
    Ended,
    /// It takes too long.
    #[error("the new process was not ready within {PATIENCE:?}")]
    TimedOut,
}

/// The process that is ready to take our place.
#[derive(Debug)]
pub(super) struct Heir {
    /// Its process id.
    pub(super) process: u32,
    link: UnixStream,
}

impl Heir {
    /// Tells it that everybody knows now who it is.
    pub(super) async fn is_known(&mut self) {
        // If it is gone, there is nobody to tell.
        let _ = self.link.write_u8(KNOWN).await;
    }

    /// Keeps the link open until this process has ended in every respect, for the successor takes
    /// its end for that.
    pub(super) fn outlive_us(self) {
        std::mem::forget(self);
    }
}

/// Starts `program` and gives it these sockets. Returns once the new process is ready.
///
/// # Errors
/// [`HandoverError`]; then the new process is gone.
///
/// # Cancellation
/// Dropping the future ends the new process.
pub(super) async fn hand_over(
    program: &Path,
    sockets: &[TcpListener],
) -> Result<Heir, HandoverError> {
    let failed = |error| HandoverError::Start(program.to_owned(), error);
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let theirs = theirs.into_std().map_err(failed)?;
    theirs.set_nonblocking(false).map_err(failed)?;
    let between = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(TAKES_OVER, BETWEEN)
        // What a service manager had meant for us. Its watchdog goes on to watch, whoever it is.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut starting = Starting {
        between,
        successor: None,
        link: Some(ours),
    };
    timeout(PATIENCE, starting.get_ready(sockets))
        .await
        .map_err(|_| HandoverError::TimedOut)?
}

/// A process that is not ready yet. It ends if nobody waits for it any more.
struct Starting {
    /// The one that starts it, which ends with this.
    between: Child,
    /// Its process id, once it is there.
    successor: Option<u32>,
    /// `None` once it is ready.
    link: Option<UnixStream>,
}

impl Starting {
    async fn get_ready(&mut self, sockets: &[TcpListener]) -> Result<Heir, HandoverError> {
        let link = self.link.as_mut().ok_or(HandoverError::Ended)?;
        send(link, sockets).map_err(HandoverError::Send)?;
        let ended = |_| HandoverError::Ended;
        let process = link.read_u32_le().await.map_err(ended)?;
        self.successor = Some(process);
        // It has done its work, and from now on the successor is no child of it, nor of ours.
        self.between.wait().await.map_err(ended)?;
        if link.read_u8().await.map_err(ended)? != READY {
            return Err(HandoverError::Ended);
        }
        let link = self.link.take().ok_or(HandoverError::Ended)?;
        Ok(Heir { process, link })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let Some(link) = &self.link else {
            return;
        };
        // As long as the other end is open, the number is still that of the one who sent it.
        let is_open = recv(link, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) != Ok((0, 0));
        let process = self.successor.and_then(|id| i32::try_from(id).ok());
        if let Some(process) = process.and_then(Pid::from_raw)
            && is_open
        {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}

fn send(to: &UnixStream, sockets: &[TcpListener]) -> io::Result<()> {
    for some in sockets.chunks(AT_ONCE) {
        let handles: Vec<BorrowedFd<'_>> = some.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&handles));
        let payload = [IoSlice::new(&[SOCKETS])];
        sendmsg(to, &payload, &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    let payload = [IoSlice::new(&[ALL])];
    sendmsg(
        to,
        &payload,
        &mut SendAncillaryBuffer::default(),
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Set for a process that is to take over, and for the one that starts it.
pub(super) const TAKES_OVER: &str = "JOTGATE_TAKES_OVER";
/// For the one that starts it, and ends.
pub(super) const BETWEEN: &str = "start";
/// For the one that stays.
pub(super) const SUCCESSOR: &str = "serve";

/// Far fewer than the kernel passes at once (`SCM_MAX_FD`).
pub(super) const AT_ONCE: usize = 64;

/// Comes with sockets.
const SOCKETS: u8 = b's';
/// Comes after the last of them.
pub(super) const ALL: u8 = b'a';
/// The successor's, after its process id.
pub(super) const READY: u8 = b'r';
/// The last word: the service manager has been told.
const KNOWN: u8 = b'k';

/// Reading keys and certificates takes moments; a name server that does not answer is not waited
/// for.
const PATIENCE: Duration = Duration::from_secs(60);
