//! Bodies of requests: bounded in size, in time, and in the memory of all bodies together.

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use torc_coordinator::request::{ByteBudget, Exhausted, Lane, SMALL_BYTES, Share};

/// Largest body of a request in any protocol but DynamoDB's, bytes; DynamoDB's has a bound of its own.
pub const MAX_BODY_BYTES: usize = 24 << 20;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a body may stand still. A client that sends nothing at all is cut off sooner than one that is only slow.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A body that holds memory which others may wait for must come in at this rate, bytes a second, after so long.
const MIN_RATE: u64 = 64 << 10;
const RATE_GRACE: Duration = Duration::from_secs(5);
/// How long a body waits for memory before its request is refused.
const BUDGET_WAIT: Duration = Duration::from_secs(12);
/// Of a refused body so much is read and thrown away before the answer, bytes …
const MAX_PASSED_BYTES: usize = 256 << 20;
/// … and for so long.
const MAX_PASSING: Duration = Duration::from_secs(10);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProblem {
    /// More than its protocol allows.
    TooLarge,
    /// The client was too slow, or went away.
    Incomplete,
    /// It is packed in a way that is not known, or damaged.
    Encoding,
    /// Too many large requests are being read or served.
    Busy,
}

impl BodyProblem {
    /// The error, for protocols other than DynamoDB's.
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

impl From<Exhausted> for BodyProblem {
    fn from(_: Exhausted) -> Self {
        Self::Busy
    }
}

/// A body in memory, and its share of the node's memory for requests.
pub(super) struct Held {
    pub bytes: Bytes,
    pub share: Option<Share>,
}

/// Reads a body of at most `max_bytes` to its end. One that is refused is read to its end too, and thrown away: most clients look for an
/// answer only when they have sent everything, and would see a broken connection instead.
pub(super) async fn read(
    budget: &ByteBudget,
    mut body: Incoming,
    max_bytes: usize,
) -> Result<Held, BodyProblem> {
    match keep(budget, &mut body, max_bytes).await {
        Err(problem @ (BodyProblem::TooLarge | BodyProblem::Busy)) => {
            pass_over(&mut body).await;
            Err(problem)
        }
        kept => kept,
    }
}

/// A large body's memory is taken as a whole once its first bytes are here. Bodies that each took a part and then waited for more would
/// wait for each other.
async fn keep(budget: &ByteBudget, body: &mut Incoming, max_bytes: usize) -> Result<Held, BodyProblem> {
    let announced = body.size_hint();
    if announced.lower() > max_bytes as u64 {
        return Err(BodyProblem::TooLarge);
    }
    if body.is_end_stream() {
        return Ok(Held { bytes: Bytes::new(), share: None });
    }
    let began = Instant::now();
    let until = began + BUDGET_WAIT;
    let Some(first) = next(body, began).await? else { return Ok(Held { bytes: Bytes::new(), share: None }) };
    let length = announced.exact().and_then(|length| usize::try_from(length).ok());
    if length == Some(first.len()) && first.len() <= SMALL_BYTES {
        // Nearly every body comes whole in one piece: no timer, no copy.
        let share = budget.take(Lane::Small, first.len(), until).await?;
        return Ok(Held { bytes: first, share: Some(share) });
    }
    // A body that does not say its length is small until it is not.
    let mut room = length.unwrap_or(SMALL_BYTES);
    let lane = if room <= SMALL_BYTES { Lane::Small } else { Lane::Body };
    let mut share = budget.take(lane, room, until).await?;
    let taken = Instant::now();
    let mut read = BytesMut::with_capacity(room);
    let mut piece = Some(first);
    while let Some(data) = piece {
        let bytes = read.len() + data.len();
        if bytes > max_bytes {
            return Err(BodyProblem::TooLarge);
        }
        if bytes > room {
            room = max_bytes;
            share = budget.take(Lane::Body, room, until.max(Instant::now())).await?;
        }
        read.extend_from_slice(&data);
        let due = taken + RATE_GRACE + Duration::from_secs(read.len() as u64 / MIN_RATE);
        let latest = if room > SMALL_BYTES { due } else { began + BODY_TIMEOUT };
        piece = timeout_at(latest, next(body, began)).await.map_err(|_| BodyProblem::Incomplete)??;
    }
    share.shrink_to(read.len());
    Ok(Held { bytes: read.freeze(), share: Some(share) })
}

/// Reads and throws away a body whose request is refused for its headers.
pub(super) async fn refuse(mut body: Incoming) {
    pass_over(&mut body).await;
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

/// The next data of a body, `None` at its end. Trailers are ignored.
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
