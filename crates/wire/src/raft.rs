//! Consensus traffic between stores: everything that one node's consensus driver sends to another's in one
//! turn.
//!
//! The messages mirror Raft's, field by field, but are types of our own: the consensus crate's parser never
//! sees bytes from the network. See docs/protocols/consensus.md and docs/protocols/lease.md.

use bytes::Bytes;

/// One frame of consensus traffic. Sender and receiver are the enclosing peer frame's.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftFrame {
    /// The sender's incarnation: rises at each start of its process.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// Raft messages of any number of groups, in the order to step them.
    #[prost(message, repeated, tag = "2")]
    pub messages: Vec<RaftMessage>,
    /// The sender asks for (continued) support of its leaderships.
    #[prost(message, optional, tag = "3")]
    pub liveness: Option<Liveness>,
    /// The sender supports the receiver.
    #[prost(message, optional, tag = "4")]
    pub grant: Option<Grant>,
    /// Snapshot transfer and membership notices.
    #[prost(message, repeated, tag = "5")]
    pub controls: Vec<Control>,
}

/// Kinds of raft message. The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RaftKind {
    /// Not set; such a message is dropped.
    Unknown = 0,
    /// Leader to follower: entries.
    Append = 1,
    /// Follower to leader: entries durable, or refused.
    AppendResponse = 2,
    /// Candidate: vote for me.
    Vote = 3,
    /// A durable vote, or a refusal.
    VoteResponse = 4,
    /// Would you vote for me?
    PreVote = 5,
    /// I would, or not.
    PreVoteResponse = 6,
    /// Leader to follower: I lead.
    Heartbeat = 7,
    /// Follower to leader: you lead.
    HeartbeatResponse = 8,
    /// Leader to its successor: campaign at once.
    TimeoutNow = 9,
}

/// One raft message. Fields that a kind does not use are 0.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftMessage {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The kind.
    #[prost(enumeration = "RaftKind", tag = "2")]
    pub kind: i32,
    /// The sender's term (for pre-votes: the term it would campaign in).
    #[prost(uint64, tag = "3")]
    pub term: u64,
    /// Term of the entry at `index`, or of a rejection's hint.
    #[prost(uint64, tag = "4")]
    pub log_term: u64,
    /// The entry before `entries`; the acknowledged index; a candidate's last index.
    #[prost(uint64, tag = "5")]
    pub index: u64,
    /// The sender's commit index.
    #[prost(uint64, tag = "6")]
    pub commit: u64,
    /// The term of `commit`, in votes.
    #[prost(uint64, tag = "7")]
    pub commit_term: u64,
    /// A refusal.
    #[prost(bool, tag = "8")]
    pub reject: bool,
    /// Where a refused leader should try next.
    #[prost(uint64, tag = "9")]
    pub reject_hint: u64,
    /// Read barrier of a heartbeat, or the mark of a leadership transfer in a vote.
    #[prost(bytes = "bytes", tag = "10")]
    pub context: Bytes,
    /// Entries, at consecutive indexes from `index + 1`.
    #[prost(message, repeated, tag = "11")]
    pub entries: Vec<RaftEntry>,
    /// In answers to a leader: the support epoch under which the sender promises to elect nobody else, 0 for
    /// no promise.
    #[prost(uint64, tag = "12")]
    pub fortify: u64,
}

/// Kinds of log entry. The numbers are part of the log format too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry.
    Empty = 0,
    /// Writes.
    Normal = 1,
    /// A change of membership ([`ConfChange`] encoded).
    ConfChange = 2,
}

/// A log entry.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RaftEntry {
    /// The kind.
    #[prost(enumeration = "EntryKind", tag = "1")]
    pub kind: i32,
    /// Its term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Its index.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Its content, see docs/formats/raft-log.md.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// What one change does to one member. The numbers are part of the log format too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeKind {
    /// Becomes a voter.
    Voter = 0,
    /// Is removed.
    Remove = 1,
    /// Becomes a learner.
    Learner = 2,
}

/// One member's part of a [`ConfChange`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfChangeSingle {
    /// What.
    #[prost(enumeration = "ConfChangeKind", tag = "1")]
    pub kind: i32,
    /// Whom.
    #[prost(uint64, tag = "2")]
    pub node: u64,
}

/// A change of membership. Its encoding is the one that the consensus crate writes itself for the joint
/// protocol's last step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfChange {
    /// 0: joint only if more than one member changes; 1: joint, left automatically.
    #[prost(uint32, tag = "1")]
    pub transition: u32,
    /// The changes; none means: leave the joint configuration.
    #[prost(message, repeated, tag = "2")]
    pub changes: Vec<ConfChangeSingle>,
}

/// Members of a group.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Members {
    /// Voters.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// Learners.
    #[prost(uint64, repeated, tag = "2")]
    pub learners: Vec<u64>,
    /// The voters being replaced, while joint.
    #[prost(uint64, repeated, tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Voters that become learners once the joint configuration is left.
    #[prost(uint64, repeated, tag = "4")]
    pub learners_next: Vec<u64>,
    /// The joint configuration is left automatically.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

/// A request for support. The receiver promises to elect nobody against the sender's leaderships for a while.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Liveness {
    /// The sender's monotonic clock, milliseconds; echoed in the grant, meaningless to anybody else.
    #[prost(uint64, tag = "1")]
    pub sent_at_ms: u64,
    /// How long a promise the sender asks for, milliseconds.
    #[prost(uint64, tag = "2")]
    pub duration_ms: u64,
    /// Leaderships that the sender gave up lately.
    #[prost(message, repeated, tag = "3")]
    pub resigned: Vec<Resigned>,
}

/// The sender does not lead this group in this term or any before, and never will again.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Resigned {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

/// The answer to [`Liveness`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Grant {
    /// `sent_at_ms` of the request.
    #[prost(uint64, tag = "1")]
    pub sent_at_ms: u64,
    /// Incarnation of the requester that sent it.
    #[prost(uint64, tag = "2")]
    pub to_incarnation: u64,
    /// The promise's epoch: it changes whenever support had a gap.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// How long the promise holds from its making, milliseconds.
    #[prost(uint64, tag = "4")]
    pub duration_ms: u64,
}

/// Snapshot transfer and membership notices.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Control {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// What.
    #[prost(oneof = "ControlBody", tags = "2, 3, 4, 5, 6")]
    pub body: Option<ControlBody>,
}

/// See [`Control`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ControlBody {
    /// To the leader: this replica is empty or incomplete.
    #[prost(message, tag = "2")]
    NeedSnapshot(NeedSnapshot),
    /// From the leader: a snapshot follows.
    #[prost(message, tag = "3")]
    SnapshotBegin(SnapshotBegin),
    /// A part of it.
    #[prost(message, tag = "4")]
    SnapshotChunk(SnapshotChunk),
    /// To the leader: how far the transfer is.
    #[prost(message, tag = "5")]
    SnapshotAck(SnapshotAck),
    /// From the leader: the receiver is no longer a member.
    #[prost(message, tag = "6")]
    Removed(Removed),
}

/// See [`ControlBody::NeedSnapshot`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct NeedSnapshot {
    /// The leader's term that the sender has seen.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The snapshot must reach at least this index.
    #[prost(uint64, tag = "2")]
    pub min_index: u64,
}

/// Names a snapshot transfer. A sender counts its transfers anew in each life, so the number alone may come
/// twice.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct TransferId {
    /// The sender's incarnation.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// The term that the sender leads in.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// 1, 2, 3 … within the incarnation.
    #[prost(uint64, tag = "3")]
    pub number: u64,
}

/// See [`ControlBody::SnapshotBegin`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotBegin {
    /// The transfer that begins. Required.
    #[prost(message, required, tag = "1")]
    pub id: TransferId,
    /// The snapshot's applied index.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// That entry's term.
    #[prost(uint64, tag = "4")]
    pub index_term: u64,
    /// The members as of `index`.
    #[prost(message, optional, tag = "5")]
    pub members: Option<Members>,
}

/// See [`ControlBody::SnapshotChunk`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotChunk {
    /// The transfer.
    #[prost(message, required, tag = "1")]
    pub id: TransferId,
    /// 0, 1, 2 …
    #[prost(uint64, tag = "2")]
    pub seq: u64,
    /// Keys.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub keys: Vec<Bytes>,
    /// Their values.
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub values: Vec<Bytes>,
    /// Nothing follows.
    #[prost(bool, tag = "5")]
    pub last: bool,
}

/// See [`ControlBody::SnapshotAck`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotAck {
    /// The transfer.
    #[prost(message, required, tag = "1")]
    pub id: TransferId,
    /// The chunk wanted next; everything before is applied.
    #[prost(uint64, tag = "2")]
    pub next_seq: u64,
    /// The receiver does not want this snapshot: stop.
    #[prost(bool, tag = "3")]
    pub refused: bool,
}

/// See [`ControlBody::Removed`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Removed {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The leader's applied index, by which the receiver was no member.
    #[prost(uint64, tag = "2")]
    pub index: u64,
}
