//! The oracles that run during a history: consensus, leases, topology, replicas. They also count the states
//! that were reached, because a fault that never happened proves nothing.

use super::machine::Process;
use crate::checker::indexes::{IndexWatch, Look};
use crate::checker::log::{Entry, Fact, LogWatch};
use crate::checker::replicas::{ReplicaDump, check_equal};
use crate::checker::topology::TopologyWatch;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use torc_cluster::{GroupId, META_GROUP, NodeId, Partition};
use torc_coordinator::node::Node;
use torc_engine::{Engine, Snapshot};
use torc_model::codec;
use torc_model::key::space;
use torc_replica::machine;
use torc_replica::machine::change_log::watermark;
use torc_replica::store::{EntryMark, KeyRange, Observation, Observer, applied_key};

/// What was reached, by name.
pub type Coverage = BTreeMap<&'static str, u64>;

/// Sees everything in a world.
#[derive(Default)]
pub struct Watch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    logs: LogWatch,
    topology: TopologyWatch,
    /// The first replica seen at each group's applied entry.
    replicas: BTreeMap<(u64, u64), ReplicaDump>,
    indexes: IndexWatch,
    faults: Vec<String>,
    coverage: Coverage,
}

/// Most findings in one message.
const SHOWN: usize = 5;

impl Watch {
    /// Something was reached `times` more.
    pub fn count(&self, what: &'static str, times: u64) {
        *self.state.lock().coverage.entry(what).or_default() += times;
    }

    /// What was reached so far.
    pub fn coverage(&self) -> Coverage {
        self.state.lock().coverage.clone()
    }

    /// A machine's process ended: what it knew of the topology and had not stored is gone.
    pub fn ended(&self, machine: usize) {
        self.state.lock().topology.restarted(machine as u64);
    }

    /// Looks at what the serving processes hold at this moment: one lease per group, one history of the topology.
    pub fn look(&self, processes: &[Process]) {
        let mut state = self.state.lock();
        let mut holders: BTreeMap<GroupId, NodeId> = BTreeMap::new();
        for process in processes {
            state.topology.observe(process.index as u64, &process.node.topology());
            for group in process.node.leases() {
                if let Some(other) = holders.insert(group, process.node.id()) {
                    let now = process.node.id();
                    state
                        .faults
                        .push(format!("lease: {other} and {now} hold the lease of {group} at one moment"));
                }
            }
        }
    }

    /// Compares the replicas on these processes with each other and with all that were seen before at the same entry.
    pub fn compare(&self, processes: &[Process]) {
        for process in processes {
            // A disk that fails is the process's own affair.
            let Ok(dumps) = dumps(process) else { continue };
            let mut state = self.state.lock();
            for dump in dumps {
                let place = (dump.group, dump.applied);
                let Some(first) = state.replicas.get(&place) else {
                    state.replicas.insert(place, dump);
                    continue;
                };
                let found = check_equal(&[first.clone(), dump]);
                state.faults.extend(found.iter().map(|fault| format!("replicas: {fault}")));
            }
        }
    }

    /// Looks at the partitions of global indexes on these processes: their rows may only move forward.
    pub fn look_at_indexes(&self, processes: &[Process]) {
        for process in processes {
            let node = &process.node;
            let topology = node.topology();
            for table in topology.tables().filter(|table| table.as_index().is_some()) {
                for partition in topology.partitions(table.id) {
                    // A disk that fails is the process's own affair.
                    let Ok(Some((applied, look))) = index_look(node, partition, |applied| {
                        self.state.lock().indexes.is_news(partition.group.0, applied)
                    }) else {
                        continue;
                    };
                    let mut state = self.state.lock();
                    *state.coverage.entry("index looks").or_default() += 1;
                    state.indexes.observe(partition.group.0, applied, look);
                }
            }
        }
    }

    /// What is wrong so far.
    ///
    /// # Errors
    /// The first few findings.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let state = self.state.lock();
        let logs = state.logs.violations().into_iter().map(|v| format!("consensus: {v}"));
        let topology = state.topology.faults().iter().map(|f| format!("topology: {f}"));
        let indexes = state.indexes.faults.iter().map(|f| f.to_string());
        let all: Vec<String> =
            state.faults.iter().cloned().chain(logs).chain(topology).chain(indexes).collect();
        anyhow::ensure!(
            all.is_empty(),
            "{} faults seen: {}",
            all.len(),
            all[..all.len().min(SHOWN)].join("; ")
        );
        Ok(())
    }
}

impl Observer for Watch {
    fn observe(&self, node: NodeId, group: GroupId, what: Observation) {
        let node = node.0;
        let (counted, fact) = match what {
            Observation::Started => (None, Some(Fact::Restarted { node })),
            Observation::Elected { term, log } => {
                let log = log.into_iter().map(entry).collect();
                (Some("elections"), Some(Fact::Elected { node, term, log }))
            }
            Observation::Voted { term, candidate } => {
                (Some("votes"), Some(Fact::Voted { node, term, candidate: candidate.0 }))
            }
            Observation::Appended { entry: mark, previous_term } => {
                (None, Some(Fact::Appended { node, entry: entry(mark), previous_term }))
            }
            Observation::Committed { in_term, entry: mark } => {
                (None, Some(Fact::Committed { node, in_term, entry: entry(mark) }))
            }
            Observation::Applied { entry: mark } => {
                (Some("entries applied"), Some(Fact::Applied { node, entry: entry(mark) }))
            }
            Observation::MembersChanged => (Some("membership changes"), None),
            Observation::Truncated { .. } => (Some("log truncations"), None),
            Observation::SnapshotInstalled { .. } => (Some("snapshots installed"), None),
        };
        let mut state = self.state.lock();
        if let Some(counted) = counted {
            *state.coverage.entry(counted).or_default() += 1;
        }
        if let Some(fact) = fact {
            state.logs.record(group.0, fact);
        }
    }
}

fn entry(mark: EntryMark) -> Entry {
    Entry { index: mark.index, term: mark.term, digest: mark.digest }
}

/// The applied entry of a replica, if it is whole.
fn applied_at(
    engine: &Engine,
    group: GroupId,
    snapshot: &Snapshot,
) -> Result<Option<u64>, torc_engine::Error> {
    let position = engine.get_at(&applied_key(group), snapshot)?;
    let index = position.as_deref().and_then(|p| p.first_chunk::<8>().filter(|_| p.len() == 16));
    Ok(index.map(|i| u64::from_le_bytes(*i)))
}

/// The rows of a partition of an index, if it is held here and `wanted` at its applied entry.
fn index_look(
    node: &Node,
    partition: &Partition,
    wanted: impl Fn(u64) -> bool,
) -> Result<Option<(u64, Look)>, torc_engine::Error> {
    let engine = node.engine();
    let snapshot = engine.snapshot();
    let applied = applied_at(engine, partition.group, &snapshot)?.filter(|applied| wanted(*applied));
    let Some(applied) = applied else { return Ok(None) };
    let mut look = Look::default();
    for range in machine::table::ranges(partition) {
        for item in engine.scan(&range.start, &range.end, false, Some(&snapshot)) {
            let item = item?;
            if item.key.first() == Some(&space::INDEX) {
                let version = codec::decode_header(&item.value).map_or(0, |(header, _)| header.version);
                look.rows.insert(item.key.to_vec(), version);
            } else if let Some(position) = watermark(&item.value) {
                look.watermarks.insert(item.key.to_vec(), position.0);
            }
        }
    }
    Ok(Some((applied, look)))
}

/// Everything that the consensus groups hold on one node, as the engine has it now. Replicas that are being filled are left out.
///
/// # Errors
/// The engine failed.
pub fn dumps(process: &Process) -> Result<Vec<ReplicaDump>, torc_engine::Error> {
    let node = &process.node;
    let topology = node.topology();
    let mut groups: Vec<(GroupId, Vec<KeyRange>)> = vec![(META_GROUP, machine::meta::ranges())];
    for partition in topology.all_partitions() {
        if topology.table(partition.table).is_some_and(|t| t.is_consensus()) {
            groups.push((partition.group, machine::table::ranges(partition)));
        }
    }
    let engine = node.engine();
    let snapshot = engine.snapshot();
    let mut dumps = Vec::new();
    for (group, ranges) in groups {
        let Some(applied) = applied_at(engine, group, &snapshot)? else { continue };
        let mut entries = Vec::new();
        for range in ranges {
            for item in engine.scan(&range.start, &range.end, false, Some(&snapshot)) {
                let item = item?;
                entries.push((item.key.to_vec(), item.value.to_vec()));
            }
        }
        dumps.push(ReplicaDump { group: group.0, node: node.id().0, applied, entries });
    }
    Ok(dumps)
}
