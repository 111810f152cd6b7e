//! The sockets' way from a process to the one that takes its place.
//!
//! The successor is the program that stands where ours was started from, run with our arguments.
//! Its standard input is a Unix socket, over which it gets the listening sockets (unix(7),
//! `SCM_RIGHTS`) and on which it says when it is ready. Until then nothing has changed for us,
//! and if it does not come to that, nothing will.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use tokio::io::AsyncReadExt;
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

/// Starts `program` and gives it these sockets. Returns its process id once it is ready.
///
/// # Errors
/// [`HandoverError`]; then the new process is gone.
///
/// # Cancellation
/// Dropping the future ends the new process.
pub(super) async fn hand_over(
    program: &Path,
    sockets: &[TcpListener],
) -> Result<u32, HandoverError> {
    let failed = |error| HandoverError::Start(program.to_owned(), error);
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let successor = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(TAKES_OVER, "1")
        // What a service manager had meant for us. Its watchdog goes on to watch, whoever it is.
        .env_remove("LISTEN_PID")
        .env_remove("LISTEN_FDS")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(failed)?;
    let starting = Starting(Some(successor));
    introduce(ours, sockets).await?;
    Ok(starting.succeeds())
}

/// A process that is not ready yet. It ends if nobody waits for it any more.
struct Starting(Option<Child>);

impl Starting {
    fn succeeds(mut self) -> u32 {
        self.0.take().map_or(0, |successor| successor.id())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(successor) = &mut self.0 {
            // It may have ended by itself.
            let _ = successor.kill();
            let _ = successor.wait();
        }
    }
}

async fn introduce(ours: UnixStream, sockets: &[TcpListener]) -> Result<(), HandoverError> {
    send(&ours, sockets).map_err(HandoverError::Send)?;
    ours.set_nonblocking(true).map_err(HandoverError::Send)?;
    let mut ours = tokio::net::UnixStream::from_std(ours).map_err(HandoverError::Send)?;
    match timeout(PATIENCE, ours.read_u8()).await {
        Ok(Ok(READY)) => Ok(()),
        Ok(Ok(_) | Err(_)) => Err(HandoverError::Ended),
        Err(_) => Err(HandoverError::TimedOut),
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
    shutdown(to, Shutdown::Write)?;
    Ok(())
}

/// A process that is to take the place of another one.
pub(super) struct Successor;

impl Successor {
    /// If this process is one, and the sockets that it is given.
    ///
    /// # Errors
    /// The system's, if whatever started it gives it nothing.
    pub(super) fn begin() -> io::Result<Option<(Self, Vec<TcpListener>)>> {
        if std::env::var_os(TAKES_OVER).is_none() {
            return Ok(None);
        }
        let mut sockets = Vec::new();
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let mut payload = [IoSliceMut::new(&mut byte)];
            let received = recvmsg(
                rustix::stdio::stdin(),
                &mut payload,
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            if received.bytes == 0 {
                return Ok(Some((Self, sockets)));
            }
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(handles) = message {
                    sockets.extend(handles.map(TcpListener::from));
                }
            }
        }
    }

    /// From now on the other one is not needed any more.
    ///
    /// # Errors
    /// The system's, if the other one has gone.
    pub(super) fn ready(self) -> io::Result<()> {
        rustix::io::write(rustix::stdio::stdin(), &[READY])?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(())
    }
}

/// Set for a process that is to take over.
const TAKES_OVER: &str = "JOTGATE_TAKES_OVER";

/// Far fewer than the kernel passes at once (`SCM_MAX_FD`).
const AT_ONCE: usize = 64;

/// What is sent along with sockets, for something must be.
const SOCKETS: u8 = b's';
const READY: u8 = b'r';

/// Reading keys and certificates takes moments; a name server that does not answer is not waited
/// for.
const PATIENCE: Duration = Duration::from_secs(60);
