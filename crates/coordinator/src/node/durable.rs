//! Waits until the log is durable up to a log sequence number.

use crate::signal::{Follower, Signal};
use torc_engine::{Engine, Lsn};

/// The log failed to sync; the process must restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log failed to sync; restart the node")]
pub struct LogFailed;

/// A shared view of the durable position.
#[derive(Clone)]
pub struct Durable {
    position: Signal<Result<Lsn, LogFailed>>,
}

impl Durable {
    /// Subscribes to the engine's log. `also` is told of every new position (the store loop's queue).
    pub fn subscribe(engine: &Engine, also: impl Fn(Result<Lsn, LogFailed>) + Send + Sync + 'static) -> Self {
        let position = Signal::new(Ok(engine.log().durable_lsn()));
        let told = position.clone();
        engine.log().on_durable(std::sync::Arc::new(move |result| {
            let result = result.map_err(|_| LogFailed);
            also(result);
            told.set(result);
        }));
        Self { position }
    }

    /// The position now.
    pub fn position(&self) -> Result<Lsn, LogFailed> {
        self.position.get()
    }

    /// Hears of every new position.
    pub(crate) fn follow(&self) -> Follower<Result<Lsn, LogFailed>> {
        self.position.follow()
    }

    /// Waits until everything up to `lsn` survives a crash.
    pub async fn wait(&self, lsn: Lsn) -> Result<(), LogFailed> {
        let reached = self.position.wait_for(|p| p.map_or(true, |durable| durable >= lsn)).await;
        reached.map(|_| ())
    }
}
