//! What became of changes of the configuration and of its files, as metrics.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Reload;

/// Counts reloads.
#[derive(Debug, Default)]
pub struct ReloadMetrics {
    outcomes: Family<[(&'static str, &'static str); 1], Counter>,
    is_good: Gauge,
    last_good: Gauge<u64, AtomicU64>,
}

impl ReloadMetrics {
    /// Begins with a configuration that is in force since `now`, in Unix seconds.
    pub fn begin(&self, now: u64) {
        self.is_good.set(1);
        self.last_good.set(now);
    }

    /// Counts one that ended like this `now`, in Unix seconds.
    pub fn ended(&self, how: Reload, now: u64) {
        self.outcomes
            .get_or_create(&[("outcome", how.label())])
            .inc();
        match how {
            Reload::Applied => self.begin(now),
            Reload::Unchanged => {
                self.is_good.set(1);
            }
            Reload::Rejected => {
                self.is_good.set(0);
            }
            Reload::Pending => {}
        }
    }

    /// Notes that there will be none any more, whatever the files say.
    pub fn lost(&self) {
        self.is_good.set(0);
    }

    pub(super) fn register(self: &Arc<Self>, table: &mut Registry) {
        for how in Reload::ALL {
            drop(self.outcomes.get_or_create(&[("outcome", how.label())]));
        }
        table.register(
            "config_reloads",
            "Reloads of the configuration and its files",
            self.outcomes.clone(),
        );
        table.register(
            "config_last_reload_successful",
            "Whether what the files say now is in force",
            self.is_good.clone(),
        );
        table.register_with_unit(
            "config_last_reload_success_timestamp",
            "When a configuration last came into force, in Unix time",
            Unit::Seconds,
            self.last_good.clone(),
        );
    }
}
