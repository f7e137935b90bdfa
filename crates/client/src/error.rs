//! Failures as the client sees them.

use tonic::{Code, Status};

/// Why an operation did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// A server refused or failed. A write that failed with `retryable` may be stored on some replicas.
    #[error("{code}: {message} ({hint})")]
    Server {
        /// Stable code, as in docs/protocols/buckets.md.
        code: String,
        /// What happened.
        message: String,
        /// What to do next.
        hint: String,
        /// Whether trying again later may work.
        retryable: bool,
    },
    /// No server could be reached.
    #[error("no server could be reached: {0}")]
    Unreachable(String),
    /// An address that is not `host:port`.
    #[error("{0:?} is not an address (host:port)")]
    Address(String),
    /// An answer that makes no sense.
    #[error("the server's answer makes no sense: {0}")]
    Answer(&'static str),
}

impl ClientError {
    /// Whether another server may do better: this one could not be reached, or gave up.
    pub(crate) fn from_status(status: &Status) -> (Self, bool) {
        let text =
            |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match text("torc-code") {
            Some(code) => {
                let retryable = text("torc-retryable").as_deref() == Some("true");
                let hint = text("torc-hint").unwrap_or_default();
                (
                    ClientError::Server { code, message: status.message().to_owned(), hint, retryable },
                    retryable,
                )
            }
            None => {
                let elsewhere = matches!(
                    status.code(),
                    Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled
                );
                let error = if elsewhere {
                    ClientError::Unreachable(status.message().to_owned())
                } else {
                    ClientError::Server {
                        code: format!("{:?}", status.code()),
                        message: status.message().to_owned(),
                        hint: String::new(),
                        retryable: false,
                    }
                };
                (error, elsewhere)
            }
        }
    }
}
