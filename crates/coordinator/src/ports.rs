//! What a node is handed from outside: time, randomness, network. Files come through the engine's `Env`.
//!
//! Timers are `tokio::time`. Under the simulation tokio's clock is paused and advanced by the world, so
//! timers are deterministic too.

use bytes::Bytes;
use std::time::Duration;

/// A node's clocks. Both may drift and the wall clock may jump; nothing may rely on two nodes agreeing.
pub trait Clock: Send + Sync + 'static {
    /// Monotonic time since the process started.
    fn now(&self) -> Duration;
    /// Milliseconds since the Unix epoch, by this node's wall clock.
    fn wall_ms(&self) -> u64;
}

/// Connection classes between two nodes, the most urgent first. Each has a connection and a queue of its own,
/// so that nothing waits behind a less urgent class and a break of one says nothing of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Gossip and store liveness.
    Liveness,
    /// Messages of the consensus groups. What is lost is sent again by the groups themselves.
    Consensus,
    /// Requests and answers.
    Requests,
    /// Snapshots and other bulk transfers.
    Bulk,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 4] = [Class::Liveness, Class::Consensus, Class::Requests, Class::Bulk];
}

/// The pace of a disk whose engine has no threads of its own: the simulation's. Asked before each unit of
/// disk work.
pub trait DiskPacer: Send + Sync + 'static {
    /// How long the next unit takes; `None` while the disk is stalled.
    fn next_delay(&self) -> Option<Duration>;
}

/// Sends frames to other nodes. May lose, delay, duplicate and reorder; never blocks.
pub trait Transport: Send + Sync + 'static {
    /// Queues a frame for the node at `addr` (`host:port`). A full queue drops it.
    fn send(&self, addr: &str, class: Class, frame: Bytes);
    /// Bytes queued for that node in this class and not yet handed to its connection.
    fn backlog(&self, _addr: &str, _class: Class) -> usize {
        0
    }
    /// Whether the connection to this address is known to be broken, so that nothing sent now would leave.
    fn is_broken(&self, _addr: &str) -> bool {
        false
    }
}
