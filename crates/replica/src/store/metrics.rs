//! Counters of a store since its start.

/// Counters; they only rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Turns that found work.
    pub turns: u64,
    /// Visits of groups by the clock: ticks, housekeeping, promises that ended. Idle groups cost none.
    pub groups_visited: u64,
    /// Groups whose views were published anew at the end of a turn.
    pub groups_published: u64,
    /// Log appends (each covers all groups of a pass).
    pub log_appends: u64,
    /// Entries appended anew, so that the segments that held them can be recycled.
    pub entries_moved: u64,
    /// Raft messages sent.
    pub messages_sent: u64,
    /// Raft messages received.
    pub messages_received: u64,
    /// Messages dropped because no correct sender sends them.
    pub bad_messages: u64,
    /// Messages that came too late or made no sense any more.
    pub ignored_messages: u64,
    /// Commands evaluated.
    pub proposals_evaluated: u64,
    /// Commands whose writes were applied (or found to be lost) here, as their proposer.
    pub proposals_applied: u64,
    /// Commands refused because too much was in flight.
    pub proposals_refused: u64,
    /// Commands whose fate could not be told.
    pub proposals_ambiguous: u64,
    /// Entries proposed (each joins commands of one turn).
    pub entries_proposed: u64,
    /// Their bytes.
    pub bytes_proposed: u64,
    /// Entries applied.
    pub entries_applied: u64,
    /// Answers confirmed by a lease.
    pub reads_by_lease: u64,
    /// Answers confirmed by a round of heartbeats.
    pub reads_by_round: u64,
    /// Elections started.
    pub campaigns: u64,
    /// Vote requests left unanswered because of a promise, or because a leader was heard just before.
    pub votes_withheld: u64,
    /// Leaderships won.
    pub leaderships_won: u64,
    /// Leaderships lost or given up.
    pub leaderships_lost: u64,
    /// Leaderships handed to another replica on purpose.
    pub transfers: u64,
    /// Times that the disk fell so far behind that leaderships were given up.
    pub stalls: u64,
    /// Changes of membership proposed.
    pub membership_changes: u64,
    /// Snapshots begun to be sent.
    pub snapshots_sent: u64,
    /// Snapshots begun to be received.
    pub snapshots_received: u64,
    /// Transfers given up by the sender.
    pub snapshots_aborted: u64,
    /// Replicas whose data and log did not meet after a restart.
    pub replicas_refilled: u64,
    /// Replicas stopped for good.
    pub replicas_halted: u64,
}
