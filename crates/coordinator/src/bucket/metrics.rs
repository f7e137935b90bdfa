//! Counters of the bucket flows.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters, rising from the start of the process.
        #[derive(Debug, Default)]
        pub struct BucketMetrics {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        /// [`BucketMetrics`] at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct BucketMetricsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl BucketMetrics {
            /// All counters now.
            pub fn snapshot(&self) -> BucketMetricsSnapshot {
                BucketMetricsSnapshot { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl BucketMetricsSnapshot {
            /// Names and values, for the metrics endpoint.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Writes coordinated here (puts and deletes).
    writes,
    /// Writes passed on to a replica because this node holds no copy.
    forwarded,
    /// Replica writes that were not acknowledged in time: their copies are behind until a repair.
    missed_writes,
    /// Writes that too few replicas acknowledged.
    failed_writes,
    /// Reads coordinated here.
    reads,
    /// Reads that too few replicas answered.
    failed_reads,
    /// Extra replicas asked because one was slow or failed.
    speculative_reads,
    /// Reads whose replicas did not agree.
    divergences,
    /// Copies brought up to date by a read, before or after its answer.
    read_repairs,
    /// Reads that returned more than one value.
    sibling_reads,
    /// Values returned by those reads.
    siblings_returned,
}

impl BucketMetrics {
    pub(super) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}
