//! The inputs and outputs of a store.

use super::group::GroupSpec;
use super::shared::Event;
use bytes::Bytes;
use torc_cluster::{GroupId, NodeId};
use torc_engine::Lsn;
use torc_wire::raft::RaftFrame;

/// First byte of the engine keys that replicas keep for themselves: `[9][group u64 BE]` holds a group's applied position.
pub const REPLICA_SPACE: u8 = 9;

/// The engine key of a group's applied position.
pub fn applied_key(group: GroupId) -> [u8; 9] {
    let mut key = [REPLICA_SPACE; 9];
    key[1..].copy_from_slice(&group.0.to_be_bytes());
    key
}

/// Keys from `start` up to, not including, `end`. Both are given: no range is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// First key that is not inside.
    pub end: Bytes,
}

impl KeyRange {
    /// Whether the key is inside.
    pub fn contains(&self, key: &[u8]) -> bool {
        &self.start[..] <= key && key < &self.end[..]
    }
}

/// What happens to a store.
pub enum Input {
    /// Time has passed. To be pushed at least every [`super::Timing::tick_ms`].
    Tick,
    /// A frame arrived.
    Frame {
        /// From this node.
        from: NodeId,
        /// The frame.
        frame: RaftFrame,
    },
    /// Run a command. Answered under the token.
    Propose {
        /// Of this group.
        group: GroupId,
        /// The machine's command.
        command: Bytes,
        /// Chosen by the caller.
        token: u64,
    },
    /// Answer the token (with nothing) once every write acknowledged before is applied here, if this replica leads.
    ReadBarrier {
        /// Of this group.
        group: GroupId,
        /// Chosen by the caller.
        token: u64,
    },
    /// The log is durable up to this number.
    Persisted(Lsn),
    /// The log failed to sync.
    PersistFailed,
    /// Hold this group from now on: opened from disk, or created. No effect if it is held.
    CreateGroup(Box<GroupSpec>),
    /// The members that a group should have now, the preferred leader first.
    SetMembers {
        /// The group.
        group: GroupId,
        /// Its replicas.
        replicas: Vec<NodeId>,
    },
    /// Hold this group no longer: log, state and data are deleted. Also for groups that were never opened in this life, of which
    /// the ranges are given.
    DropGroup {
        /// The group.
        group: GroupId,
        /// Its keys, if the group is not held.
        ranges: Vec<KeyRange>,
    },
    /// Hand over all leaderships and seek none any more.
    TransferLeaders,
    /// Try to lead this group now, as far as promises allow.
    Campaign {
        /// The group.
        group: GroupId,
    },
}

/// Connection classes, so that liveness never queues behind data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameClass {
    /// Store liveness.
    Liveness,
    /// Consensus.
    Data,
    /// Snapshots.
    Bulk,
}

/// Why a proposal or a read barrier was not served. Only `Ambiguous` leaves it open whether it took effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead; nothing was done.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who does, if known.
        hint: Option<NodeId>,
    },
    /// The group does not live here; nothing was done.
    #[error("the group does not live here")]
    NoSuchGroup,
    /// The write may or may not have happened, or may happen yet.
    #[error("leadership was lost before the outcome was known")]
    Ambiguous,
    /// Too much in flight; nothing was done.
    #[error("too much in flight")]
    Busy,
    /// This node's disk has no room; nothing was done. Another replica may lead soon.
    #[error("the node's disk is full")]
    DiskFull,
    /// The command makes no sense to the machine; nothing was done.
    #[error("the command makes no sense: {0}")]
    Invalid(String),
    /// The engine failed while the command was evaluated; nothing was done.
    #[error("storage failed: {0}")]
    Storage(String),
}

impl From<torc_engine::Error> for ProposeError {
    fn from(error: torc_engine::Error) -> Self {
        tracing::error!(%error, "a command could not be evaluated");
        Self::Storage(error.without_paths())
    }
}

/// The store can't go on: its memory and its disk may disagree. The process must restart.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] torc_engine::Error),
    /// The log failed to sync.
    #[error("the log failed to sync")]
    Persist,
}

/// What a turn wants done.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Frames to send.
    pub frames: Vec<(NodeId, FrameClass, RaftFrame)>,
    /// Outcomes of proposals and read barriers, by token.
    pub replies: Vec<(u64, Result<Bytes, ProposeError>)>,
    /// Groups whose leader became known.
    pub leaders: Vec<(GroupId, NodeId)>,
    /// What the keeper of the topology should know.
    pub events: Vec<Event>,
    /// Round trips to other stores, milliseconds, as measured since the last turn.
    pub round_trips: Vec<(NodeId, u64)>,
    /// Groups were opened, created or dropped: [`super::Store::views`] changed.
    pub groups_changed: bool,
    /// There is more to do at once: run another turn.
    pub again: bool,
}
