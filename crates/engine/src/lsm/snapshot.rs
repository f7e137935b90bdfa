//! Snapshots: sequence numbers whose versions compaction must keep while a reader holds them.

use super::core::{Core, Published};
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A consistent view at one sequence number. Keeps old versions alive while held.
#[derive(Clone)]
pub struct Snapshot {
    held: Arc<Held>,
}

impl Snapshot {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        let seq = core.snapshots.take(&core.visible);
        Self { held: Arc::new(Held { core: core.clone(), seq }) }
    }

    /// The sequence number: every write at or below it is in the view, none above.
    pub fn sequence(&self) -> u64 {
        self.held.seq
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("sequence", &self.sequence()).finish()
    }
}

struct Held {
    core: Arc<Core>,
    seq: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.core.snapshots.release(self.seq);
    }
}

/// The live snapshots, with how often each number is held.
#[derive(Default)]
pub(crate) struct Snapshots {
    live: Mutex<BTreeMap<u64, usize>>,
}

impl Snapshots {
    /// Registers a snapshot of now. The number is read under the lock: a compaction that asked before sees
    /// nothing newer than it.
    fn take(&self, visible: &Published) -> u64 {
        let mut live = self.live.lock();
        let seq = visible.load(Ordering::Acquire);
        *live.entry(seq).or_default() += 1;
        seq
    }

    fn release(&self, seq: u64) {
        let mut live = self.live.lock();
        if let Some(count) = live.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                live.remove(&seq);
            }
        }
    }

    /// Sequence numbers of the live snapshots, ascending.
    pub(crate) fn list(&self) -> Vec<u64> {
        self.live.lock().keys().copied().collect()
    }
}
