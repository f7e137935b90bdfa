//! Reads. One replica sends its copy and the others send digests of theirs. If all agree, the copy is the
//! answer.
//!
//! Otherwise all replicas send their copies. The merged copy is written back to the replicas that were
//! behind, until as many replicas as the read asked for hold it. Only then it is the answer. So a later read
//! at the same level cannot return less. If a replica cannot store the merged copy, for example because its
//! disk is full, the next replica that is alive gets it instead.

use super::coordinator::{BucketCoordinator, Copy, Miss, Target, check_key, reasons};
use super::error::{BucketError, ErrorKind};
use super::level::needed;
use super::metrics::BucketMetrics;
use super::types::{GetAnswer, GetRequest, Sibling};
use super::write::too_few_alive;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use torc_cluster::topology::{Level, Table};
use torc_cluster::{Epoch, NodeId};
use torc_replica::bucket::state::digest;
use torc_replica::bucket::{Policy, State};

/// Copies of as many replicas as were asked for.
struct Gathered {
    copies: Vec<(NodeId, Copy)>,
}

enum Shortfall {
    Moved(Epoch),
    Error(BucketError),
}

/// The first replicas asked for: one copy and digests, or copies of all.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Digests,
    Copies,
}

impl BucketCoordinator {
    pub(super) async fn get_key(&self, request: GetRequest) -> Result<GetAnswer, BucketError> {
        check_key(&request.key)?;
        let deadline = self.deadline(request.deadline);
        let bucket = self
            .find_bucket(&request.bucket, deadline)
            .await
            .ok_or_else(|| BucketError::no_bucket(&request.bucket))?;
        let level = match request.r {
            Some(level) => level,
            None => self.locate(&bucket, &request.key)?.config.read,
        };
        let answer = self.read_target(&bucket, &request.key, level, deadline).await?;
        if answer.siblings.len() > 1 {
            BucketMetrics::add(&self.inner.metrics.sibling_reads, 1);
            BucketMetrics::add(&self.inner.metrics.siblings_returned, answer.siblings.len());
        }
        Ok(answer)
    }

    /// Reads a key at a level, with repair.
    pub(super) async fn read_target(
        &self,
        bucket: &Arc<Table>,
        key: &Bytes,
        level: Level,
        deadline: Instant,
    ) -> Result<GetAnswer, BucketError> {
        BucketMetrics::add(&self.inner.metrics.reads, 1);
        loop {
            let target = self.locate(bucket, key)?;
            let r = needed(level, target.replicas.len(), "r")?;
            match self.read_once(&target, r, deadline).await {
                Ok(record) => return self.present(&target, r, record),
                Err(Shortfall::Moved(epoch)) => self.follow(epoch, target.epoch, deadline).await?,
                Err(Shortfall::Error(error)) => {
                    BucketMetrics::add(&self.inner.metrics.failed_reads, 1);
                    return Err(error);
                }
            }
        }
    }

    async fn read_once(
        &self,
        target: &Target,
        r: usize,
        deadline: Instant,
    ) -> Result<Option<Bytes>, Shortfall> {
        let order = self.read_order(target);
        if order.len() < r {
            return Err(Shortfall::Error(too_few_alive(
                r,
                order.len(),
                target.replicas.len(),
                "nothing was read",
            )));
        }
        let gathered = self.gather(target, &order, r, Ask::Digests, deadline).await?;
        if let Some(record) = gathered.agreed() {
            let turn = self.inner.reads.fetch_add(1, Ordering::Relaxed);
            let every = self.settings().check_rest_every;
            if every != 0 && turn.is_multiple_of(every) {
                self.check_rest(target, gathered.copies);
            }
            return Ok(record);
        }

        BucketMetrics::add(&self.inner.metrics.divergences, 1);
        // Those that answered once come first; the spare ones stand in for any that fail now.
        let mut order_now: Vec<NodeId> = gathered.copies.iter().map(|(node, _)| *node).collect();
        order_now.extend(
            order.iter().copied().filter(|node| !gathered.copies.iter().any(|(asked, _)| asked == node)),
        );
        let gathered = self.gather(target, &order_now, r, Ask::Copies, deadline).await?;
        let merged = gathered.merged().map_err(Shortfall::Error)?;
        if let Some(record) = &merged {
            let spare =
                order.into_iter().filter(|node| !gathered.copies.iter().any(|(asked, _)| asked == node));
            self.repair(target, &gathered, spare.collect(), record, r, deadline).await?;
        }
        self.check_rest(target, gathered.with_digest(digest(merged.as_deref())));
        Ok(merged)
    }

    /// Replicas to ask: this node first, then those alive in preference order.
    fn read_order(&self, target: &Target) -> Vec<NodeId> {
        let local = self.peers().local();
        let mut order: Vec<NodeId> =
            target.replicas.iter().copied().filter(|node| self.is_alive(*node)).collect();
        order.sort_by_key(|node| *node != local);
        order
    }

    /// Asks the first `r` of `order`, and one more for each that fails, and one more if they are slow, until `r` have answered and one of them with its copy.
    async fn gather(
        &self,
        target: &Target,
        order: &[NodeId],
        r: usize,
        ask: Ask,
        deadline: Instant,
    ) -> Result<Gathered, Shortfall> {
        let mut spare: VecDeque<NodeId> = order.iter().copied().collect();
        let mut asked = FuturesUnordered::new();
        let read = |node: NodeId, full: bool| async move {
            (node, self.read_copy(node, target, full, deadline).await)
        };
        for turn in 0..r {
            if let Some(node) = spare.pop_front() {
                asked.push(read(node, ask == Ask::Copies || turn == 0));
            }
        }
        let speculate = sleep_until((Instant::now() + self.settings().speculative_after).min(deadline));
        tokio::pin!(speculate);
        let mut speculated = false;
        let mut copies: Vec<(NodeId, Copy)> = Vec::new();
        let mut misses = Vec::new();
        loop {
            let enough = copies.len() >= r && copies.iter().any(|(_, copy)| copy.full);
            if enough {
                return Ok(Gathered { copies });
            }
            tokio::select! {
                biased;
                Some((node, result)) = asked.next() => match result {
                    Ok(copy) => copies.push((node, copy)),
                    Err(Miss::Moved(epoch, _)) => return Err(Shortfall::Moved(epoch)),
                    Err(miss) => {
                        misses.push(miss);
                        if let Some(next) = spare.pop_front() {
                            BucketMetrics::add(&self.inner.metrics.speculative_reads, 1);
                            asked.push(read(next, true));
                        }
                    }
                },
                () = &mut speculate, if !speculated && Instant::now() < deadline => {
                    speculated = true;
                    if let Some(next) = spare.pop_front() {
                        BucketMetrics::add(&self.inner.metrics.speculative_reads, 1);
                        asked.push(read(next, true));
                    }
                }
                () = sleep_until(deadline) => break,
                else => break,
            }
            if asked.is_empty() && spare.is_empty() && copies.len() < r {
                break;
            }
        }
        Err(Shortfall::Error(BucketError::new(
            ErrorKind::NotEnoughAnswers,
            format!(
                "{r} of {} replicas needed, {} answered: {}",
                target.replicas.len(),
                copies.len(),
                reasons(&misses)
            ),
            "try again, or ask for fewer replicas (ONE)",
        )))
    }

    /// Brings copies up to date until `r` replicas hold the merged record. A replica that fails or is slow is replaced by
    /// one of `spare`; what it began goes on in the background.
    async fn repair(
        &self,
        target: &Target,
        gathered: &Gathered,
        mut spare: VecDeque<NodeId>,
        record: &Bytes,
        r: usize,
        deadline: Instant,
    ) -> Result<(), Shortfall> {
        let current = digest(Some(record));
        let (held, behind): (Vec<_>, Vec<_>) =
            gathered.copies.iter().partition(|(_, copy)| copy.digest == current);
        let mut holders = held.len();
        let (sender, mut merges) = mpsc::unbounded_channel();
        let repair = |node: NodeId| self.repair_copy(node, target, record.clone(), sender.clone());
        behind.iter().for_each(|(node, _)| repair(*node));
        let mut open = behind.len();
        let speculate = sleep_until((Instant::now() + self.settings().speculative_after).min(deadline));
        tokio::pin!(speculate);
        let mut speculated = false;
        let mut misses = Vec::new();
        while holders < r && open > 0 {
            tokio::select! {
                biased;
                Some(result) = merges.recv() => {
                    open -= 1;
                    match result {
                        Ok(_) => holders += 1,
                        Err(miss) => {
                            misses.push(miss);
                            if let Some(next) = spare.pop_front() {
                                repair(next);
                                open += 1;
                            }
                        }
                    }
                }
                () = &mut speculate, if !speculated && Instant::now() < deadline => {
                    speculated = true;
                    if let Some(next) = spare.pop_front() {
                        repair(next);
                        open += 1;
                    }
                }
                () = sleep_until(deadline) => break,
            }
        }
        if holders >= r {
            return Ok(());
        }
        Err(Shortfall::Error(BucketError::new(
            ErrorKind::NotEnoughAnswers,
            format!(
                "{r} of {} replicas needed, {holders} hold what was read: the replicas differed and could not all be repaired in time: {}",
                target.replicas.len(),
                reasons(&misses)
            ),
            "try again, or ask for fewer replicas (ONE)",
        )))
    }

    /// Merges a record into one replica's copy. The merge does not end with the read that began it.
    fn repair_copy(
        &self,
        node: NodeId,
        target: &Target,
        record: Bytes,
        done: mpsc::UnboundedSender<Result<bool, Miss>>,
    ) {
        let (this, target) = (self.clone(), target.clone());
        self.spawn(async move {
            let until = Instant::now() + this.settings().replica_timeout;
            let result = this.merge_copy(node, &target, record, until).await;
            BucketMetrics::add(&this.inner.metrics.read_repairs, usize::from(result == Ok(true)));
            // Nobody listens any more once the client has its answer.
            let _ = done.send(result);
        });
    }

    /// After the answer: compares the replicas that were not needed, and heals all if they differ.
    fn check_rest(&self, target: &Target, seen: Vec<(NodeId, Copy)>) {
        let rest: Vec<NodeId> = self
            .read_order(target)
            .into_iter()
            .filter(|node| !seen.iter().any(|(known, _)| known == node))
            .collect();
        let Some(expected) = seen.first().map(|(_, copy)| copy.digest) else { return };
        if rest.is_empty() {
            return;
        }
        let this = self.clone();
        let target = target.clone();
        self.spawn(async move {
            let until = Instant::now() + this.settings().replica_timeout;
            let mut reads: FuturesUnordered<_> =
                rest.iter().map(|node| this.read_copy(*node, &target, false, until)).collect();
            let mut differs = false;
            while let Some(result) = reads.next().await {
                differs |= result.is_ok_and(|copy| copy.digest != expected);
            }
            if differs {
                this.heal(&target).await;
            }
        });
    }

    /// Reads every replica that can be reached and gives each what it lacks.
    async fn heal(&self, target: &Target) {
        let until = Instant::now() + self.settings().replica_timeout;
        let order = self.read_order(target);
        let mut reads: FuturesUnordered<_> = order
            .into_iter()
            .map(|node| async move { (node, self.read_copy(node, target, true, until).await) })
            .collect();
        let mut copies = Vec::new();
        while let Some((node, result)) = reads.next().await {
            if let Ok(copy) = result {
                copies.push((node, copy));
            }
        }
        let gathered = Gathered { copies };
        let Ok(Some(record)) = gathered.merged() else { return };
        let current = digest(Some(&record));
        let mut merges: FuturesUnordered<_> = gathered
            .copies
            .iter()
            .filter(|(_, copy)| copy.digest != current)
            .map(|(node, _)| self.merge_copy(*node, target, record.clone(), until))
            .collect();
        while let Some(result) = merges.next().await {
            BucketMetrics::add(&self.inner.metrics.read_repairs, usize::from(result == Ok(true)));
        }
    }

    /// Turns a record into what a client sees.
    fn present(
        &self,
        target: &Target,
        answered: usize,
        record: Option<Bytes>,
    ) -> Result<GetAnswer, BucketError> {
        let (answered, replicas) = (answered as u32, target.replicas.len() as u32);
        let Some(record) = record else {
            return Ok(GetAnswer { context: Bytes::new(), siblings: Vec::new(), answered, replicas });
        };
        let state = State::decode(record).map_err(damaged)?;
        let siblings = state
            .live(self.wall_ms())
            .into_iter()
            .map(|value| Sibling {
                value: value.body.clone(),
                content_type: value.content_type.clone(),
                written_ms: value.written.ms(),
                expires_ms: value.expires_ms,
            })
            .collect();
        let context = match target.policy {
            Policy::Siblings => state.context().encode(target.bucket.id.0, &target.key),
            Policy::LastWriterWins => Bytes::new(),
        };
        Ok(GetAnswer { context, siblings, answered, replicas })
    }
}

impl Gathered {
    /// The record that all hold, if they all hold the same.
    fn agreed(&self) -> Option<Option<Bytes>> {
        let (_, full) = self.copies.iter().find(|(_, copy)| copy.full)?;
        self.copies.iter().all(|(_, copy)| copy.digest == full.digest).then(|| full.record.clone())
    }

    /// The merge of all copies.
    fn merged(&self) -> Result<Option<Bytes>, BucketError> {
        let mut merged = None;
        for (_, copy) in &self.copies {
            let state = copy.record.clone().map(State::decode).transpose().map_err(damaged)?;
            merged = State::join(merged, state).map_err(damaged)?;
        }
        Ok(merged.map(|state| state.encode()))
    }

    /// The same replicas, all with this digest now.
    fn with_digest(self, digest: u64) -> Vec<(NodeId, Copy)> {
        self.copies.into_iter().map(|(node, copy)| (node, Copy { digest, ..copy })).collect()
    }
}

fn damaged(error: torc_replica::bucket::DecodeError) -> BucketError {
    BucketError::new(
        ErrorKind::Storage,
        format!("a replica's record of this key cannot be read: {error}"),
        "look at the nodes' logs; a node of a later version may have written it",
    )
}
