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
use std::process::{ExitStatus, Stdio};
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
    /// The system does not let us pass the sockets on.
    #[error("the sockets cannot be handed over")]
    Send(#[source] io::Error),
    /// It ended, most likely because it cannot use the configuration, of which it has said so
    /// itself; or because the program is none of ours.
    #[error("the new process ended before it was ready")]
    Ended(#[source] Fate),
    /// It takes too long.
    #[error("the new process was not ready within {PATIENCE:?}")]
    TimedOut,
}

/// What is known of its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fate {
    /// The program did not get as far as to start one that stays.
    #[error("{0}, and it has not said which process takes over")]
    Exited(ExitStatus),
    /// It is no child of ours.
    #[error("what it has said of it stands before this line")]
    SaidItself,
}

/// The process that is to take our place. Dropped before it is ready, it ends.
#[derive(Debug)]
pub(super) struct Heir {
    /// The one that starts it, and ends.
    between: Child,
    /// Its process id, once it is there.
    process: Option<u32>,
    link: UnixStream,
    is_ready: bool,
}

impl Heir {
    /// Starts `program` in `directory`, as we were, with these sockets.
    ///
    /// # Errors
    /// [`HandoverError::Start`] and [`HandoverError::Send`].
    pub(super) fn start(
        program: &Path,
        directory: &Path,
        sockets: &[TcpListener],
    ) -> Result<Self, HandoverError> {
        let failed = |error| HandoverError::Start(program.to_owned(), error);
        let (link, theirs) = UnixStream::pair().map_err(failed)?;
        let theirs = theirs.into_std().map_err(failed)?;
        theirs.set_nonblocking(false).map_err(failed)?;
        // Before it is there: from its first moment on it can do without us.
        send(&link, sockets).map_err(HandoverError::Send)?;
        let mut between = Command::new(program);
        // The one that we are in may have been moved away.
        if directory.is_dir() {
            between.current_dir(directory).env("PWD", directory);
        }
        let between = between
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
        Ok(Self {
            between,
            process: None,
            link,
            is_ready: false,
        })
    }

    /// Waits until it is ready. Returns its process id.
    ///
    /// # Errors
    /// [`HandoverError`], if it does not come to that.
    pub(super) async fn get_ready(&mut self) -> Result<u32, HandoverError> {
        timeout(PATIENCE, self.take())
            .await
            .map_err(|_| HandoverError::TimedOut)?
    }

    async fn take(&mut self) -> Result<u32, HandoverError> {
        let ended = |_| HandoverError::Ended(Fate::SaidItself);
        let Ok(process) = self.link.read_u32_le().await else {
            // A program that is none of ours may have closed the link and go on.
            let fate = match timeout(MOMENT, self.between.wait()).await {
                Ok(Ok(status)) if !status.success() => Fate::Exited(status),
                Ok(_) | Err(_) => Fate::SaidItself,
            };
            return Err(HandoverError::Ended(fate));
        };
        self.process = Some(process);
        // It has done its work, and from now on the heir is no child of it, nor of ours.
        self.between.wait().await.map_err(ended)?;
        if self.link.read_u8().await.map_err(ended)? != READY {
            return Err(ended(io::ErrorKind::InvalidData.into()));
        }
        self.is_ready = true;
        Ok(process)
    }

    /// Tells it that everybody knows now who it is.
    pub(super) async fn is_known(&mut self) {
        // If it is gone, there is nobody to tell.
        let _ = self.link.write_u8(KNOWN).await;
    }

    /// Tells it that it is not wanted any more. What it has begun to serve it brings to its end.
    pub(super) async fn dismiss(&mut self) {
        self.say_that_it_is_dismissed();
        if !self.is_ready {
            self.give_up();
        }
        let _ = self.link.shutdown().await;
    }

    /// Instead of the word that it waits for. If it hears of nothing but our end, we have died, and
    /// it serves.
    fn say_that_it_is_dismissed(&self) {
        // If it is gone, there is nobody to tell; and there is room for the only byte.
        let _ = self.link.try_write(&[DISMISSED]);
    }

    /// Waits until it has ended.
    pub(super) async fn gone(&mut self) {
        while self.link.read_u8().await.is_ok() {}
    }

    /// Keeps the link open until this process has ended in every respect, for the heir takes its
    /// end for that.
    pub(super) fn outlive_us(self) {
        std::mem::forget(self);
    }

    /// As long as it listens on nothing, the signal ends it at once.
    fn give_up(&mut self) {
        // Any of them may have ended by itself.
        let _ = self.between.start_kill();
        // As long as the other end is open, the number is still that of the one who sent it.
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let is_there = recv(&self.link, &mut [0; 1], flags) != Ok((0, 0));
        let process = self.process.and_then(|id| i32::try_from(id).ok());
        if let Some(process) = process.and_then(Pid::from_raw)
            && is_there
        {
            let _ = kill_process(process, Signal::TERM);
        }
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if !self.is_ready {
            self.say_that_it_is_dismissed();
            self.give_up();
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
pub(super) const KNOWN: u8 = b'k';
/// Comes instead where it is not to serve after all.
pub(super) const DISMISSED: u8 = b'd';

/// Reading keys and certificates takes moments; a name server that does not answer is not waited
/// for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one waits for the end of what has said its last word.
const MOMENT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[tokio::test]
    async fn of_a_program_that_cannot_take_over_its_exit_status_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut heir = Heir::start(Path::new("/bin/false"), folder.path(), &[]).unwrap();
        let error = heir.get_ready().await.unwrap_err();
        let why = error.source().unwrap().to_string();
        assert!(why.starts_with("exit status: 1,"), "{why}");
    }
}
