//! The view of the topology that the bucket flows need.

use futures::future::BoxFuture;
use std::sync::Arc;
use tokio::time::Instant;
use torc_cluster::Epoch;
use torc_cluster::topology::{Command, Response, Topology};
use torc_replica::machine::meta::Refusal;

/// Why a change of the topology did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// It makes no sense on the present topology; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The meta group could not be reached in time, or the outcome is not known.
    #[error("{0}")]
    Unavailable(String),
}

/// The topology as this node knows it, and the way to change it. Implemented by the node; a double in unit
/// tests.
pub trait Directory: Send + Sync {
    /// The newest copy.
    fn topology(&self) -> Arc<Topology>;

    /// Fetches until this node knows at least this epoch, or a little time has passed. `Epoch(0)` asks for
    /// whatever is newest.
    fn refresh(&self, at_least: Epoch) -> BoxFuture<'_, ()>;

    /// Runs a command through the meta group, and waits a little until this node knows its effect.
    fn execute(&self, command: Command, deadline: Instant)
    -> BoxFuture<'_, Result<Response, DirectoryError>>;
}
