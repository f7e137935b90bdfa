//! Global secondary indexes. The node that leads a partition of a table runs one propagator for each index of
//! the table. It sends the partition's changes to the partitions of the index. Protocol and proof:
//! docs/protocols/indexes.md.
//!
//! The node calls this module when there may be work: it won a leadership, received a topology, or applied a
//! change. Safety does not depend on there being only one propagator. A deposed leader may run a second one
//! without knowing that it was deposed; it sends the same rows, which does no harm.
//!
//! This module must never poll for work: it waits for a signal, or pauses after a failure.

mod batch;
mod progress;
mod propagator;

pub use progress::IndexLag;

use crate::node::Inner;
use crate::signal::Signal;
use parking_lot::Mutex;
use progress::{Delivered, Progress};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;
use torc_cluster::topology::{IndexStatus, Topology};
use torc_cluster::{GroupId, Partition, TableId};
use torc_replica::machine::change_log;

/// The propagators of one node.
pub(crate) struct Propagation {
    state: Mutex<State>,
    /// There are groups to look at.
    wake: Notify,
    /// Counts propagators that began.
    begun: Signal<u64>,
}

impl Default for Propagation {
    fn default() -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), begun: Signal::new(0) }
    }
}

#[derive(Default)]
struct State {
    /// Counts what was applied to a table's partition, for those who wait for changes in it.
    signals: BTreeMap<GroupId, Signal<u64>>,
    /// Groups that were won, or whose table may have got or lost an index.
    pending: BTreeSet<GroupId>,
    /// Propagators that run, and how far they are.
    running: BTreeMap<(GroupId, TableId), Arc<Progress>>,
}

impl Propagation {
    /// Counts the batches applied to a group's replica here.
    pub fn signal(&self, group: GroupId) -> Signal<u64> {
        self.state.lock().signals.entry(group).or_insert_with(|| Signal::new(0)).clone()
    }

    /// The group is gone from here.
    pub fn forget(&self, group: GroupId) {
        // Tasks that wait for the signal see that the group is gone.
        if let Some(signal) = self.state.lock().signals.remove(&group) {
            signal.modify(|_| true);
        }
    }

    /// These groups may need propagators.
    pub fn look_at(&self, groups: impl IntoIterator<Item = GroupId>) {
        let mut state = self.state.lock();
        state.pending.extend(groups);
        if !state.pending.is_empty() {
            drop(state);
            self.wake.notify_one();
        }
    }

    fn take_pending(&self) -> BTreeSet<GroupId> {
        std::mem::take(&mut self.state.lock().pending)
    }

    /// Notes a propagator that begins; `None` if there is one.
    fn begin(&self, group: GroupId, index: TableId) -> Option<Arc<Progress>> {
        let mut state = self.state.lock();
        if state.running.contains_key(&(group, index)) {
            return None;
        }
        let progress = Arc::new(Progress::default());
        state.running.insert((group, index), progress.clone());
        drop(state);
        self.begun.modify(|count| {
            *count += 1;
            true
        });
        Some(progress)
    }

    /// A propagator ended. Its group is checked again, because this node may have won the leadership again
    /// meanwhile.
    fn end(&self, group: GroupId, index: TableId) {
        if let Some(progress) = self.state.lock().running.remove(&(group, index)) {
            progress.reached.set(Delivered::Over);
        }
        self.look_at([group]);
    }

    /// How far each propagator of this node is behind.
    pub fn lags(&self, now_ms: u64) -> Vec<IndexLag> {
        let state = self.state.lock();
        let lags =
            state.running.iter().map(|((group, index), progress)| progress.lag(*group, *index, now_ms));
        lags.collect()
    }
}

/// Waits until an index holds everything that this node, as the leader of the group, had applied when it was called.
///
/// Returns false if this node does not lead the group (any more). It may wait for ever, for an index that can't be written: the caller
/// sets the bound.
pub(crate) async fn caught_up(node: &Inner, group: GroupId, index: TableId) -> bool {
    let applied = node.propagation.signal(group).get();
    loop {
        let mut begun = node.propagation.begun.follow();
        if !leads(node, group) {
            return false;
        }
        let running = node.propagation.state.lock().running.get(&(group, index)).cloned();
        match running {
            Some(progress) => {
                let enough = |reached: &Delivered| match reached {
                    Delivered::Unknown => false,
                    Delivered::Through(batches) => *batches >= applied,
                    Delivered::Over => true,
                };
                if progress.reached.wait_for(enough).await != Delivered::Over {
                    return true;
                }
            }
            None => {
                begun.next().await;
            }
        }
    }
}

/// Starts propagators where they are needed, for as long as the node runs.
pub(crate) async fn run(node: Arc<Inner>) {
    loop {
        node.propagation.wake.notified().await;
        for group in node.propagation.take_pending() {
            if let Err(error) = start(&node, group) {
                tracing::error!(%group, error, "the consumers of a change log can't be read");
            }
        }
    }
}

/// Starts what a group that this node leads lacks.
fn start(node: &Arc<Inner>, group: GroupId) -> Result<(), String> {
    if !leads(node, group) {
        return Ok(());
    }
    let topology = node.topology.get();
    let Some(partition) = topology.partition_by_group(group) else { return Ok(()) };
    let Some(spec) = topology.table(partition.table).and_then(|table| table.as_table()) else {
        return Ok(());
    };
    let listed = spec.indexes.iter().filter(|index| index.status != IndexStatus::Deleting);
    let mut indexes: BTreeSet<TableId> = listed.map(|index| index.table).collect();
    // Those of former indexes are taken out of the log.
    let stored = change_log::read_consumers(&node.engine, partition)?;
    indexes.extend(stored.iter().map(|consumer| TableId(consumer.id)));
    for index in indexes {
        if let Some(progress) = node.propagation.begin(group, index) {
            let (node, partition) = (node.clone(), Partition::clone(partition));
            node.clone().tasks.spawn(async move {
                propagator::run(&node, &partition, index, &progress).await;
                node.propagation.end(group, index);
            });
        }
    }
    Ok(())
}

fn leads(node: &Inner, group: GroupId) -> bool {
    node.view(group).is_some_and(|view| view.is_leader())
}

/// The state of an index as far as its propagator is concerned.
enum Standing {
    /// Its table has it.
    Live,
    /// It is being deleted, or was.
    Gone,
    /// This node has not heard of it yet.
    Unknown,
}

fn standing(topology: &Topology, base: TableId, index: TableId) -> Standing {
    let spec = topology.table(base).and_then(|table| table.as_table());
    let entry = spec.and_then(|spec| spec.indexes.iter().find(|entry| entry.table == index));
    match entry {
        Some(entry) if entry.status == IndexStatus::Deleting => Standing::Gone,
        Some(_) => Standing::Live,
        None if index.0 < topology.settings().next_table => Standing::Gone,
        None => Standing::Unknown,
    }
}
