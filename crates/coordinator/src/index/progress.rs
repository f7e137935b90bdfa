//! How far a propagator is behind its partition, for status pages and metrics.

use crate::signal::Signal;
use parking_lot::Mutex;
use torc_cluster::{GroupId, TableId};

/// Up to where one propagator has delivered, for reads of the index that wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// It has not caught up since it began.
    Unknown,
    /// Everything that was applied when this many batches had been.
    Through(u64),
    /// The propagator ended: another may follow it, here or elsewhere.
    Over,
}

/// What one propagator does.
pub(super) struct Progress {
    counts: Mutex<State>,
    /// See [`Delivered`].
    pub reached: Signal<Delivered>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { counts: Mutex::default(), reached: Signal::new(Delivered::Unknown) }
    }
}

#[derive(Default)]
struct State {
    /// Coordinator's clock of the oldest change under way; `None` when nothing is.
    oldest_ms: Option<u64>,
    under_way: u64,
    delivered: u64,
    failures: u64,
    backfilling: bool,
}

/// How far one partition of a table is ahead of one of its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexLag {
    /// The partition of the table.
    pub group: GroupId,
    /// The index.
    pub index: TableId,
    /// Age of the oldest change that the index does not have yet, milliseconds; 0 when it has all.
    pub lag_ms: u64,
    /// Changes being delivered now.
    pub under_way: u64,
    /// Changes delivered since this node took the partition over.
    pub delivered: u64,
    /// Deliveries that failed and were tried again.
    pub failures: u64,
    /// Whether items that were there before the index are still to come.
    pub backfilling: bool,
}

impl Progress {
    /// So many changes are taken up, the oldest written at this time.
    pub fn begin(&self, changes: usize, oldest_ms: u64) {
        let mut state = self.counts.lock();
        state.under_way = changes as u64;
        state.oldest_ms = Some(oldest_ms);
    }

    /// A delivery has to be repeated.
    pub fn failed(&self) {
        self.counts.lock().failures += 1;
    }

    /// The changes taken up are delivered.
    pub fn done(&self) {
        let mut state = self.counts.lock();
        state.delivered += state.under_way;
        state.under_way = 0;
    }

    /// There is nothing more.
    pub fn caught_up(&self, backfilling: bool) {
        let mut state = self.counts.lock();
        state.oldest_ms = None;
        state.backfilling = backfilling;
    }

    /// Everything applied when so many batches had been is in the index.
    pub fn delivered_through(&self, batches: u64) {
        let reached = Delivered::Through(batches);
        self.reached.modify(|known| std::mem::replace(known, reached) != reached);
    }

    pub fn lag(&self, group: GroupId, index: TableId, now_ms: u64) -> IndexLag {
        let state = self.counts.lock();
        IndexLag {
            group,
            index,
            lag_ms: state.oldest_ms.map_or(0, |at| now_ms.saturating_sub(at)),
            under_way: state.under_way,
            delivered: state.delivered,
            failures: state.failures,
            backfilling: state.backfilling,
        }
    }
}
