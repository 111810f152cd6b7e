//! How many may come in, in all and from one address, and who goes when it is full.
//!
//! When no slot is left, a connection that waits for its next request gives way to one that has
//! one: the one that has waited longest goes first. Each worker knows its own; one that has none
//! asks the others.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::observe::{ConnectionState, Metrics, OpenConnection};

/// The connections of all workers.
#[derive(Debug)]
pub(super) struct Crowd {
    slots: Arc<Semaphore>,
    /// Accepted connections that have no slot yet.
    waiting: AtomicUsize,
    /// Connections that have been asked to go for them; never more than these.
    leaving: AtomicUsize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
    /// One for each worker: told when another one needs a slot.
    workers: Mutex<Vec<Arc<Notify>>>,
}

/// One of an address's connections.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    /// As which it is counted, if it is.
    address: Option<IpAddr>,
}

impl Crowd {
    /// At most this many connections.
    pub(super) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(total)),
            waiting: AtomicUsize::new(0),
            leaving: AtomicUsize::new(0),
            addresses: Mutex::default(),
            workers: Mutex::default(),
        })
    }

    /// A place for a connection from this address, unless it has as many as the `limit`. Without
    /// one it is not counted: those that speak for many may have as many as there are.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr, limit: Option<usize>) -> Option<Place> {
        let Some(limit) = limit else {
            return Some(Place {
                crowd: self.clone(),
                address: None,
            });
        };
        let address = counted_as(address);
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place {
            crowd: self.clone(),
            address: Some(address),
        })
    }

    /// A slot, once there is one. Connections with nothing to do are asked to go.
    pub(super) async fn slot(&self, parking: &Parking) -> Option<OwnedSemaphorePermit> {
        if let Some(slot) = self.free_slot() {
            return Some(slot);
        }
        let _waiting = Waiting::begin(self);
        let mut slot = std::pin::pin!(self.slots.clone().acquire_owned());
        loop {
            if !parking.evict() {
                self.ask_others();
            }
            match timeout(ASK_AGAIN_AFTER, slot.as_mut()).await {
                // Nobody closes the semaphore.
                Ok(slot) => return slot.ok(),
                // Whoever was asked to go takes its time. Somebody else may be quicker.
                Err(_) => self.none_goes(),
            }
        }
    }

    /// A slot, if there is one now.
    pub(super) fn free_slot(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().try_acquire_owned().ok()
    }

    /// Notes that one connection more is asked to go, unless enough have been.
    fn let_one_go(&self) -> bool {
        let wanted = self.waiting.load(Ordering::Relaxed);
        let one_more = |leaving| (leaving < wanted).then_some(leaving + 1);
        let noted = self
            .leaving
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        noted.is_ok()
    }

    /// Takes back what [`let_one_go`](Self::let_one_go) noted, or does so once it has come true.
    fn none_goes(&self) {
        let one_less = |leaving: usize| leaving.checked_sub(1);
        let _ = self
            .leaving
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }

    fn ask_others(&self) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().for_each(|worker| worker.notify_one());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let addresses = &self.crowd.addresses;
        let mut addresses = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

struct Waiting<'c>(&'c Crowd);

impl<'c> Waiting<'c> {
    fn begin(crowd: &'c Crowd) -> Self {
        crowd.waiting.fetch_add(1, Ordering::Relaxed);
        Self(crowd)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.none_goes();
    }
}

/// One worker's connections that wait for their next request, the longest wait first.
#[derive(Debug)]
pub(super) struct Parking {
    crowd: Arc<Crowd>,
    metrics: Arc<Metrics>,
    parked: RefCell<BTreeMap<u64, Rc<Eviction>>>,
    next: Cell<u64>,
}

/// One of them, for as long as it waits.
#[derive(Debug)]
pub(super) struct Parked {
    parking: Rc<Parking>,
    number: u64,
    eviction: Rc<Eviction>,
    _counted: OpenConnection,
}

/// Whether one has been asked to go.
#[derive(Debug, Default)]
struct Eviction {
    asked: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Parking {
    /// With nobody in it. Must be called on the worker's runtime, where it listens to others.
    pub(super) fn new(crowd: Arc<Crowd>, metrics: Arc<Metrics>) -> Rc<Self> {
        let wanted = Arc::new(Notify::new());
        let mut workers = crowd.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(wanted.clone());
        drop(workers);
        let parking = Rc::new(Self {
            crowd,
            metrics,
            parked: RefCell::default(),
            next: Cell::new(0),
        });
        let listening = Rc::downgrade(&parking);
        tokio::task::spawn_local(async move {
            loop {
                wanted.notified().await;
                let Some(parking) = listening.upgrade() else {
                    return;
                };
                // Several may have asked before this ran.
                while parking.evict() {}
            }
        });
        parking
    }

    /// Begins to wait. Where it is full, the one that has waited longest goes at once.
    pub(super) fn park(self: &Rc<Self>) -> Parked {
        let number = self.next.get();
        self.next.set(number + 1);
        let eviction = Rc::new(Eviction::default());
        self.parked.borrow_mut().insert(number, eviction.clone());
        self.evict();
        Parked {
            parking: self.clone(),
            number,
            eviction,
            _counted: self.metrics.enter(ConnectionState::Parked),
        }
    }

    /// Asks the one that has waited longest to go, if somebody waits for that. Whether there was
    /// one.
    fn evict(&self) -> bool {
        if !self.crowd.let_one_go() {
            return false;
        }
        let oldest = self.parked.borrow_mut().pop_first();
        if oldest.is_none() {
            self.crowd.none_goes();
        }
        if let Some((_, eviction)) = &oldest {
            eviction.asked.set(true);
            if let Some(waker) = eviction.waker.borrow_mut().take() {
                waker.wake();
            }
        }
        oldest.is_some()
    }
}

impl Parked {
    /// Resolves when it has to go.
    pub(super) async fn evicted(&self) {
        std::future::poll_fn(|cx| self.poll_evicted(cx)).await;
    }

    /// Whether it has to go now.
    pub(super) fn poll_evicted(&self, cx: &Context<'_>) -> Poll<()> {
        if self.eviction.asked.get() {
            return Poll::Ready(());
        }
        *self.eviction.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.parking.parked.borrow_mut().remove(&self.number);
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it as well.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// How long one that was asked to go may take before another one is asked.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_a_network_of_ipv6_is_one() {
        let crowd = Crowd::new(10);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = crowd.place(address("192.0.2.1"), Some(2)).unwrap();
        let _two = crowd.place(address("::ffff:192.0.2.1"), Some(2)).unwrap();
        assert!(crowd.place(address("192.0.2.1"), Some(2)).is_none());
        assert!(crowd.place(address("192.0.2.2"), Some(2)).is_some());
        drop(one);
        assert!(crowd.place(address("192.0.2.1"), Some(2)).is_some());
        let _six: Vec<_> = ["2001:db8::1", "2001:db8::ffff:2"]
            .map(|text| crowd.place(address(text), Some(2)).unwrap())
            .into();
        assert!(crowd.place(address("2001:db8::3"), Some(2)).is_none());
        assert!(crowd.place(address("2001:db8:0:1::3"), Some(2)).is_some());
    }

    #[test]
    fn those_without_a_limit_have_as_many_as_there_are() {
        let crowd = Crowd::new(10);
        let all: Vec<_> = (0..5)
            .map(|_| crowd.place(IpAddr::from([192, 0, 2, 1]), None))
            .collect();
        assert!(all.iter().all(Option::is_some));
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let crowd = Crowd::new(10);
        drop(crowd.place(IpAddr::from([192, 0, 2, 1]), Some(2)));
        assert!(crowd.addresses.lock().unwrap().is_empty());
    }
}
