//! What goes with a client's request from the socket down to the replica: until when it matters, its id, who sent it, and the memory that
//! it holds.
//!
//! The client port makes a [`RequestContext`] for each request and hands it down explicitly. All contexts of a node take their memory from
//! one [`ByteBudget`]. The budget counts bodies, what a large body becomes when it is parsed, and answers in the making until they are
//! sent. At its bound a request waits, first come first served, until its deadline; then it is refused.
//!
//! **No deadlock.** The budget has three lanes, each with its own bytes: small takes, bodies, work. A request takes from them only in this
//! order, and from bodies and work at most once each, for the most that it can need. So a request that waits for a lane never holds
//! anything of that lane or a later one. Who holds work waits for no memory, so it ends and gives its bytes back.
//!
//! **Small requests pass large ones.** Takes up to [`SMALL_BYTES`] have their own lane: the large ones that fill the others do not hold
//! them up.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Takes up to here are small.
pub const SMALL_BYTES: usize = 64 << 10;
/// The budget is counted in units of this size.
const UNIT_BYTES: usize = 1 << 10;
/// Of the whole, a quarter is for small takes, a quarter for large bodies, and the rest for work.
const QUARTERS: usize = 4;

/// What a take is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Anything up to [`SMALL_BYTES`].
    Small,
    /// The body of a request as it was sent.
    Body,
    /// What a body becomes when it is parsed, or an answer in the making.
    Work,
}

/// No memory became free before the request's deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many large requests at once")]
pub struct Exhausted;

/// The memory that all requests of a node may hold together. Cheap to clone: clones share it.
#[derive(Clone)]
pub struct ByteBudget {
    lanes: Arc<Lanes>,
}

struct Lanes {
    small: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    work: Arc<Semaphore>,
    /// Units of each lane: a take of more takes the whole lane.
    units: [usize; 3],
}

impl ByteBudget {
    /// A budget of `bytes` in all, at least one small take in each lane.
    pub fn new(bytes: usize) -> Self {
        let quarter = (bytes / QUARTERS).max(SMALL_BYTES) / UNIT_BYTES;
        let units = [quarter, quarter, quarter * (QUARTERS - 2)];
        let [small, bodies, work] = units.map(|units| Arc::new(Semaphore::new(units)));
        Self { lanes: Arc::new(Lanes { small, bodies, work, units }) }
    }

    /// Bytes that are free in a lane.
    pub fn free(&self, lane: Lane) -> usize {
        self.lane(lane).0.available_permits() * UNIT_BYTES
    }

    /// Takes `bytes` of a lane, after all who asked before. A take of more than the lane has gets all of it.
    ///
    /// # Errors
    /// [`Exhausted`] if they are not free before `deadline`.
    pub async fn take(&self, lane: Lane, bytes: usize, deadline: Instant) -> Result<Share, Exhausted> {
        // Nearly every take ends here, without a timer.
        if let Some(share) = self.try_take(lane, bytes) {
            return Ok(share);
        }
        let (semaphore, units) = self.units(lane, bytes);
        match timeout_at(deadline, semaphore.clone().acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Share { permit }),
            _ => Err(Exhausted),
        }
    }

    /// Takes `bytes` of a lane if they are free now.
    pub fn try_take(&self, lane: Lane, bytes: usize) -> Option<Share> {
        let (semaphore, units) = self.units(lane, bytes);
        let permit = semaphore.clone().try_acquire_many_owned(units).ok()?;
        Some(Share { permit })
    }

    fn units(&self, lane: Lane, bytes: usize) -> (&Arc<Semaphore>, u32) {
        let (semaphore, most) = self.lane(lane);
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, most);
        (semaphore, u32::try_from(units).unwrap_or(u32::MAX))
    }

    fn lane(&self, lane: Lane) -> (&Arc<Semaphore>, usize) {
        let [small, bodies, work] = self.lanes.units;
        match lane {
            Lane::Small => (&self.lanes.small, small),
            Lane::Body => (&self.lanes.bodies, bodies),
            Lane::Work => (&self.lanes.work, work),
        }
    }
}

impl fmt::Debug for ByteBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let free = |lane| self.free(lane);
        f.debug_struct("ByteBudget")
            .field("free_small_bytes", &free(Lane::Small))
            .field("free_body_bytes", &free(Lane::Body))
            .field("free_work_bytes", &free(Lane::Work))
            .finish()
    }
}

/// Bytes taken from a [`ByteBudget`]. They are free again when it is dropped.
#[derive(Debug)]
pub struct Share {
    permit: OwnedSemaphorePermit,
}

impl Share {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT_BYTES
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let left = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT_BYTES));
        drop(self.permit.split(left));
    }
}

/// What goes with one request.
#[derive(Debug)]
pub struct RequestContext {
    /// The id that the client is told and the log names.
    pub trace_id: String,
    /// When the client's patience ends: nothing is begun for it afterwards.
    pub deadline: Instant,
    /// The id of the access key that signed it; `None` where a node serves everybody.
    pub principal: Option<Arc<str>>,
    budget: ByteBudget,
    held: Mutex<Vec<Share>>,
    work: Mutex<Option<Share>>,
}

impl RequestContext {
    /// A context that holds no memory yet.
    pub fn new(trace_id: String, deadline: Instant, budget: ByteBudget) -> Self {
        Self { trace_id, deadline, principal: None, budget, held: Mutex::default(), work: Mutex::default() }
    }

    /// Keeps a share for as long as the context lives.
    pub fn keep(&self, share: Share) {
        self.held.lock().push(share);
    }

    /// Takes memory for work on the request: the most that it may become, in one take. A request that works already gets more only if it is
    /// free now.
    ///
    /// # Errors
    /// [`Exhausted`] if it is not free before the request's deadline.
    pub async fn work(&self, bytes: usize) -> Result<(), Exhausted> {
        let has = self.work.lock().as_ref().map(Share::bytes);
        let more = match has {
            None => self.budget.take(Lane::Work, bytes, self.deadline).await?,
            Some(has) if has >= bytes => return Ok(()),
            Some(has) => self.budget.try_take(Lane::Work, bytes - has).ok_or(Exhausted)?,
        };
        let mut work = self.work.lock();
        match work.as_mut() {
            Some(share) => share.permit.merge(more.permit),
            None => *work = Some(more),
        }
        Ok(())
    }

    /// Bytes that are held for work.
    pub fn work_bytes(&self) -> usize {
        self.work.lock().as_ref().map_or(0, Share::bytes)
    }

    /// What is held for work; the request's body is no longer counted. For an answer, until it is sent.
    pub fn into_answer(self) -> Option<Share> {
        self.work.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MIB: usize = 1 << 20;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_shared_and_given_back() {
        let budget = ByteBudget::new(16 * MIB);
        let mut all = budget.take(Lane::Work, 8 * MIB, soon()).await.unwrap();
        assert_eq!(budget.take(Lane::Work, 1, soon()).await.err(), Some(Exhausted));
        assert!(budget.try_take(Lane::Small, SMALL_BYTES).is_some(), "small takes pass large ones");
        assert!(budget.try_take(Lane::Body, 4 * MIB).is_some());
        all.shrink_to(MIB);
        assert_eq!((all.bytes(), budget.free(Lane::Work)), (MIB, 7 * MIB));
        drop(all);
        assert_eq!(budget.free(Lane::Work), 8 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_there_is_takes_all() {
        let budget = ByteBudget::new(4 * MIB);
        let share = budget.take(Lane::Body, 400 * MIB, soon()).await.unwrap();
        assert_eq!((share.bytes(), budget.free(Lane::Body)), (MIB, 0));
    }

    /// A large take waits for its turn; those who come later do not overtake it.
    #[tokio::test(start_paused = true)]
    async fn who_asks_first_is_served_first() {
        let budget = ByteBudget::new(16 * MIB);
        let first = budget.take(Lane::Work, 4 * MIB, soon()).await.unwrap();
        let asking = |bytes| {
            let budget = budget.clone();
            tokio::spawn(async move {
                budget.take(Lane::Work, bytes, soon()).await.map(|share| (share, Instant::now()))
            })
        };
        let large = asking(8 * MIB);
        tokio::task::yield_now().await;
        let later = asking(MIB);
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(first);
        let (large, at) = large.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!later.is_finished());
        drop(large);
        assert!(later.await.unwrap().unwrap().1 > at);
    }

    /// Forty requests that each need most of the budget, twice in a row, all end: none holds what another waits for while it waits itself.
    #[tokio::test(start_paused = true)]
    async fn no_request_waits_for_one_that_waits() {
        let budget = ByteBudget::new(128 * MIB);
        let requests: Vec<_> = (0..40)
            .map(|number| {
                let budget = budget.clone();
                tokio::spawn(async move {
                    let deadline = Instant::now() + Duration::from_secs(30);
                    let body = budget.take(Lane::Body, 16 * MIB, deadline).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let context = RequestContext::new(number.to_string(), deadline, budget);
                    context.keep(body);
                    context.work(48 * MIB).await?;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    // An answer beyond the share is refused at once rather than waited for.
                    assert_eq!(context.work(65 * MIB).await, Err(Exhausted));
                    Ok::<_, Exhausted>(())
                })
            })
            .collect();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        assert_eq!(budget.free(Lane::Work), 64 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_keeps_its_share_and_not_the_body() {
        let budget = ByteBudget::new(16 * MIB);
        let context = RequestContext::new("id".into(), soon(), budget.clone());
        context.keep(budget.take(Lane::Body, 4 * MIB, soon()).await.unwrap());
        context.work(6 * MIB).await.unwrap();
        let mut answer = context.into_answer();
        answer.as_mut().unwrap().shrink_to(2 * MIB);
        assert_eq!((budget.free(Lane::Body), budget.free(Lane::Work)), (4 * MIB, 6 * MIB));
        drop(answer);
        assert_eq!(budget.free(Lane::Work), 8 * MIB);
    }
}
