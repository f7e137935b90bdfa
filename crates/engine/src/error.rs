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

impl Error {
    /// The failure for somebody who need not learn where this node keeps its files: clients, and other nodes that tell them.
    pub fn without_paths(&self) -> String {
        match self {
            Self::Io { op, source, .. } => format!("{op} of a file failed: {}", source.kind()),
            Self::Corrupt { what, .. } => format!("a damaged {what}"),
            Self::Version { found, supported, .. } => {
                format!("a file has format version {found}; this binary reads {supported}")
            }
            Self::Locked(_) => "the data folder is in use by another process".to_owned(),
            Self::Poisoned => self.to_string(),
            Self::DiskFull { .. } => "no space left on the disk".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_are_told_names_no_path() {
        let path = || PathBuf::from("/srv/secret/torc");
        let errors = [
            Error::Io { op: "read", path: path(), source: std::io::ErrorKind::PermissionDenied.into() },
            Error::Corrupt { what: "block", path: path(), offset: 7, detail: "checksum".into() },
            Error::Version { path: path(), found: 9, supported: 1 },
            Error::Locked(path()),
            Error::Poisoned,
            Error::DiskFull { path: path() },
        ];
        for error in errors {
            let told = error.without_paths();
            assert!(!told.is_empty() && !told.contains("secret"), "{told}");
        }
    }
}
