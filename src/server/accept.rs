//! The accept loop: a connection, then a slot for it; it never gives up.
//!
//! Not the other way round: a loop that waited for its next connection with a slot in its hand
//! would keep that slot from the loops whose connections are there already.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::phase::{Phase, PhaseWatch};

/// Accepts connections until the drain begins, then those that the kernel has already queued:
/// closing the socket would reset them.
///
/// `serve` gets each with its slot, which it holds as long as the connection lives.
pub(super) async fn accept_all(
    listener: TcpListener,
    slots: Arc<Semaphore>,
    mut phase: PhaseWatch,
    serve: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = phase.reached(Phase::Draining) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if concerns_one_connection(&error) => continue,
            Err(error) => {
                trouble.wait(&error).await;
                continue;
            }
        };
        let slot = tokio::select! {
            biased;
            slot = slots.clone().acquire_owned() => slot,
            () = phase.reached(Phase::Draining) => break,
        };
        // Nobody closes the semaphore.
        let Ok(slot) = slot else { break };
        serve(stream, peer, slot);
    }
    accept_queued(listener, &slots, serve);
}

fn accept_queued(
    listener: TcpListener,
    slots: &Arc<Semaphore>,
    serve: impl Fn(TcpStream, SocketAddr, OwnedSemaphorePermit),
) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok(slot) = slots.clone().try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        serve(stream, peer, slot);
    }
}

/// The client was gone before we could accept it: nothing of ours is amiss.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// What to do when no connection can be accepted, most likely for want of file descriptors: the
/// queue stays readable, so without a pause the loop would spin, and log as fast as it spins.
#[derive(Default)]
struct Trouble {
    last_warning: Option<Instant>,
}

impl Trouble {
    async fn wait(&mut self, error: &io::Error) {
        let is_time = self
            .last_warning
            .is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if is_time {
            self.last_warning = Some(Instant::now());
            warn!(%error, "cannot accept connections, trying again");
        }
        sleep(BACK_OFF).await;
    }
}

/// Long enough to cost nothing, short enough that nobody notices once there is room again.
const BACK_OFF: Duration = Duration::from_millis(100);

const WARN_EVERY: Duration = Duration::from_secs(5);
