//! Events of replicas, reported as they happen. The simulation's consensus oracles check them. In a build
//! that serves data nothing listens, and nothing is computed for it.

use raft::eraftpb::{Entry, Message, MessageType};
use std::fmt;
use std::sync::Arc;
use torc_cluster::{GroupId, NodeId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An entry of a group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMark {
    /// Its place.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    /// Of its kind and bytes.
    pub digest: u64,
}

/// Something that a replica did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It began to take part, at what is durable: after a start of its process, or filled by a snapshot.
    Started,
    /// It became leader with this log, from its first entry that was not cut off.
    Elected {
        /// Of this term.
        term: u64,
        /// Ascending, without gaps.
        log: Vec<EntryMark>,
    },
    /// Its vote left the store.
    Voted {
        /// In this term.
        term: u64,
        /// For this node.
        candidate: NodeId,
    },
    /// Its log holds this entry (a follower took it in, or a leader passed it on).
    Appended {
        /// The entry.
        entry: EntryMark,
        /// Term of the entry before it, if known.
        previous_term: Option<u64>,
    },
    /// It learned that this entry is committed.
    Committed {
        /// While it was in this term.
        in_term: u64,
        /// The entry.
        entry: EntryMark,
    },
    /// It applied this entry.
    Applied {
        /// The entry.
        entry: EntryMark,
    },
    /// A committed membership change took effect.
    MembersChanged,
    /// It cut its log through this index.
    Truncated {
        /// The last entry cut off.
        through: u64,
    },
    /// It was filled with the state as of this index.
    SnapshotInstalled {
        /// The index.
        index: u64,
    },
}

/// Listens to the replicas of a store.
pub trait Observer: Send + Sync + 'static {
    /// A replica did something. Called from the store's turn: must be quick and must not call back.
    fn observe(&self, node: NodeId, group: GroupId, what: Observation);
}

/// The listener, if there is one.
#[derive(Clone, Default)]
pub struct Observers(Option<Arc<dyn Observer>>);

impl Observers {
    /// One listener.
    pub fn one(observer: Arc<dyn Observer>) -> Self {
        Self(Some(observer))
    }

    pub(crate) fn tell(&self, node: NodeId, group: GroupId, what: impl FnOnce() -> Observation) {
        if let Some(observer) = &self.0 {
            observer.observe(node, group, what());
        }
    }

    pub(crate) fn listening(&self) -> bool {
        self.0.is_some()
    }

    /// A message leaves a replica: votes and entries in it.
    pub(crate) fn tell_sent(&self, node: NodeId, group: GroupId, message: &Message) {
        if self.0.is_none() {
            return;
        }
        let vote = |candidate| Observation::Voted { term: message.term, candidate };
        match message.get_msg_type() {
            MessageType::MsgRequestVote => self.tell(node, group, || vote(node)),
            MessageType::MsgRequestVoteResponse if !message.reject => {
                self.tell(node, group, || vote(NodeId(message.to)));
            }
            MessageType::MsgAppend => {
                self.tell_appended(node, group, &message.entries, Some(message.log_term))
            }
            _ => {}
        }
    }

    /// Entries lie in a replica's log, behind one of `previous_term`.
    pub(crate) fn tell_appended(
        &self,
        node: NodeId,
        group: GroupId,
        entries: &[Entry],
        previous_term: Option<u64>,
    ) {
        let mut previous_term = previous_term;
        for entry in entries.iter().filter(|_| self.0.is_some()) {
            self.tell(node, group, || Observation::Appended { entry: mark(entry), previous_term });
            previous_term = Some(entry.term);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observers(1)" } else { "Observers(0)" })
    }
}

/// An entry's place and digest.
pub(crate) fn mark(entry: &Entry) -> EntryMark {
    let digest = xxh3_64_with_seed(&entry.data, entry.get_entry_type() as u64);
    EntryMark { index: entry.index, term: entry.term, digest }
}
