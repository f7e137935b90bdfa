//! The propagator of one partition of a table for one of its indexes. It reads changes from the partition's
//! change log in order, a batch at a time. It begins the next batch only when every partition of the index
//! has acknowledged its part of this one.
//!
//! From time to time it stores its position in the partition's own state (the checkpoint). After a change of
//! leader, the changes after the checkpoint are sent again. The index ignores changes that it already has.

use super::batch::{Delivery, deliveries};
use super::progress::Progress;
use super::{Standing, leads, standing};
use crate::node::Inner;
use crate::tables::route::{Repeat, RouteError, Target};
use bytes::Bytes;
use futures::future::join_all;
use prost::Message as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use torc_cluster::topology::Topology;
use torc_cluster::{Partition, TableId};
use torc_model::schema::{GlobalIndex, TableSchema};
use torc_replica::machine::change_log::{
    Backfill, ChangeRecord, Consumer, Position, read_changes, read_consumer,
};
use torc_wire::peer::{PeerRequest, Propose, RedirectReason, RequestBody};
use torc_wire::table::{Empty, LogAction, LogCommand, TableCommand};

/// Most changes of one batch.
const BATCH_CHANGES: usize = 512;
/// About the most bytes of changes of one batch.
const BATCH_BYTES: usize = 512 << 10;
/// A checkpoint is stored at the latest after this many changes …
const CHECKPOINT_CHANGES: usize = 4096;
/// … or after this time.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);
/// How long a delivery may take before it is routed anew.
const DELIVERY: Duration = Duration::from_secs(4);
/// First pause after a failure; doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Why a propagator ends.
enum End {
    /// This node does not lead the partition any more, or the index is gone and nothing is left to do.
    Over,
    /// Something is damaged. The leadership of this replica is kept, but the index falls behind. Another
    /// replica as leader may do better.
    Broken(String),
}

/// Runs for as long as this node leads the partition and the index exists.
pub(super) async fn run(node: &Arc<Inner>, partition: &Partition, index: TableId, progress: &Progress) {
    let propagator = Propagator {
        node,
        partition,
        index,
        progress,
        position: Position(0),
        checkpoint_due: None,
        since: 0,
    };
    if let End::Broken(error) = propagator.run().await {
        tracing::error!(group = %partition.group, %index, error, "an index no longer follows its table");
        // Wait before the next try: the propagator is started again at once after this returns.
        sleep(MAX_PAUSE).await;
    }
}

struct Propagator<'a> {
    node: &'a Arc<Inner>,
    partition: &'a Partition,
    index: TableId,
    progress: &'a Progress,
    /// Delivered up to here.
    position: Position,
    /// When the checkpoint should follow; `None` while it is up to date.
    checkpoint_due: Option<Instant>,
    /// Changes delivered since the checkpoint.
    since: usize,
}

impl Propagator<'_> {
    async fn run(mut self) -> End {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(end) => return end,
            }
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        // From here on no change and no new topology is missed.
        let signal = self.node.propagation.signal(self.partition.group);
        let mut applied = signal.follow();
        let batches = signal.get();
        let mut epoch = self.node.topology.follow();
        if !leads(self.node, self.partition.group) {
            return Err(End::Over);
        }
        let consumer = read_consumer(&self.node.engine, self.partition, self.index.0).map_err(End::Broken)?;
        let topology = self.node.topology.get();
        match (standing(&topology, self.partition.table, self.index), consumer) {
            // A table without a readable schema has nothing that could be indexed.
            (Standing::Live, _) if self.definition(&topology).is_none() => {}
            (Standing::Live, Some(consumer)) => {
                if self.advance(&consumer, batches).await? {
                    return Ok(());
                }
            }
            (Standing::Live, None) => return self.change(LogAction::Register(Empty {}), None).await,
            (Standing::Gone, Some(consumer)) => {
                return self.change(LogAction::Remove(Empty {}), Some(&consumer)).await;
            }
            (Standing::Gone, None) => return Err(End::Over),
            (Standing::Unknown, _) => {}
        }
        // Nothing to do: wait until something is.
        match self.checkpoint_due {
            Some(due) => {
                tokio::select! {
                    biased;
                    _ = applied.next() => {}
                    _ = epoch.next() => {}
                    () = sleep_until(due) => {
                        self.checkpoint().await?;
                    }
                }
            }
            None => {
                tokio::select! {
                    biased;
                    _ = applied.next() => {}
                    _ = epoch.next() => {}
                }
            }
        }
        Ok(())
    }

    /// Delivers the next batch, or takes the backfill one step on; false if there is neither. `batches` had been applied before.
    async fn advance(&mut self, consumer: &Consumer, batches: u64) -> Result<bool, End> {
        self.position = self.position.max(consumer.checkpoint);
        let (changes, more) =
            read_changes(&self.node.engine, self.partition, self.position, BATCH_CHANGES, BATCH_BYTES)
                .map_err(End::Broken)?;
        if let (Some((_, first)), Some((last, _))) = (changes.first(), changes.last()) {
            self.progress.begin(changes.len(), first.timestamp_ms);
            if !self.deliver(&changes).await? {
                return Ok(true);
            }
            self.progress.done();
            self.position = *last;
            if !more {
                self.progress.delivered_through(batches);
            }
            self.since += changes.len();
            let due = *self.checkpoint_due.get_or_insert_with(|| Instant::now() + CHECKPOINT_EVERY);
            // The end of a backfill is stored at once, because the leader of the meta group waits for it.
            let filled = matches!(consumer.backfill, Backfill::Logged(last)
                if consumer.checkpoint < last && last <= self.position);
            if filled || self.since >= CHECKPOINT_CHANGES || due <= Instant::now() {
                self.checkpoint().await?;
            }
            return Ok(true);
        }
        self.progress.delivered_through(batches);
        let backfilling = matches!(consumer.backfill, Backfill::UnderWay(_));
        self.progress.caught_up(backfilling);
        if backfilling {
            // Only once everything before is delivered, so that a backfill never fills the log faster than it is read.
            self.change(LogAction::Backfill(Empty {}), Some(consumer)).await?;
        }
        Ok(backfilling)
    }

    /// Delivers a batch. False if the topology or the leadership has changed meanwhile, so that the caller
    /// must check again.
    async fn deliver(&self, changes: &[(Position, ChangeRecord)]) -> Result<bool, End> {
        let mut pause = MIN_PAUSE;
        loop {
            let topology = self.node.topology.get();
            let Some(schema) = self.definition(&topology) else { return Ok(false) };
            let Some(index) = self.index_in(&schema) else { return Ok(false) };
            let wanted =
                deliveries(&topology, &schema, index, self.partition.group, changes).map_err(End::Broken)?;
            let sent = wanted.into_iter().map(|delivery| self.send(delivery));
            let failed = join_all(sent).await.into_iter().find_map(Result::err);
            let Some(error) = failed else { return Ok(true) };
            tracing::debug!(group = %self.partition.group, index = %self.index, %error, "a delivery is tried again");
            self.progress.failed();
            if !leads(self.node, self.partition.group) {
                return Err(End::Over);
            }
            // A topology that knows better ends the pause.
            let mut epoch = self.node.topology.follow();
            let _ = timeout_at(Instant::now() + pause, epoch.next()).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// The table's schema as this node has it; `None` if the index is not in it, or on its way out.
    fn definition(&self, topology: &Topology) -> Option<Arc<TableSchema>> {
        if !matches!(standing(topology, self.partition.table, self.index), Standing::Live) {
            return None;
        }
        let schema = self.node.tables.schema(topology.table(self.partition.table)?)?;
        self.index_in(&schema).is_some().then_some(schema)
    }

    fn index_in<'s>(&self, schema: &'s TableSchema) -> Option<&'s GlobalIndex> {
        schema.global_indexes.iter().find(|index| index.id == self.index.0)
    }

    async fn send(&self, delivery: Delivery) -> Result<(), RouteError> {
        let command = Bytes::from(delivery.command.encode_to_vec());
        let make = |partition: &Partition, epoch: torc_cluster::Epoch| PeerRequest {
            body: Some(RequestBody::Propose(Propose {
                group: partition.group.0,
                epoch: epoch.0,
                command: command.clone(),
            })),
        };
        let target = Target::Token(self.index, delivery.token);
        // Having it twice changes nothing.
        self.node.router.to_leader(target, Repeat::Safe, Instant::now() + DELIVERY, make).await.map(|_| ())
    }

    async fn checkpoint(&mut self) -> Result<(), End> {
        if self.log(LogAction::Checkpoint(self.position.0)).await? {
            self.checkpoint_due = None;
            self.since = 0;
        }
        Ok(())
    }

    /// Proposes a step that changes what the partition knows about the index. If it changed nothing, because
    /// the partition has another version of the topology, the next try has to wait.
    async fn change(&self, action: LogAction, before: Option<&Consumer>) -> Result<(), End> {
        self.log(action).await?;
        let after = read_consumer(&self.node.engine, self.partition, self.index.0).map_err(End::Broken)?;
        if after.as_ref() == before {
            sleep(MIN_PAUSE).await;
        }
        Ok(())
    }

    /// Proposes a step to the partition's own state. False if it is not certain that the step was taken; the
    /// state shows it when it is read next.
    async fn log(&self, action: LogAction) -> Result<bool, End> {
        let log = Some(LogCommand { consumer: self.index.0, action: Some(action) });
        let command = TableCommand { writes: Vec::new(), timestamp_ms: self.node.clock.wall_ms(), log };
        match self.node.propose(self.partition.group, Bytes::from(command.encode_to_vec())).await {
            Ok(()) => Ok(true),
            Err(RedirectReason::NotLeader | RedirectReason::WrongPartition) => Err(End::Over),
            Err(reason) => {
                tracing::debug!(group = %self.partition.group, index = %self.index, ?reason, ?action, "a step of a change log has to wait");
                sleep(MAX_PAUSE / 4).await;
                Ok(false)
            }
        }
    }
}
