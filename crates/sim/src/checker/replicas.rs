//! The oracle of replicas: replicas of one group that applied the same entries hold the same bytes.

use super::show;
use std::collections::BTreeMap;
use std::fmt;

/// What one replica held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDump {
    /// The group.
    pub group: u64,
    /// The node that held it.
    pub node: u64,
    /// The last entry applied.
    pub applied: u64,
    /// Every key and value, in key order. Leave out what is the node's own, such as its vote.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Two replicas that differ though they should not, or a dump that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaFault {
    /// Same group, same applied index, other bytes. The first difference by key.
    Differ {
        /// The group.
        group: u64,
        /// The applied index of both.
        applied: u64,
        /// The nodes.
        nodes: (u64, u64),
        /// The key at which they differ first.
        key: Vec<u8>,
        /// What each holds there.
        values: (Option<Vec<u8>>, Option<Vec<u8>>),
        /// How many keys differ.
        keys: usize,
    },
    /// A dump's keys do not ascend.
    Unordered {
        /// The group.
        group: u64,
        /// The node.
        node: u64,
        /// The key that does not come after the one before it.
        key: Vec<u8>,
    },
    /// After healing, replicas of one group are at different entries.
    Behind {
        /// The group.
        group: u64,
        /// Each node and its applied index.
        applied: Vec<(u64, u64)>,
    },
}

impl fmt::Display for ReplicaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplicaFault::Differ { group, applied, nodes, key, values, keys } => {
                let text = |value: &Option<Vec<u8>>| value.as_deref().map_or("nothing".to_owned(), show);
                write!(
                    f,
                    "group {group} at entry {applied}: nodes {} and {} differ in {keys} keys, first at {}: {} and {}",
                    nodes.0,
                    nodes.1,
                    show(key),
                    text(&values.0),
                    text(&values.1)
                )
            }
            ReplicaFault::Unordered { group, node, key } => {
                write!(f, "group {group} on node {node}: key {} is out of order", show(key))
            }
            ReplicaFault::Behind { group, applied } => {
                write!(f, "group {group} has not converged: {applied:?}")
            }
        }
    }
}

/// Compares the dumps that are of one group at one applied index; others say nothing about each other.
pub fn check_equal(dumps: &[ReplicaDump]) -> Vec<ReplicaFault> {
    let mut found = Vec::new();
    let mut first: BTreeMap<(u64, u64), &ReplicaDump> = BTreeMap::new();
    for dump in dumps {
        if let Some(pair) = dump.entries.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            found.push(ReplicaFault::Unordered {
                group: dump.group,
                node: dump.node,
                key: pair[1].0.clone(),
            });
        }
        match first.get(&(dump.group, dump.applied)) {
            None => {
                first.insert((dump.group, dump.applied), dump);
            }
            Some(other) => found.extend(difference(other, dump)),
        }
    }
    found
}

/// The same, and all dumps of a group must be at one applied index: for the end of a run, when everything has
/// healed.
pub fn check_converged(dumps: &[ReplicaDump]) -> Vec<ReplicaFault> {
    let mut applied: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for dump in dumps {
        applied.entry(dump.group).or_default().push((dump.node, dump.applied));
    }
    let mut found = check_equal(dumps);
    for (group, applied) in applied {
        if applied.iter().any(|(_, index)| *index != applied[0].1) {
            found.push(ReplicaFault::Behind { group, applied });
        }
    }
    found
}

fn difference(a: &ReplicaDump, b: &ReplicaDump) -> Option<ReplicaFault> {
    if a.entries == b.entries {
        return None;
    }
    let map = |dump: &ReplicaDump| dump.entries.iter().cloned().collect::<BTreeMap<Vec<u8>, Vec<u8>>>();
    let (left, right) = (map(a), map(b));
    let differing: Vec<&Vec<u8>> = left
        .keys()
        .chain(right.keys().filter(|key| !left.contains_key(*key)))
        .filter(|key| left.get(*key) != right.get(*key))
        .collect();
    let key = (*differing.iter().min()?).clone();
    Some(ReplicaFault::Differ {
        group: a.group,
        applied: a.applied,
        nodes: (a.node, b.node),
        values: (left.get(&key).cloned(), right.get(&key).cloned()),
        keys: differing.len(),
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(group: u64, node: u64, applied: u64, entries: &[(&str, &str)]) -> ReplicaDump {
        let entries = entries.iter().map(|(k, v)| (k.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
        ReplicaDump { group, node, applied, entries }
    }

    #[test]
    fn equal_ones_and_those_at_other_entries_pass() {
        let dumps = [
            dump(1, 1, 5, &[("a", "1"), ("b", "2")]),
            dump(1, 2, 5, &[("a", "1"), ("b", "2")]),
            dump(1, 3, 4, &[("a", "1")]),
            dump(2, 3, 5, &[]),
        ];
        assert_eq!(check_equal(&dumps), vec![]);
        let behind = check_converged(&dumps);
        assert_eq!(behind, vec![ReplicaFault::Behind { group: 1, applied: vec![(1, 5), (2, 5), (3, 4)] }]);
    }

    #[test]
    fn the_first_difference_is_named() {
        let base = dump(1, 1, 5, &[("a", "1"), ("b", "2"), ("d", "4")]);
        for (other, key, keys) in [
            (dump(1, 2, 5, &[("a", "1"), ("b", "3"), ("d", "4")]), "b", 1),
            (dump(1, 2, 5, &[("a", "1"), ("b", "2")]), "d", 1),
            (dump(1, 2, 5, &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "5")]), "c", 2),
            (dump(1, 2, 5, &[]), "a", 3),
        ] {
            let found = check_equal(&[base.clone(), other]);
            let [ReplicaFault::Differ { key: at, keys: count, .. }] = found.as_slice() else {
                panic!("{found:?}")
            };
            assert_eq!((at.as_slice(), *count), (key.as_bytes(), keys));
        }
    }

    #[test]
    fn disorder_and_doubles_are_named() {
        for entries in [[("b", "1"), ("a", "2")], [("a", "1"), ("a", "1")]] {
            let found = check_equal(&[dump(1, 1, 1, &entries)]);
            assert!(matches!(found.as_slice(), [ReplicaFault::Unordered { .. }]), "{found:?}");
        }
    }
}
