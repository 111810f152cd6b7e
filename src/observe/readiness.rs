//! Whether the gateway wants new connections: the one truth behind `/readyz` and its gauge.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

/// Where the process is in its life. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not every listener is open yet.
    Starting,
    /// Requests are welcome.
    Ready,
    /// Told to stop: what is in flight ends, and nothing new should come.
    Draining,
}

/// The current [`Phase`]; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicU8>);

impl Readiness {
    /// A process that is starting.
    pub fn starting() -> Self {
        Self::default()
    }

    /// Moves from [`Phase::Starting`] to [`Phase::Ready`]; a process that drains stays as it is.
    pub fn ready(&self) {
        self.0.fetch_max(READY, Ordering::Relaxed);
    }

    /// Moves to [`Phase::Draining`], for good.
    pub fn drain(&self) {
        self.0.fetch_max(DRAINING, Ordering::Relaxed);
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            DRAINING => Phase::Draining,
            READY => Phase::Ready,
            _ => Phase::Starting,
        }
    }
}

impl EncodeMetric for Readiness {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&u32::from(self.phase() == Phase::Ready))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

const READY: u8 = 1;
const DRAINING: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_process_never_becomes_ready_again() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.ready();
        assert_eq!(readiness.phase(), Phase::Ready);
        readiness.drain();
        readiness.ready();
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
