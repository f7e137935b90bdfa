//! Waiting for the log: which log sequence number is on disk.

use tokio::sync::watch;
use torc_engine::{Engine, Lsn};

/// The log failed to sync; the process must restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log failed to sync; restart the node")]
pub struct LogFailed;

/// A shared view of the durable position.
#[derive(Clone)]
pub struct Durable {
    position: watch::Receiver<Result<Lsn, LogFailed>>,
}

impl Durable {
    /// Subscribes to the engine's log. `also` is told of every new position (the store loop's queue).
    pub fn subscribe(engine: &Engine, also: impl Fn(Result<Lsn, LogFailed>) + Send + Sync + 'static) -> Self {
        let (sender, position) = watch::channel(Ok(engine.log().durable_lsn()));
        engine.log().on_durable(std::sync::Arc::new(move |result| {
            let result = result.map_err(|_| LogFailed);
            also(result);
            let _previous = sender.send_replace(result);
        }));
        Self { position }
    }

    /// Hears of every new position.
    pub fn watch(&self) -> watch::Receiver<Result<Lsn, LogFailed>> {
        self.position.clone()
    }

    /// Waits until everything up to `lsn` survives a crash.
    pub async fn wait(&self, lsn: Lsn) -> Result<(), LogFailed> {
        let mut position = self.position.clone();
        let reached = position.wait_for(|p| p.map_or(true, |durable| durable >= lsn)).await;
        match reached {
            Ok(position) => position.map(|_| ()),
            Err(_closed) => Err(LogFailed),
        }
    }
}
