//! The safety of consensus groups, checked on events that the simulation records ("In Search of an
//! Understandable Consensus Algorithm", Ongaro and Ousterhout, 2014, figure 3).
//!
//! * Election safety: one leader at most in a term.
//! * One vote at most for each node and term, over restarts too.
//! * Log matching: two logs with an entry of the same index and term hold the same entry there and before it.
//! * State machine safety: no two nodes apply different entries at one index.
//! * Leader completeness: an entry committed in a term is in the log of every leader of a later term.

use std::collections::BTreeMap;
use std::fmt;

/// An entry: its place, its term, and a digest of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Position in the log, from 1.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// Of its bytes.
    pub digest: u64,
}

/// Something that happened in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A node became leader, with this log (from its first index on; what is before was compacted and thus
    /// committed).
    Elected {
        /// The leader.
        node: u64,
        /// Of this term.
        term: u64,
        /// Its log at that moment, ascending and without gaps.
        log: Vec<Entry>,
    },
    /// A node made its vote durable.
    Voted {
        /// Who.
        node: u64,
        /// In this term.
        term: u64,
        /// For this node.
        candidate: u64,
    },
    /// A node's log holds this entry, after one of that term (0 before the first; `None` if it was
    /// compacted).
    Appended {
        /// Whose log.
        node: u64,
        /// What.
        entry: Entry,
        /// Term of the entry before it.
        previous_term: Option<u64>,
    },
    /// A node learned that this entry is committed, while it was in this term.
    Committed {
        /// Who.
        node: u64,
        /// Its current term.
        in_term: u64,
        /// What.
        entry: Entry,
    },
    /// A node applied this entry.
    Applied {
        /// Who.
        node: u64,
        /// What.
        entry: Entry,
    },
    /// A node's process started anew: what it applies next is at or after what was durable, and it may apply
    /// entries again.
    Restarted {
        /// Who.
        node: u64,
    },
}

/// A broken property of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogViolation {
    /// The group.
    pub group: u64,
    /// The property's name.
    pub property: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for LogViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}: {}: {}", self.group, self.property, self.what)
    }
}

/// Collects facts and says what they break.
#[derive(Default)]
pub struct LogWatch {
    groups: BTreeMap<u64, Group>,
    violations: Vec<LogViolation>,
}

#[derive(Default)]
struct Group {
    /// Leader of each term and its log then, by index.
    leaders: BTreeMap<u64, (u64, BTreeMap<u64, Entry>)>,
    votes: BTreeMap<(u64, u64), u64>,
    /// Digest and previous term of each entry ever seen, by index and term.
    entries: BTreeMap<(u64, u64), (u64, Option<u64>)>,
    /// By index: the entry, the node that said so first, and the earliest term in which somebody knew.
    committed: BTreeMap<u64, (Entry, u64, u64)>,
    applied: BTreeMap<u64, u64>,
}

impl LogWatch {
    /// Takes a fact of a group, in the order in which they happened.
    pub fn record(&mut self, group: u64, fact: Fact) {
        let state = self.groups.entry(group).or_default();
        if let Err((property, what)) = state.record(fact) {
            self.violations.push(LogViolation { group, property, what });
        }
    }

    /// What is wrong so far. Leader completeness is judged over all that was recorded, whatever came first.
    pub fn violations(&self) -> Vec<LogViolation> {
        let mut all = self.violations.clone();
        for (group, state) in &self.groups {
            let lacking = state.leaders_that_lack_committed();
            all.extend(lacking.into_iter().map(|what| LogViolation {
                group: *group,
                property: "leader completeness",
                what,
            }));
        }
        all
    }
}

type Broken = (&'static str, String);

impl Group {
    fn record(&mut self, fact: Fact) -> Result<(), Broken> {
        match fact {
            Fact::Elected { node, term, log } => {
                let by_index = log.iter().map(|entry| (entry.index, *entry)).collect();
                if let Some((other, _)) = self.leaders.insert(term, (node, by_index))
                    && other != node
                {
                    return Err((
                        "election safety",
                        format!("nodes {other} and {node} both led term {term}"),
                    ));
                }
                for pair in log.windows(2) {
                    self.matches(node, pair[1], Some(pair[0].term))?;
                }
                log.first().map_or(Ok(()), |first| self.matches(node, *first, None))
            }
            Fact::Voted { node, term, candidate } => match self.votes.insert((node, term), candidate) {
                Some(other) if other != candidate => {
                    Err(("one vote", format!("node {node} voted for {other} and {candidate} in term {term}")))
                }
                _ => Ok(()),
            },
            Fact::Appended { node, entry, previous_term } => self.matches(node, entry, previous_term),
            Fact::Committed { node, in_term, entry } => self.commit(node, in_term, entry),
            Fact::Applied { node, entry } => {
                let before = self.applied.insert(node, entry.index);
                if let Some(before) = before
                    && entry.index != before + 1
                {
                    let index = entry.index;
                    return Err(("application order", format!("node {node} applied {index} after {before}")));
                }
                // Applying says that it was committed, in a term at least its own.
                self.commit(node, u64::MAX, entry)
            }
            Fact::Restarted { node } => {
                self.applied.remove(&node);
                Ok(())
            }
        }
    }

    fn matches(&mut self, node: u64, entry: Entry, previous_term: Option<u64>) -> Result<(), Broken> {
        let known = self.entries.entry((entry.index, entry.term)).or_insert((entry.digest, previous_term));
        let Entry { index, term, .. } = entry;
        if known.0 != entry.digest {
            return Err(("log matching", format!("node {node} holds another entry {index} of term {term}")));
        }
        match (known.1, previous_term) {
            (Some(known), Some(previous)) if known != previous => {
                let what = format!(
                    "before entry {index} of term {term}, node {node} has term {previous}, others {known}"
                );
                Err(("log matching", what))
            }
            (None, Some(_)) => {
                known.1 = previous_term;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn commit(&mut self, node: u64, in_term: u64, entry: Entry) -> Result<(), Broken> {
        self.matches(node, entry, None)?;
        let (known, first, term) = self.committed.entry(entry.index).or_insert((entry, node, in_term));
        *term = (*term).min(in_term);
        if *known == entry {
            return Ok(());
        }
        let what = format!(
            "at {} node {first} has an entry of term {} and node {node} one of term {}",
            entry.index, known.term, entry.term
        );
        Err(("state machine safety", what))
    }

    fn leaders_that_lack_committed(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (term, (leader, log)) in &self.leaders {
            let Some((&first, _)) = log.first_key_value() else {
                // A leader with an empty log: nothing of an earlier term may have been committed.
                if let Some((index, _)) = self.committed.iter().find(|(_, (_, _, in_term))| in_term < term) {
                    found.push(format!(
                        "leader {leader} of term {term} has an empty log, {index} was committed"
                    ));
                }
                continue;
            };
            for (index, (entry, _, in_term)) in self.committed.range(first..) {
                if in_term < term && log.get(index) != Some(entry) {
                    found.push(format!(
                        "leader {leader} of term {term} lacks entry {index}, committed in term {in_term}"
                    ));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, digest: index * 1000 + term }
    }

    fn run(facts: impl IntoIterator<Item = Fact>) -> Vec<LogViolation> {
        let mut watch = LogWatch::default();
        for fact in facts {
            watch.record(7, fact);
        }
        watch.violations()
    }

    fn sound() -> Vec<Fact> {
        let mut facts = vec![Fact::Elected { node: 1, term: 1, log: vec![] }];
        for node in [1, 2] {
            facts.push(Fact::Voted { node, term: 1, candidate: 1 });
            facts.push(Fact::Appended { node, entry: entry(1, 1), previous_term: Some(0) });
            facts.push(Fact::Appended { node, entry: entry(2, 1), previous_term: Some(1) });
        }
        facts.push(Fact::Committed { node: 1, in_term: 1, entry: entry(1, 1) });
        facts.push(Fact::Committed { node: 1, in_term: 1, entry: entry(2, 1) });
        facts.push(Fact::Applied { node: 1, entry: entry(1, 1) });
        facts.push(Fact::Applied { node: 1, entry: entry(2, 1) });
        facts.push(Fact::Elected { node: 2, term: 3, log: vec![entry(1, 1), entry(2, 1)] });
        facts.push(Fact::Restarted { node: 1 });
        facts.push(Fact::Applied { node: 1, entry: entry(2, 1) });
        facts
    }

    #[test]
    fn sound_facts_pass() {
        assert_eq!(run(sound()), vec![]);
    }

    #[test]
    fn each_broken_property_is_named() {
        for (property, fact) in [
            ("election safety", Fact::Elected { node: 3, term: 3, log: vec![entry(1, 1), entry(2, 1)] }),
            ("one vote", Fact::Voted { node: 2, term: 1, candidate: 3 }),
            (
                "log matching",
                Fact::Appended { node: 3, entry: Entry { digest: 9, ..entry(2, 1) }, previous_term: None },
            ),
            ("log matching", Fact::Appended { node: 3, entry: entry(2, 1), previous_term: Some(0) }),
            ("state machine safety", Fact::Committed { node: 3, in_term: 4, entry: entry(2, 2) }),
            ("state machine safety", Fact::Applied { node: 3, entry: entry(2, 2) }),
            ("application order", Fact::Applied { node: 1, entry: entry(2, 1) }),
            ("application order", Fact::Applied { node: 1, entry: entry(4, 1) }),
            ("leader completeness", Fact::Elected { node: 3, term: 4, log: vec![entry(1, 1)] }),
            ("leader completeness", Fact::Elected { node: 3, term: 4, log: vec![] }),
            ("leader completeness", Fact::Elected { node: 3, term: 4, log: vec![entry(1, 1), entry(2, 2)] }),
        ] {
            let mut facts = sound();
            facts.push(fact.clone());
            let found = run(facts);
            assert!(found.iter().any(|v| v.property == property), "{fact:?}: {found:?}");
        }
    }

    #[test]
    fn a_commit_learned_late_still_binds_leaders_in_between() {
        // Committed in term 1; a leader of term 2 without it is wrong even if the commit is told later.
        let found = run([
            Fact::Elected { node: 2, term: 2, log: vec![entry(1, 1)] },
            Fact::Committed { node: 1, in_term: 1, entry: entry(2, 1) },
        ]);
        assert!(found.iter().any(|v| v.property == "leader completeness"), "{found:?}");
        // Known only from term 5 on, it need not be in the log of a leader of term 3.
        let fine = run([
            Fact::Elected { node: 2, term: 3, log: vec![entry(1, 1)] },
            Fact::Committed { node: 1, in_term: 5, entry: entry(2, 1) },
        ]);
        assert_eq!(fine, vec![]);
    }

    #[test]
    fn a_compacted_beginning_is_not_missed() {
        let found = run([
            Fact::Committed { node: 1, in_term: 1, entry: entry(1, 1) },
            Fact::Committed { node: 1, in_term: 1, entry: entry(2, 1) },
            Fact::Elected { node: 2, term: 2, log: vec![entry(2, 1)] },
        ]);
        assert_eq!(found, vec![]);
    }
}
