//! Errors as the client sees them.

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
    /// A server was asked for a delete and gave no answer that tells what became of it. It may have happened; it was not repeated.
    #[error("the outcome of the delete is unknown: {0}")]
    Unknown(String),
    /// An address that is not `host:port`.
    #[error("{0:?} is not an address (host:port)")]
    Address(String),
    /// An answer that makes no sense.
    #[error("the server's answer makes no sense: {0}")]
    Answer(&'static str),
}

/// What a failure says about asking another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// It would say the same.
    No,
    /// It may do better, and this one certainly did nothing.
    Undone,
    /// It may do better; this one may have done what it was asked.
    Unknown,
}

impl ClientError {
    /// Whether another server may do better: this one could not be reached, or gave up.
    pub(crate) fn from_status(status: &Status) -> (Self, Elsewhere) {
        let text =
            |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match text("torc-code") {
            Some(code) => {
                let retryable = text("torc-retryable").as_deref() == Some("true");
                let hint = text("torc-hint").unwrap_or_default();
                let elsewhere = match (retryable, code.as_str()) {
                    (false, _) => Elsewhere::No,
                    (true, "Unavailable" | "DiskFull") => Elsewhere::Undone,
                    (true, _) => Elsewhere::Unknown,
                };
                (
                    ClientError::Server { code, message: status.message().to_owned(), hint, retryable },
                    elsewhere,
                )
            }
            None if never_sent(status) => {
                (ClientError::Unreachable(status.message().to_owned()), Elsewhere::Undone)
            }
            None => {
                let elsewhere = matches!(
                    status.code(),
                    Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Cancelled
                );
                if elsewhere {
                    (ClientError::Unreachable(status.message().to_owned()), Elsewhere::Unknown)
                } else {
                    let error = ClientError::Server {
                        code: format!("{:?}", status.code()),
                        message: status.message().to_owned(),
                        hint: String::new(),
                        retryable: false,
                    };
                    (error, Elsewhere::No)
                }
            }
        }
    }
}

/// Whether there was no connection to send the request on.
fn never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
