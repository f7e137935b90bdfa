//! Settings and limits of the store.

use super::observe::Observers;
use torc_cluster::NodeId;

/// Settings of a [`Store`](super::Store).
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Rises at each start of the node's process; kept by the caller.
    pub incarnation: u64,
    /// The folder never held data before, so no promise of an earlier process can still bind. Must not be set
    /// for a wiped node that keeps its number.
    pub first_boot: bool,
    /// Seed of the store's generator (election times).
    pub seed: u64,
    /// Intervals.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// Bugs for the simulation's self-test. All off in any build that serves data.
    pub planted: PlantedBugs,
    /// Receives the events of the replicas. Not set in a build that serves data.
    pub observers: Observers,
}

impl Config {
    /// Defaults for a node.
    pub fn new(node: NodeId, incarnation: u64, first_boot: bool, seed: u64) -> Self {
        Self {
            node,
            incarnation,
            first_boot,
            seed,
            timing: Timing::default(),
            limits: Limits::default(),
            planted: PlantedBugs::default(),
            observers: Observers::default(),
        }
    }
}

/// Intervals, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The logical clock of leaders: heartbeats go out every second tick.
    pub tick_ms: u64,
    /// How long a promise of support holds (`L`). Also how long a restarted store refuses to vote, so it may only be lowered while
    /// every node has been down for the old value.
    pub lease_ms: u64,
    /// How often support is asked for.
    pub liveness_ms: u64,
    /// Election timeouts are drawn from one to two times this.
    pub election_ms: u64,
    /// A log append that is not durable after this long is a stalled disk: the store gives up its leaderships.
    pub stall_ms: u64,
    /// A proposal that lost its leader and whose fate is still unknown after this long is answered as ambiguous.
    pub ambiguous_ms: u64,
    /// How often leaders look at membership, placement and log truncation.
    pub housekeeping_ms: u64,
    /// A snapshot transfer without progress is repeated from the last acknowledged chunk after this long, and given up after ten
    /// times this.
    pub snapshot_retry_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick_ms: 50,
            lease_ms: 800,
            liveness_ms: 200,
            election_ms: 200,
            stall_ms: 500,
            ambiguous_ms: 500,
            housekeeping_ms: 200,
            snapshot_retry_ms: 500,
        }
    }
}

impl Timing {
    /// The part of a promise that its holder counts on. The rest covers clocks that run at different rates (10 %).
    pub(crate) fn counted_ms(granted_ms: u64) -> u64 {
        granted_ms.saturating_mul(9) / 10
    }
}

/// Bounds on what is in flight and kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most entry bytes in one append message.
    pub message_bytes: u64,
    /// Most bytes of one frame to another store; only a single message that is larger exceeds it. Well below what a receiver accepts.
    pub frame_bytes: usize,
    /// Most append messages in flight to one follower of one group.
    pub inflight_messages: usize,
    /// Most bytes of committed entries applied by one group in one pass.
    pub apply_bytes: u64,
    /// A pass's writes go to the engine in batches of about this many bytes. One group's part is never divided.
    pub apply_batch_bytes: usize,
    /// Commands of one turn are joined into entries of about this many bytes.
    pub entry_bytes: usize,
    /// Largest entry accepted from anywhere.
    pub max_entry_bytes: usize,
    /// Most bytes of proposals not yet applied, per group; more are refused as busy.
    pub pending_bytes: usize,
    /// Most proposals waiting to be evaluated, per group.
    pub queued_proposals: usize,
    /// Entries kept behind the applied index when the log is truncated, so that a short absence needs no snapshot.
    pub keep_entries: u64,
    /// The log is truncated in steps of at least this many entries.
    pub truncate_step: u64,
    /// While the log has more segments than this, groups with entries in older ones give them up or append them
    /// anew. At twice as many, followers that are behind hold none of the log.
    pub log_segments: usize,
    /// Most bytes of entries appended anew in one round of housekeeping.
    pub moved_bytes: u64,
    /// A follower that is this many entries behind no longer holds the log back and gets a snapshot instead.
    pub max_lag_entries: u64,
    /// The same for the bytes of these entries.
    pub max_lag_bytes: u64,
    /// An absent follower holds the log back for this long, milliseconds.
    pub hold_absent_ms: u64,
    /// Bytes of one snapshot chunk.
    pub snapshot_chunk_bytes: usize,
    /// Chunks in flight of one transfer.
    pub snapshot_window: usize,
    /// Transfers sent at a time by one store.
    pub snapshot_senders: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 256 << 10,
            frame_bytes: 4 << 20,
            inflight_messages: 128,
            apply_bytes: 4 << 20,
            apply_batch_bytes: 16 << 20,
            entry_bytes: 256 << 10,
            max_entry_bytes: 64 << 20,
            pending_bytes: 64 << 20,
            queued_proposals: 16 << 10,
            keep_entries: 256,
            truncate_step: 256,
            log_segments: 6,
            moved_bytes: 1 << 20,
            max_lag_entries: 100_000,
            max_lag_bytes: 256 << 20,
            hold_absent_ms: 60_000,
            snapshot_chunk_bytes: 256 << 10,
            snapshot_window: 4,
            snapshot_senders: 2,
        }
    }
}

/// Deliberate bugs, so that the simulation can prove that it would notice them. Never set outside its self-test.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlantedBugs {
    /// Answers a proposal before any follower has it.
    pub ack_before_quorum: bool,
    /// Acts on votes and entries before they are durable.
    pub ack_before_persist: bool,
    /// A leader always believes that it holds its lease.
    pub lease_without_support: bool,
    /// Votes are not written down, so that a restarted node may vote twice in a term.
    pub forget_votes: bool,
    /// A restarted store votes at once, and promises of support do not bind votes.
    pub break_promises: bool,
    /// A bucket replica that merges another copy forgets the siblings that only it has.
    pub forget_siblings: bool,
    /// A partition of an index does not check whether it already has a change.
    pub forget_watermarks: bool,
}
