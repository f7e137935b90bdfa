//! One copy of bucket data: the replica core of the quorum protocol, sans-IO.
//!
//! * [`context`] and [`dvv`]: causality. Dots, causal contexts, dotted version vector sets.
//! * [`value`], [`lww`], [`state`]: what a key holds under each policy, how two copies merge, and the stored
//!   record. A CRDT type is one more [`State`] variant with its own file, record kind and merge.
//! * [`key`]: the keys in the engine's key space. [`hlc`]: timestamps. [`limits`]: every bound.
//! * [`replica`]: [`BucketReplica`], which serialises read-modify-writes and shows a state only once it is
//!   durable.
//!
//! `torc_coordinator::bucket::local` calls this module: it drives the replica and turns durable log positions
//! into answers. This module must never read a clock, open a file, talk to another node, or show a dot that
//! is not durable.

pub mod codec;
pub mod context;
pub mod dvv;
pub mod hlc;
pub mod key;
pub mod limits;
pub mod lww;
pub mod replica;
pub mod state;
pub mod store;
pub mod value;

pub use codec::DecodeError;
pub use context::{Actor, Context, Dot};
pub use dvv::SiblingSet;
pub use hlc::Hlc;
pub use lww::LastWrite;
pub use replica::{Accepted, BucketReplica, Commit, Outcome, PutOp, ReplicaError, Stage, Ticket};
pub use state::{EMPTY_DIGEST, Policy, State};
pub use store::Store;
pub use value::Value;
