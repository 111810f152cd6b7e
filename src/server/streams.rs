//! The streams of one HTTP/2 connection, run in the connection's own task.
//!
//! hyper wants a future run for each stream. A task of its own for each would be made and let go
//! with every request, in memory that allocators are slow to find: tokio aligns tasks to 128 bytes.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::task::coop::unconstrained;

use crate::proxy::{Delivery, Downstream};

/// All streams of a connection that are under way.
#[derive(Default)]
pub(super) struct Streams {
    new: Rc<RefCell<Vec<Running>>>,
    running: FuturesUnordered<Running>,
}

type Running = Pin<Box<dyn Future<Output = ()>>>;

impl Streams {
    /// What hyper hands new streams to, each right after its request has been received.
    pub(super) fn executor(&self, downstream: &Rc<Downstream>) -> StreamExecutor {
        StreamExecutor {
            downstream: downstream.clone(),
            new: self.new.clone(),
        }
    }

    /// Lets the streams go on, and then their connection; and once more if it has opened streams.
    pub(super) fn take_turns<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut connection: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        for turns_left in (0..TURNS_AT_ONCE).rev() {
            // Before the connection, which then writes what they have to say in one go. So a
            // stream that breaks off later cannot take back the head of its answer.
            self.go_on(cx);
            if let Poll::Ready(end) = connection(cx) {
                return Poll::Ready(end);
            }
            if !self.take_new() {
                break;
            }
            // A client whose requests never end does not keep the worker from others.
            if turns_left == 0 {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Takes those in that are new, to begin when it goes on. Whether there were any.
    fn take_new(&mut self) -> bool {
        let mut new = self.new.borrow_mut();
        let has_new = !new.is_empty();
        self.running.extend(new.drain(..));
        has_new
    }

    /// Lets those go on that were woken, and wakes the task when there are more.
    fn go_on(&mut self, cx: &mut Context<'_>) {
        let running = &mut self.running;
        // They are as many as the client may have, and each has but its turn. What tokio lets a
        // task do at once is left to the connection, which has to write what they say.
        let mut turns = unconstrained(std::future::poll_fn(|cx| {
            while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
            Poll::<()>::Pending
        }));
        let _pending = Pin::new(&mut turns).poll(cx);
    }
}

/// One for what is under way, and one to begin what is new.
const TURNS_AT_ONCE: u32 = 2;

/// Takes what hyper wants to have run.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    downstream: Rc<Downstream>,
    new: Rc<RefCell<Vec<Running>>>,
}

impl<F: Future<Output: 'static> + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, future: F) {
        let delivery = self.downstream.deliveries.take_new();
        let stream = Box::pin(Stream { delivery, future });
        self.new.borrow_mut().push(stream);
    }
}

pin_project! {
    /// One stream, for as long as its answer is not cut. When it is dropped, it is reset, and no
    /// other is. Not an `async` block: that would hold the future twice, as what it was given and
    /// as what it waits for.
    struct Stream<F> {
        delivery: Option<Rc<Delivery>>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let delivery = this.delivery.as_ref();
        if delivery.is_some_and(|delivery| delivery.poll_cut(cx).is_ready()) {
            return Poll::Ready(());
        }
        // A panic is the end of this stream, not of its connection.
        catch_unwind(AssertUnwindSafe(|| this.future.poll(cx).map(drop))).unwrap_or(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    fn stream(future: impl Future<Output = ()> + 'static) -> Running {
        let delivery = None;
        Box::pin(Stream { delivery, future })
    }

    #[test]
    fn what_a_new_stream_wants_to_have_run_is_new_in_its_turn() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut streams, is_done) = (Streams::default(), Rc::new(Cell::new(false)));
        let (new, done) = (streams.new.clone(), is_done.clone());
        let first = async move { new.borrow_mut().push(stream(async move { done.set(true) })) };
        streams.new.borrow_mut().push(stream(first));
        while streams.take_new() {
            streams.go_on(cx);
        }
        assert!(is_done.get() && streams.running.is_empty());
    }

    #[test]
    fn a_client_whose_requests_never_end_leaves_the_worker_to_others_and_goes_on_later() {
        #[derive(Default)]
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let (mut streams, mut turns) = (Streams::default(), 0);
        let new = streams.new.clone();
        let pending = streams.take_turns(&mut Context::from_waker(&waker), |_| {
            turns += 1;
            assert!(turns <= TURNS_AT_ONCE);
            new.borrow_mut().push(stream(async {}));
            Poll::<()>::Pending
        });
        assert!(pending.is_pending() && woken.0.load(Ordering::Relaxed));
    }

    #[test]
    fn a_stream_that_panics_ends_alone() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut streams, polled) = (Streams::default(), Rc::new(Cell::new(0)));
        let other = poll_fn({
            let polled = polled.clone();
            move |cx| {
                polled.set(polled.get() + 1);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        let new = streams.new.clone();
        new.borrow_mut()
            .push(stream(async { panic!("in a stream") }));
        new.borrow_mut().push(stream(other));
        assert!(streams.take_new());
        streams.go_on(cx);
        assert_eq!((streams.running.len(), polled.get()), (1, 1));
        streams.go_on(cx);
        assert_eq!((streams.running.len(), polled.get()), (1, 2));
    }
}
