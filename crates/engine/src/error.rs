//! The engine's errors. Each says what state it leaves behind.

use std::path::PathBuf;

/// Result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An engine failure. Every variant says what state was left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed. Nothing was acknowledged; after a failed sync the engine refuses further
    /// writes.
    #[error("{op} of {path} failed: {source}")]
    Io {
        /// The operation that failed.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Bytes on disk do not match their checksum or layout. They were not served.
    #[error("corrupt {what} in {path} at byte {offset}: {detail}")]
    Corrupt {
        /// Kind of record (block, footer, log record, manifest edit).
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Byte offset in the file.
        offset: u64,
        /// What did not match.
        detail: String,
    },
    /// The folder was written by a format this binary does not know. Nothing was changed.
    #[error("{path} has format version {found}; this binary reads {supported}")]
    Version {
        /// The file that carries the version.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Version supported.
        supported: u32,
    },
    /// Another process holds the folder. Nothing was changed.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// A log sync failed earlier; the engine accepts no more writes. Restart the process.
    #[error("the log failed to sync; writes are refused until restart")]
    Poisoned,
    /// The device is full: this write was not accepted, reads go on, writing resumes when space returns.
    #[error("no space left for {path}")]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
}
