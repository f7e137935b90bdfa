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

/// What all large bodies may become while they are parsed and served, bytes: enough for two of the largest size.
const PARSING_BYTES: usize = 2 * PARSED_FACTOR * MAX_BODY_BYTES;
/// How much more than its text a large JSON body takes while it is parsed and served.
const PARSED_FACTOR: usize = 3;
/// Of a refused body so much is read and thrown away before the answer, bytes …
const MAX_PASSED_BYTES: usize = 256 << 20;
/// … and for so long.
const MAX_PASSING: Duration = Duration::from_secs(10);

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
    /// What they may become when they are parsed. Apart from the bodies: those in memory could otherwise leave none of them the room to be parsed.
    parsing: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            steps: Arc::new(Semaphore::new(BUDGET_BYTES / STEP_BYTES)),
            parsing: Arc::new(Semaphore::new(PARSING_BYTES / STEP_BYTES)),
        }
    }
}

/// A body in memory, and its share of the budget until it is dropped.
pub(super) struct Held {
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// The share of what a large body becomes when it is parsed.
    pub async fn for_parsing(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyProblem> {
        take(&self.parsing, (bytes * PARSED_FACTOR).div_ceil(STEP_BYTES)).await
    }

    /// Reads a body of at most `max_bytes` to its end. One that is refused is read to its end too, and thrown away: most clients look for an answer only when they
    /// have sent everything, and would see a broken connection instead.
    pub async fn read(&self, mut body: Incoming, max_bytes: usize) -> Result<Held, BodyProblem> {
        match self.keep(&mut body, max_bytes).await {
            Err(problem @ (BodyProblem::TooLarge | BodyProblem::Busy)) => {
                pass_over(&mut body).await;
                Err(problem)
            }
            kept => kept,
        }
    }

    async fn keep(&self, body: &mut Incoming, max_bytes: usize) -> Result<Held, BodyProblem> {
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
        let first = next(body, began).await?;
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
                let more = take(&self.steps, missing.div_ceil(STEP_BYTES)).await?;
                match &mut share {
                    Some(share) => share.merge(more),
                    none => *none = Some(more),
                }
            }
            read.extend_from_slice(&data);
            piece = next(body, began).await?;
        }
        Ok(Held { bytes: read.freeze(), _share: share })
    }
}

async fn take(budget: &Arc<Semaphore>, steps: usize) -> Result<OwnedSemaphorePermit, BodyProblem> {
    let steps = u32::try_from(steps).map_err(|_| BodyProblem::TooLarge)?;
    let taken = tokio::time::timeout(BUDGET_WAIT, budget.clone().acquire_many_owned(steps)).await;
    taken.ok().and_then(Result::ok).ok_or(BodyProblem::Busy)
}

/// Reads what is left of a refused body, within bounds.
async fn pass_over(body: &mut Incoming) {
    let began = Instant::now();
    let mut left = MAX_PASSED_BYTES;
    let read = async {
        while let Ok(Some(data)) = next(body, began).await {
            match left.checked_sub(data.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    let _ = timeout_at(began + MAX_PASSING, read).await;
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
        let all = take(&budget.steps, BUDGET_BYTES / STEP_BYTES).await.unwrap();
        assert_eq!(take(&budget.steps, 1).await.err(), Some(BodyProblem::Busy));
        assert!(budget.for_parsing(MAX_BODY_BYTES).await.is_ok(), "bodies that are here can be parsed");
        drop(all);
        assert!(take(&budget.steps, 1).await.is_ok());
    }
}
