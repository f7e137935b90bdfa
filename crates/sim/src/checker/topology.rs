//! The oracle of the topology, as its readers saw it: one history that never goes backwards, valid at every
//! step, with no number used twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use torc_cluster::{Epoch, GroupId, NodeId, TableId, TokenRange, Topology, check_invariants};

/// Watches the versions that nodes serve from.
#[derive(Default)]
pub struct TopologyWatch {
    versions: BTreeMap<Epoch, Arc<Topology>>,
    held: BTreeMap<u64, Epoch>,
    /// What each number was first used for, and whether it is gone by now.
    groups: BTreeMap<GroupId, (TableId, TokenRange)>,
    tables: BTreeMap<TableId, String>,
    nodes: BTreeMap<NodeId, [u8; 16]>,
    faults: Vec<String>,
}

impl TopologyWatch {
    /// A node serves from this version now. Call at each change; calling more often does no harm.
    pub fn observe(&mut self, node: u64, topology: &Arc<Topology>) {
        let epoch = topology.epoch();
        if let Some(before) = self.held.insert(node, epoch)
            && before > epoch
        {
            self.faults.push(format!("node {node} went back from {before} to {epoch}"));
        }
        if let Some(known) = self.versions.get(&epoch) {
            if !Arc::ptr_eq(known, topology) && **known != **topology {
                self.faults
                    .push(format!("node {node} has another topology at {epoch} than a node before it"));
            }
            return;
        }
        self.faults
            .extend(check_invariants(topology).into_iter().map(|fault| format!("at {epoch}: {fault}")));
        self.check_numbers(topology);
        self.check_counters(topology);
        self.versions.insert(epoch, topology.clone());
    }

    /// A node lost its memory (a crash): its next version may be an older one that was durable.
    pub fn restarted(&mut self, node: u64) {
        self.held.remove(&node);
    }

    /// What was wrong so far.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn check_numbers(&mut self, topology: &Topology) {
        for partition in topology.all_partitions() {
            let what = (partition.table, partition.range);
            let first = self.groups.entry(partition.group).or_insert(what);
            if *first != what {
                self.faults
                    .push(format!("{} was a partition of {} and is used again", partition.group, first.0));
            }
        }
        for table in topology.tables() {
            let first = self.tables.entry(table.id).or_insert_with(|| table.name.clone());
            if *first != table.name {
                self.faults.push(format!("{} was {first} and is {} now", table.id, table.name));
            }
        }
        for node in topology.node_records() {
            if *self.nodes.entry(node.info.id).or_insert(node.uuid) != node.uuid {
                self.faults.push(format!("{} is another node than it was", node.info.id));
            }
        }
    }

    /// Counters and partition epochs only go up from one version to a later one, whichever is seen first.
    fn check_counters(&mut self, topology: &Topology) {
        let epoch = topology.epoch();
        let earlier = self.versions.range(..epoch).next_back().map(|(_, version)| version.clone());
        let later = self.versions.range(epoch..).next().map(|(_, version)| version.clone());
        let pairs = [(earlier.as_deref(), Some(topology)), (Some(topology), later.as_deref())];
        for (old, new) in pairs.into_iter().filter_map(|(old, new)| Some((old?, new?))) {
            let counters =
                |t: &Topology| [t.settings().next_node, t.settings().next_table, t.settings().next_group];
            if counters(old).iter().zip(counters(new)).any(|(old, new)| *old > new) {
                self.faults.push(format!("a counter went back between {} and {}", old.epoch(), new.epoch()));
            }
            if old.cluster_id() != 0
                && (old.cluster_id(), old.token_key()) != (new.cluster_id(), new.token_key())
            {
                self.faults.push(format!(
                    "the cluster changed its identity between {} and {}",
                    old.epoch(),
                    new.epoch()
                ));
            }
            for partition in old.all_partitions() {
                let Some(now) = new.partition_by_group(partition.group) else { continue };
                let silent = now.changed == partition.changed && now.replicas != partition.replicas;
                if now.changed < partition.changed || silent {
                    self.faults
                        .push(format!("{} changed without a new epoch ({})", partition.group, now.changed));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use torc_cluster::{Change, Command, TableStatus};

    fn grow(topology: &Topology, epoch: u64, command: &Command) -> Arc<Topology> {
        let (changes, _) = topology.evaluate(command).unwrap();
        Arc::new(topology.apply_changes(Epoch(epoch), &changes))
    }

    fn versions() -> Vec<Arc<Topology>> {
        let register = |n: u8| Command::RegisterNode {
            addr: format!("h{n}:1"),
            api_addr: String::new(),
            zone: format!("z{n}"),
            weight: 1,
            uuid: [n; 16],
        };
        let create = Command::CreateTable {
            name: "t".into(),
            schema: Vec::new(),
            status: TableStatus::Active,
            partitions: 2,
            replication_factor: 2,
            now_ms: 0,
            indexes: Vec::new(),
        };
        let commands = [
            Command::InitCluster { cluster_id: 1, token_key: [1; 16] },
            register(1),
            register(2),
            create,
            Command::SetReplicas { group: GroupId(16), replicas: vec![NodeId(1)] },
        ];
        let mut versions = vec![Arc::new(Topology::default())];
        for (command, epoch) in commands.iter().zip(1..) {
            versions.push(grow(versions.last().unwrap(), epoch, command));
        }
        versions
    }

    fn altered(version: &Topology, alter: impl Fn(&mut Change)) -> Arc<Topology> {
        let mut changes = version.to_changes();
        changes.iter_mut().for_each(alter);
        Arc::new(Topology::from_changes(version.epoch(), &changes))
    }

    #[test]
    fn a_sound_history_passes_in_any_interleaving_of_nodes() {
        let versions = versions();
        let mut watch = TopologyWatch::default();
        for (node, order) in [(1, vec![0, 1, 2, 3, 4, 5]), (2, vec![5]), (3, vec![0, 3, 3, 4])] {
            for at in order {
                watch.observe(node, &Arc::new(Topology::clone(&versions[at])));
            }
        }
        watch.restarted(1);
        watch.observe(1, &versions[2]);
        assert_eq!(watch.faults(), &[] as &[String]);
    }

    #[test]
    fn broken_histories_are_named() {
        let versions = versions();
        let partition = |change: &mut Change, edit: &dyn Fn(&mut torc_cluster::Partition)| {
            if let Change::UpsertPartition(p) = change
                && p.group == GroupId(16)
            {
                edit(p);
            }
        };
        let later = |alter: &dyn Fn(&mut Change)| vec![versions[4].clone(), altered(&versions[5], alter)];
        let cases: [(&str, Vec<Arc<Topology>>); 5] = [
            ("went back", vec![versions[4].clone(), versions[3].clone()]),
            ("another topology", {
                let other = altered(&versions[4], |c| partition(c, &|p| p.replicas.reverse()));
                vec![versions[4].clone(), other]
            }),
            ("does not exist", vec![altered(&versions[5], |c| partition(c, &|p| p.table = TableId(9)))]),
            ("without a new epoch", later(&|c| partition(c, &|p| p.changed = Epoch(4)))),
            (
                "another node",
                later(&|c| {
                    if let Change::UpsertNode(node) = c {
                        node.uuid[0] += 1;
                    }
                }),
            ),
        ];
        for (at, (word, history)) in cases.into_iter().enumerate() {
            let mut watch = TopologyWatch::default();
            for version in &history {
                watch.observe(1, version);
            }
            let faults = watch.faults();
            assert!(faults.iter().any(|fault| fault.contains(word)), "case {at}, {word}: {faults:?}");
        }
    }
}
