//! tmp
pub mod calls;
pub mod durable;
pub mod identity;
pub mod outbox;
pub mod tasks;
/// Node failure.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] torc_engine::Error),
    /// A record of the node's own is damaged.
    #[error("the node's own {0} record is damaged; restore the folder from a copy, or remove it and let the node join anew")]
    LocalRecord(&'static str),
}
