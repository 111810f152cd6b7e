//! The accept loop: a connection, then a slot for it; it never gives up.
//!
//! Not the other way round: a loop that waited for its next connection with a slot in its hand
//! would keep that slot from the loops whose connections are there already.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::crowd::{Crowd, Parking, Place};
use super::listen::BACKLOG;
use super::phase::{Phase, PhaseWatch};

/// Accepts connections until the drain begins, then those that the kernel has already queued:
/// closing the socket would reset them.
///
/// `guests` get each with its place and slot.
pub(super) async fn accept_all(
    listener: TcpListener,
    crowd: &Arc<Crowd>,
    parking: &Parking,
    mut phase: PhaseWatch,
    guests: impl Guests,
) {
    let mut trouble = Trouble::default();
    let last = loop {
        let accepted = tokio::select! {
            biased;
            () = phase.reached(Phase::Draining) => break None,
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
        let Some(place) = guests.place(peer.ip()) else {
            guests.turn_away(peer);
            continue;
        };
        let slot = tokio::select! {
            slot = crowd.slot(parking) => slot,
            () = phase.reached(Phase::Draining) => None,
        };
        let Some(slot) = slot else {
            break Some((stream, peer, place));
        };
        guests.serve(stream, peer, (place, slot));
    };
    accept_queued(listener, crowd, &guests);
    // It has been accepted, and there is nobody else who could serve it.
    if let Some((stream, peer, place)) = last
        && let Some(slot) = crowd.slot(parking).await
    {
        guests.serve(stream, peer, (place, slot));
    }
}

/// Whoever takes care of those that have come.
pub(super) trait Guests {
    /// A place for one from this address, unless it has too many.
    fn place(&self, address: IpAddr) -> Option<Place>;

    /// Serves a connection, which keeps its place as long as it lives.
    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: (Place, OwnedSemaphorePermit));

    /// Notes one whose address has too many. It has been closed.
    fn turn_away(&self, peer: SocketAddr);
}

fn accept_queued(listener: TcpListener, crowd: &Arc<Crowd>, guests: &impl Guests) {
    let Ok(listener) = listener.into_std() else {
        return;
    };
    // Not for as long as more come: a successor may listen on the same socket, and serves those.
    for _ in 0..BACKLOG {
        let Some(slot) = crowd.free_slot() else {
            return;
        };
        let Ok((stream, peer)) = listener.accept() else {
            return;
        };
        let Ok(stream) = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream))
        else {
            continue;
        };
        match guests.place(peer.ip()) {
            Some(place) => guests.serve(stream, peer, (place, slot)),
            None => guests.turn_away(peer),
        }
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
