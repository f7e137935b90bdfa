//! Bodies of requests: bounded in size, in time, and in what all of them together may hold in memory.

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Largest body of a request to any face but DynamoDB's, bytes; that has a bound of its own.
pub const MAX_BODY_BYTES: usize = 24 << 20;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a body may stand still. A client that sends nothing at all is cut off sooner than one that is only slow.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// What all bodies that are being read or served may hold together, bytes, without those below [`SMALL_BYTES`].
const BUDGET_BYTES: usize = 128 << 20;
/// A body up to here never waits for the budget, so that a few huge requests cannot shut out the many small ones.
const SMALL_BYTES: usize = 64 << 10;
/// The budget is taken in steps as data arrives: a client that announces much and sends nothing holds nothing.
const STEP_BYTES: usize = 1 << 20;
/// How long a body waits for the budget before its request is refused.
const BUDGET_WAIT: Duration = Duration::from_secs(5);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProblem {
    /// More than its face takes.
    TooLarge,
    /// The client was too slow, or went away.
    Incomplete,
    /// It is packed in a way that is not known, or damaged.
    Encoding,
    /// Too many large requests are being read or served.
    Busy,
}

impl BodyProblem {
    /// The refusal, for those who do not speak DynamoDB's protocol.
    pub(super) fn into_plain(self) -> Response<Full<Bytes>> {
        let (status, text) = match self {
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large"),
            Self::Encoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "the request body is not packed as it says")
            }
            Self::Incomplete => (StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in full"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many large requests at once; try again"),
        };
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }
}

/// What the large bodies of all connections may hold.
#[derive(Clone)]
pub(super) struct Budget {
    steps: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: Arc::new(Semaphore::new(BUDGET_BYTES / STEP_BYTES)) }
    }
}

/// A body in memory, and its share of the budget until it is dropped.
pub(super) struct Held {
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// Reads a body of at most `max_bytes` to its end.
    pub async fn read(&self, mut body: Incoming, max_bytes: usize) -> Result<Held, BodyProblem> {
        let announced = body.size_hint();
        if announced.lower() > max_bytes as u64 {
            return Err(BodyProblem::TooLarge);
        }
        if body.is_end_stream() {
            return Ok(Held { bytes: Bytes::new(), _share: None });
        }
        // Nearly every body comes whole in one piece, before anything has to be waited for: no timer, no copy.
        let whole = announced.exact().filter(|length| *length <= SMALL_BYTES as u64);
        let began = Instant::now();
        let first = next(&mut body, began).await?;
        let Some(first) = first else { return Ok(Held { bytes: Bytes::new(), _share: None }) };
        if whole == Some(first.len() as u64) {
            return Ok(Held { bytes: first, _share: None });
        }
        let mut read = BytesMut::with_capacity(whole.map_or(first.len(), |length| length as usize));
        let mut share: Option<OwnedSemaphorePermit> = None;
        let mut piece = Some(first);
        while let Some(data) = piece {
            if read.len() + data.len() > max_bytes {
                return Err(BodyProblem::TooLarge);
            }
            let held = share.as_ref().map_or(SMALL_BYTES, |share| share.num_permits() * STEP_BYTES);
            if let Some(missing) = (read.len() + data.len()).checked_sub(held).filter(|missing| *missing > 0)
            {
                let more = self.take(missing.div_ceil(STEP_BYTES)).await?;
                match &mut share {
                    Some(share) => share.merge(more),
                    none => *none = Some(more),
                }
            }
            read.extend_from_slice(&data);
            piece = next(&mut body, began).await?;
        }
        Ok(Held { bytes: read.freeze(), _share: share })
    }

    async fn take(&self, steps: usize) -> Result<OwnedSemaphorePermit, BodyProblem> {
        let steps = u32::try_from(steps).map_err(|_| BodyProblem::TooLarge)?;
        let taken = tokio::time::timeout(BUDGET_WAIT, self.steps.clone().acquire_many_owned(steps)).await;
        taken.ok().and_then(Result::ok).ok_or(BodyProblem::Busy)
    }
}

/// The next data of a body, `None` at its end. Trailers are passed over.
async fn next(body: &mut Incoming, began: Instant) -> Result<Option<Bytes>, BodyProblem> {
    loop {
        let deadline = (Instant::now() + STALL_TIMEOUT).min(began + BODY_TIMEOUT);
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_) => continue,
            },
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) | Err(_) => return Err(BodyProblem::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_budget_is_shared_and_given_back() {
        let budget = Budget::default();
        let all = budget.take(BUDGET_BYTES / STEP_BYTES).await.unwrap();
        assert_eq!(budget.take(1).await.err(), Some(BodyProblem::Busy));
        drop(all);
        assert!(budget.take(1).await.is_ok());
    }
}
