//! The storage interface of a bucket replica. Tests use it to replace the engine.

use bytes::Bytes;
use torc_engine::{Engine, Lsn, Result, WriteBatch};

/// Sorted bytes with a log. Writes are applied at once and durable when the log reaches the returned number.
pub trait Store: Send + Sync + 'static {
    /// The newest value of a key, durable or not.
    ///
    /// # Errors
    /// The storage failed; nothing was served.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// Sets all keys as one unit.
    ///
    /// # Errors
    /// The storage failed; nothing was accepted.
    fn write(&self, rows: &[(Bytes, Bytes)]) -> Result<Lsn>;

    /// Calls `visit` with the keys and values in `start..end` in order, durable or not, until it returns
    /// false.
    ///
    /// # Errors
    /// The storage failed; what was visited is sound.
    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(Bytes, Bytes) -> bool) -> Result<()>;
}

impl Store for Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Engine::get(self, key)
    }

    fn write(&self, rows: &[(Bytes, Bytes)]) -> Result<Lsn> {
        let mut batch = WriteBatch::new();
        for (key, value) in rows {
            batch.put(key, value);
        }
        Engine::write(self, &batch)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(Bytes, Bytes) -> bool) -> Result<()> {
        for item in Engine::scan(self, start, end, false, None) {
            let item = item?;
            if !visit(item.key, item.value) {
                break;
            }
        }
        Ok(())
    }
}

impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        (**self).get(key)
    }
    fn write(&self, rows: &[(Bytes, Bytes)]) -> Result<Lsn> {
        (**self).write(rows)
    }
    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(Bytes, Bytes) -> bool) -> Result<()> {
        (**self).scan(start, end, visit)
    }
}
