//! A process that takes the place of another one; `handover` is the other side.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::handover::{ALL, AT_ONCE, BETWEEN, DISMISSED, READY, SUCCESSOR, TAKES_OVER};

/// What a process was started for.
pub(super) enum Role {
    /// By people or a service manager, to serve.
    First,
    /// To start a successor. That is done.
    Between,
    /// To take over.
    Successor(Successor),
}

impl Role {
    /// Ours. `program` is what a successor runs.
    ///
    /// # Errors
    /// The system's: the successor cannot be started, or whoever started us has gone.
    pub(super) fn take(program: Option<&Path>) -> io::Result<Self> {
        let what = std::env::var_os(TAKES_OVER);
        if what.as_ref().is_some_and(|what| what == BETWEEN) {
            let program = program.ok_or(io::ErrorKind::NotFound)?;
            Command::new(program)
                .args(std::env::args_os().skip(1))
                .env(TAKES_OVER, SUCCESSOR)
                .spawn()?;
            return Ok(Self::Between);
        }
        if what.is_some_and(|what| what == SUCCESSOR) {
            return Ok(Self::Successor(Successor::begin()?));
        }
        Ok(Self::First)
    }
}

/// A process that is to take the place of another one.
pub(super) struct Successor(std::os::unix::net::UnixStream);

impl Successor {
    fn begin() -> io::Result<Self> {
        let link = rustix::stdio::stdin().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let link = Self(link.into());
        link.say(&std::process::id().to_le_bytes())?;
        Ok(link)
    }

    /// The sockets that the other one listens on.
    ///
    /// # Errors
    /// The system's, if the other one has gone.
    pub(super) fn sockets(&self) -> io::Result<Vec<TcpListener>> {
        let mut sockets = Vec::new();
        let mut byte = [0];
        while byte != [ALL] {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut payload = [IoSliceMut::new(&mut byte)];
            let flags = RecvFlags::CMSG_CLOEXEC;
            if recvmsg(&self.0, &mut payload, &mut ancillary, flags)?.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(handles) = message {
                    sockets.extend(handles.map(TcpListener::from));
                }
            }
        }
        Ok(sockets)
    }

    /// Tells the other one, if it is still there. If it has died, all the more is this one needed.
    fn say(&self, word: &[u8]) -> io::Result<()> {
        match rustix::io::write(self.0.as_fd(), word) {
            Ok(_) | Err(Errno::PIPE) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// From now on the other one is not needed any more. Returns once the service manager has been
    /// told, which would not listen to us before; with nothing if the other one has been told to
    /// stop meanwhile, which is for both.
    ///
    /// # Errors
    /// The system's.
    pub(super) async fn ready(self) -> io::Result<Option<Predecessor>> {
        self.say(&[READY])?;
        self.0.set_nonblocking(true)?;
        let mut link = tokio::net::UnixStream::from_std(self.0)?;
        // It says so at once.
        let word = timeout(MOMENT, link.read_u8()).await;
        let is_wanted = !matches!(word, Ok(Ok(DISMISSED)));
        let predecessor = Predecessor(link);
        Ok(if is_wanted {
            Some(predecessor)
        } else {
            predecessor.outlive_us();
            None
        })
    }
}

/// The process whose place this one has taken, as long as it is there.
pub(super) struct Predecessor(tokio::net::UnixStream);

impl Predecessor {
    /// Waits until it has ended, or does not want to be waited for.
    pub(super) async fn gone(&mut self) {
        while self.0.read_u8().await.is_ok() {}
    }

    /// Keeps the link open until this process has ended in every respect: it may be waited for.
    pub(super) fn outlive_us(self) {
        std::mem::forget(self);
    }
}

/// How long one waits for a word that takes no time.
const MOMENT: Duration = Duration::from_secs(2);
