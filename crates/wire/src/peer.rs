//! Frames between nodes: what travels on one connection class, and the requests and answers inside.

use bytes::Bytes;

/// One frame: everything one node has to say to another at one moment, on one class.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    /// The cluster; a frame of another cluster is dropped.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The sender.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// The sender's topology epoch: a receiver that is behind fetches.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// Consensus and store liveness (an encoded `raft::RaftFrame`), empty if none.
    #[prost(bytes = "bytes", tag = "4")]
    pub raft: Bytes,
    /// A gossip datagram, empty if none.
    #[prost(bytes = "bytes", tag = "5")]
    pub gossip: Bytes,
    /// Requests.
    #[prost(message, repeated, tag = "6")]
    pub requests: Vec<Call>,
    /// Answers to earlier requests.
    #[prost(message, repeated, tag = "7")]
    pub responses: Vec<Answer>,
    /// The intended receiver; 0 when not known yet (joining). A frame for another node is dropped.
    #[prost(uint64, tag = "8")]
    pub to: u64,
    /// Where the sender can be answered, `host:port`.
    #[prost(string, tag = "9")]
    pub from_addr: String,
}

/// A request in flight.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Call {
    /// Chosen by the caller, unique among its requests of this incarnation.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// How long the caller still waits, milliseconds.
    #[prost(uint32, tag = "2")]
    pub deadline_ms: u32,
    /// The request.
    #[prost(message, optional, tag = "3")]
    pub request: Option<PeerRequest>,
}

/// The answer to a [`Call`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// The call's id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The answer.
    #[prost(message, optional, tag = "2")]
    pub response: Option<PeerResponse>,
}

/// A request between nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerRequest {
    /// Which.
    #[prost(oneof = "RequestBody", tags = "1, 2, 3, 4, 5, 10, 11, 12, 13, 14")]
    pub body: Option<RequestBody>,
}

/// An answer between nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerResponse {
    /// Which.
    #[prost(oneof = "ResponseBody", tags = "1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14")]
    pub body: Option<ResponseBody>,
}

/// The kinds of request.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum RequestBody {
    /// Run a command through a group's leader.
    #[prost(message, tag = "1")]
    Propose(Propose),
    /// Read one key of a group.
    #[prost(message, tag = "2")]
    Read(Read),
    /// Read a key range of a group.
    #[prost(message, tag = "3")]
    Range(Range),
    /// Send the topology if newer than this epoch.
    #[prost(message, tag = "4")]
    Topology(TopologyFetch),
    /// Ask to join the cluster.
    #[prost(message, tag = "5")]
    Join(Join),
    /// Coordinate a bucket operation on a replica (forwarded).
    #[prost(message, tag = "10")]
    BucketCoordinate(crate::bucket::BucketCoordinate),
    /// Merge a bucket key's state into this replica.
    #[prost(message, tag = "11")]
    BucketMerge(crate::bucket::BucketMerge),
    /// Read a bucket key's state or digest from this replica.
    #[prost(message, tag = "12")]
    BucketRead(crate::bucket::BucketRead),
    /// List keys of a bucket partition on this replica.
    #[prost(message, tag = "13")]
    BucketList(crate::bucket::BucketList),
    /// Wait until an index holds what this partition's leader has applied.
    #[prost(message, tag = "14")]
    IndexWait(IndexWait),
}

/// The kinds of answer.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ResponseBody {
    /// A command's answer.
    #[prost(message, tag = "1")]
    Proposed(Proposed),
    /// One key.
    #[prost(message, tag = "2")]
    Value(Value),
    /// A range.
    #[prost(message, tag = "3")]
    Rows(Rows),
    /// A topology.
    #[prost(message, tag = "4")]
    Topology(TopologyReply),
    /// Joined.
    #[prost(message, tag = "5")]
    Joined(Joined),
    /// This node can't serve the request; says who may.
    #[prost(message, tag = "6")]
    Redirect(Redirect),
    /// Result of a bucket operation.
    #[prost(message, tag = "10")]
    BucketResult(crate::bucket::BucketResult),
    /// A merge is durable.
    #[prost(message, tag = "11")]
    BucketMerged(crate::bucket::BucketMerged),
    /// A bucket key's state.
    #[prost(message, tag = "12")]
    BucketState(crate::bucket::BucketState),
    /// Keys.
    #[prost(message, tag = "13")]
    BucketKeys(crate::bucket::BucketKeys),
    /// The index holds it.
    #[prost(message, tag = "14")]
    IndexHolds(IndexHolds),
}

/// See [`RequestBody::IndexWait`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IndexWait {
    /// The partition of the table.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// How long to wait, milliseconds.
    #[prost(uint32, tag = "3")]
    pub wait_ms: u32,
}

/// See [`ResponseBody::IndexHolds`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct IndexHolds {
    /// False: the time was over before.
    #[prost(bool, tag = "1")]
    pub all: bool,
}

/// See [`RequestBody::Propose`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Propose {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// The machine's command.
    #[prost(bytes = "bytes", tag = "3")]
    pub command: Bytes,
}

/// See [`ResponseBody::Proposed`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Proposed {
    /// The machine's answer.
    #[prost(bytes = "bytes", tag = "1")]
    pub response: Bytes,
}

/// See [`RequestBody::Read`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Read {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Storage key.
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    /// Linearizable (leader only) or from whatever this replica has.
    #[prost(bool, tag = "4")]
    pub strong: bool,
}

/// See [`ResponseBody::Value`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// The stored bytes, absent if there is no such key.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub value: Option<Bytes>,
}

/// See [`RequestBody::Range`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Range {
    /// The group.
    #[prost(uint64, tag = "1")]
    pub group: u64,
    /// The caller's epoch.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// First storage key.
    #[prost(bytes = "bytes", tag = "3")]
    pub start: Bytes,
    /// One past the last.
    #[prost(bytes = "bytes", tag = "4")]
    pub end: Bytes,
    /// From the end backwards.
    #[prost(bool, tag = "5")]
    pub reverse: bool,
    /// At most this many rows.
    #[prost(uint32, tag = "6")]
    pub max_rows: u32,
    /// Stop after this many bytes of values.
    #[prost(uint32, tag = "7")]
    pub max_bytes: u32,
    /// Linearizable or not.
    #[prost(bool, tag = "8")]
    pub strong: bool,
}

/// See [`ResponseBody::Rows`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rows {
    /// Keys, in the order asked for.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub keys: Vec<Bytes>,
    /// Their values.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub values: Vec<Bytes>,
    /// Whether the range may hold more rows.
    #[prost(bool, tag = "3")]
    pub more: bool,
}

/// See [`RequestBody::Topology`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct TopologyFetch {
    /// The epoch the caller has.
    #[prost(uint64, tag = "1")]
    pub have: u64,
    /// Only the meta group's leader may answer, and only while it certainly leads.
    #[prost(bool, tag = "2")]
    pub strong: bool,
}

/// See [`ResponseBody::Topology`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct TopologyReply {
    /// The epoch of what follows; equal to the caller's if nothing is newer.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Encoded changes that rebuild the topology (a full dump), empty if not newer.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub changes: Vec<Bytes>,
}

/// See [`RequestBody::Join`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Join {
    /// Drawn once by the node and kept in its folder, so that a retry gets the same number.
    #[prost(bytes = "bytes", tag = "1")]
    pub uuid: Bytes,
    /// Where other nodes reach it.
    #[prost(string, tag = "2")]
    pub addr: String,
    /// Where clients reach it.
    #[prost(string, tag = "3")]
    pub api_addr: String,
    /// Its zone.
    #[prost(string, tag = "4")]
    pub zone: String,
    /// Its weight.
    #[prost(uint32, tag = "5")]
    pub weight: u32,
}

/// See [`ResponseBody::Joined`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Joined {
    /// The cluster.
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    /// The node's number.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// The topology to start from.
    #[prost(message, optional, tag = "3")]
    pub topology: Option<TopologyReply>,
}

/// See [`ResponseBody::Redirect`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Redirect {
    /// Why (see [`RedirectReason`]).
    #[prost(enumeration = "RedirectReason", tag = "1")]
    pub reason: i32,
    /// The node to ask instead, 0 if not known.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// The answering node's epoch: a caller that is behind fetches the topology first.
    #[prost(uint64, tag = "3")]
    pub epoch: u64,
    /// For humans.
    #[prost(string, tag = "4")]
    pub detail: String,
}

/// Why a request was not served. Only `Ambiguous` leaves it open whether it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum RedirectReason {
    /// Not set.
    Unknown = 0,
    /// This replica does not lead the group.
    NotLeader = 1,
    /// The group does not live here, or the key is not in its range.
    WrongPartition = 2,
    /// The write may or may not have happened.
    Ambiguous = 3,
    /// Too much in flight, or shutting down: nothing was done.
    Busy = 4,
    /// The request makes no sense to this node (a version it does not know).
    Invalid = 5,
    /// A storage failure: nothing was served.
    Storage = 6,
    /// The disk of this replica has no room: nothing was done.
    DiskFull = 7,
}
