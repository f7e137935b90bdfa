//! The multi-group consensus driver: all consensus groups of one node.
//!
//! The node's store loop (and the simulation) calls it: it pushes [`Input`]s and runs [`Store::turn`]s. Each
//! turn combines the work of all groups: one log append, one frame per peer, one batch applied to the engine.
//!
//! It must never block on anything but the engine's memory, read a clock, or draw randomness of its own. Time
//! comes with the turn, and the generator is seeded.
//!
//! * [`machine`]: the state machine of a group, evaluated by its leader.
//! * [`view`]: what other tasks may know without asking the loop, above all the leader lease.
//! * `group`, `propose`, `reads`, `ready`, `housekeeping`, `snapshot`: the parts of a replica.
//! * `log_space`: truncation, and what keeps the log short although some groups write seldom.
//! * `raft_core`, `storage`, `convert`: the facade over the consensus crate.
//! * `liveness`, `lease`: promises between stores, and the leases based on them.
//! * `entry`, `state`: persisted records.
//! * `observe`: events for the simulation's oracles.
//! * `surface`: inputs and outputs.

mod config;
mod convert;
mod entry;
mod group;
mod housekeeping;
mod lease;
mod liveness;
mod log_space;
mod machine;
mod metrics;
mod observe;
mod propose;
mod raft_core;
mod reads;
mod ready;
mod shared;
mod snapshot;
mod state;
mod storage;
mod surface;
mod view;

pub use config::{Config, Limits, PlantedBugs, Timing};
pub use group::GroupSpec;
#[cfg(test)]
pub(crate) use machine::Overlay;
pub use machine::{EvalCtx, Evaluation, Machine};
pub use metrics::Metrics;
pub use observe::{EntryMark, Observation, Observer, Observers};
pub use shared::Event;
pub use surface::{
    FrameClass, Input, KeyRange, Outputs, ProposeError, REPLICA_SPACE, StoreError, applied_key,
};
pub use view::{GroupView, LeaseStamp};

use group::Group;
use liveness::StoreLiveness;
use raft::eraftpb::Message;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use ready::{Applied, Prepared};
use shared::Shared;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use torc_cluster::{GroupId, NodeId};
use torc_engine::log::Record;
use torc_engine::{Engine, Lsn, WriteBatch};
use torc_wire::raft::{ControlBody, RaftFrame, TransferId};

/// Most passes of one turn. What is left over is done in the next.
const MAX_PASSES: usize = 64;

/// What waits for the log.
pub(crate) enum After {
    Ready { generation: u64, number: u64, had_entries: bool, term: u64, messages: Vec<Message> },
    SnapshotMarked(TransferId),
    SnapshotInstalled(TransferId),
}

struct Waiting {
    lsn: Lsn,
    /// The stall clock when it was appended.
    at_ms: u64,
    group: GroupId,
    after: After,
}

/// A pass that failed because the disk was full. While the disk is full, the store accepts no input.
enum Stuck {
    /// Not in the log.
    Append(Vec<Record>, Vec<(GroupId, Prepared)>),
    /// In the log; what it committed is not in the engine.
    Apply,
}

/// All consensus groups of one node.
pub struct Store {
    groups: BTreeMap<GroupId, Group>,
    shared: Shared,
    inputs: VecDeque<Input>,
    /// In order of number.
    waiting: VecDeque<Waiting>,
    last_lsn: Lsn,
    durable_lsn: Lsn,
    stuck: Option<Stuck>,
    /// Whoever waited when the disk became full has been answered.
    stuck_told: bool,
    /// What the groups applied in the present pass, until the engine has it.
    applied: Vec<(GroupId, Applied)>,
    next_tick_ms: u64,
    last_tick_ms: u64,
    /// Time in which this store's process ran, milliseconds: a pause of the process counts as one late tick. Only what the disk did
    /// not finish within this time makes a stall, since a paused process also keeps its disk's answers waiting.
    stall_clock_ms: u64,
    /// When each group that waits for the clock wants to be ticked.
    timers: BTreeSet<(u64, GroupId)>,
    /// Groups that housekeeping has something to look at.
    housekeep: BTreeSet<GroupId>,
    /// Groups that wait for a flush, to truncate their logs.
    unflushed: BTreeSet<GroupId>,
    flushed_epoch: u64,
    next_housekeeping_ms: u64,
    /// The log is too long: what holds its old segments is appended anew at the end of this turn.
    reclaims_log: bool,
    groups_changed: bool,
}

impl Store {
    /// A store without groups on an open engine.
    pub fn new(config: Config, engine: Engine, now: Duration) -> Self {
        let now_ms = millis(now);
        let silent_until_ms = if config.first_boot { 0 } else { now_ms + config.timing.lease_ms };
        let shared = Shared {
            liveness: StoreLiveness::new(config.incarnation, config.timing),
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            logger: slog::Logger::root(slog::Discard, slog::o!()),
            now_ms,
            silent_until_ms,
            stalled: false,
            outbox: BTreeMap::new(),
            controls: Vec::new(),
            replies: Vec::new(),
            leaders: Vec::new(),
            events: Vec::new(),
            late_records: Vec::new(),
            late_waits: Vec::new(),
            apply: VecDeque::new(),
            dirty: BTreeSet::new(),
            led: BTreeSet::new(),
            touched: BTreeSet::new(),
            peers_changed: false,
            stopping: false,
            grants: Vec::new(),
            round_trips: Vec::new(),
            snapshots_sent: 0,
            metrics: Metrics::default(),
            config,
            engine,
        };
        Self {
            groups: BTreeMap::new(),
            shared,
            inputs: VecDeque::new(),
            waiting: VecDeque::new(),
            last_lsn: 0,
            durable_lsn: 0,
            stuck: None,
            stuck_told: false,
            applied: Vec::new(),
            next_tick_ms: now_ms,
            last_tick_ms: now_ms,
            stall_clock_ms: 0,
            timers: BTreeSet::new(),
            housekeep: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            flushed_epoch: 0,
            next_housekeeping_ms: now_ms,
            reclaims_log: false,
            groups_changed: false,
        }
    }

    /// Queues an input for the next turn.
    pub fn push(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    /// The views of all groups held.
    pub fn views(&self) -> BTreeMap<GroupId, Arc<GroupView>> {
        self.groups.iter().map(|(id, group)| (*id, group.view.clone())).collect()
    }

    /// Groups that the log knows, held or not: what is here and not in the topology should be dropped.
    pub fn stored_groups(&self) -> Vec<GroupId> {
        let streams = self.shared.engine.log().streams();
        let groups = streams
            .into_iter()
            .filter(|(id, info)| *id != torc_engine::log::ENGINE_STREAM && !info.state.is_empty());
        groups.map(|(id, _)| GroupId(id)).collect()
    }

    /// Whether a stored group was dropped here and only its log remains.
    ///
    /// # Errors
    ///
    /// Those of reading the engine.
    pub fn is_dropped(&self, group: GroupId) -> Result<bool, torc_engine::Error> {
        Ok(self.shared.engine.get(&applied_key(group))?.as_deref() == Some(group::DROPPED))
    }

    /// Counters since the start.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Does everything there is to do. `now` is the node's monotonic clock.
    ///
    /// # Errors
    /// The store must not be used any more; the process must restart.
    pub fn turn(&mut self, now: Duration) -> Result<Outputs, StoreError> {
        self.shared.now_ms = self.shared.now_ms.max(millis(now));
        if self.unstick()? {
            self.take_inputs()?;
            self.run_passes()?;
            self.append_late()?;
            self.move_pinned_entries()?;
        }
        self.finish_turn()
    }

    /// Retries a pass that found the disk full. False if it still is.
    fn unstick(&mut self) -> Result<bool, StoreError> {
        let Some(stuck) = self.stuck.take() else { return Ok(true) };
        let appended = match stuck {
            Stuck::Append(records, prepared) => self.append(records, prepared)?,
            Stuck::Apply => true,
        };
        if appended && self.apply_pass()? {
            self.stuck_told = false;
            return Ok(true);
        }
        if !std::mem::replace(&mut self.stuck_told, true) {
            tracing::warn!("the disk is full; writes are refused until there is room");
            for group in self.groups.values_mut() {
                group.disk_full(&mut self.shared);
            }
        }
        // Nothing can be written: neither votes nor entries. What only changes the plan is kept for later.
        for input in std::mem::take(&mut self.inputs) {
            match input {
                Input::Propose { token, .. } | Input::ReadBarrier { token, .. } => {
                    self.shared.reply(token, Err(ProposeError::DiskFull));
                }
                Input::Tick | Input::Frame { .. } => {}
                Input::PersistFailed => return Err(StoreError::Persist),
                other => self.inputs.push_back(other),
            }
        }
        Ok(false)
    }

    fn take_inputs(&mut self) -> Result<(), StoreError> {
        while let Some(input) = self.inputs.pop_front() {
            let sh = &mut self.shared;
            match input {
                Input::Tick => self.tick()?,
                Input::Frame { from, frame } => self.on_frame(from, frame)?,
                Input::Propose { group, command, token } => match self.groups.get_mut(&group) {
                    Some(g) => g.propose(sh, token, command),
                    None => sh.reply(token, Err(ProposeError::NoSuchGroup)),
                },
                Input::ReadBarrier { group, token } => match self.groups.get_mut(&group) {
                    Some(g) => g.read_barrier(sh, token),
                    None => sh.reply(token, Err(ProposeError::NoSuchGroup)),
                },
                Input::Persisted(lsn) => self.on_persisted(lsn)?,
                Input::PersistFailed => return Err(StoreError::Persist),
                Input::CreateGroup(spec) => self.create_group(*spec)?,
                Input::SetMembers { group, replicas } => {
                    if let Some(g) = self.groups.get_mut(&group).filter(|g| g.desired != replicas) {
                        g.desired = replicas;
                        sh.peers_changed = true;
                        sh.touched.insert(group);
                        self.housekeep.insert(group);
                        self.next_housekeeping_ms = sh.now_ms;
                    }
                }
                Input::DropGroup { group, ranges } => self.drop_group(group, ranges)?,
                Input::TransferLeaders => {
                    sh.stopping = true;
                    for g in self.groups.values_mut() {
                        g.transfer_away(sh);
                    }
                }
                Input::Campaign { group } => {
                    if let Some(g) = self.groups.get_mut(&group) {
                        g.election_deadline_ms = sh.now_ms;
                        g.tick(sh);
                        sh.touched.insert(group);
                    }
                }
            }
        }
        Ok(())
    }

    fn create_group(&mut self, spec: GroupSpec) -> Result<(), StoreError> {
        let id = spec.group;
        if self.groups.contains_key(&id) {
            return Ok(());
        }
        let group = Group::open(spec, &mut self.shared)?;
        self.groups.insert(id, group);
        self.shared.peers_changed = true;
        self.groups_changed = true;
        Ok(())
    }

    fn drop_group(&mut self, id: GroupId, ranges: Vec<KeyRange>) -> Result<(), StoreError> {
        let sh = &mut self.shared;
        self.groups_changed = true;
        sh.peers_changed = true;
        let ranges = match self.groups.remove(&id) {
            Some(mut group) => {
                if let Some(due) = group.timer_ms {
                    self.timers.remove(&(due, id));
                }
                self.housekeep.remove(&id);
                self.unflushed.remove(&id);
                group.stop_core(sh);
                std::mem::take(&mut group.ranges)
            }
            None => ranges,
        };
        let mut batch = WriteBatch::new();
        for range in &ranges {
            batch.delete_range(&range.start, &range.end);
        }
        batch.put(&applied_key(id), group::DROPPED);
        if let Err(error) = sh.engine.write(&batch) {
            // The stream stays, so that the group shows up in `stored_groups` after a restart and is dropped then.
            return if matches!(error, torc_engine::Error::DiskFull { .. }) {
                Ok(())
            } else {
                Err(error.into())
            };
        }
        sh.late_records.push(Record::Drop { stream: id.0 });
        sh.dirty.remove(&id);
        sh.touched.remove(&id);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), StoreError> {
        let timing = self.shared.config.timing;
        let now_ms = self.shared.now_ms;
        if now_ms < self.next_tick_ms {
            return Ok(());
        }
        self.next_tick_ms = now_ms + timing.tick_ms;
        self.stall_clock_ms += (now_ms - self.last_tick_ms).min(2 * timing.tick_ms);
        self.last_tick_ms = now_ms;
        // What is durable may be waiting behind this tick.
        self.on_persisted(self.shared.engine.log().durable_lsn())?;
        let sh = &mut self.shared;
        let stalled = self.waiting.front().is_some_and(|w| self.stall_clock_ms >= w.at_ms + timing.stall_ms);
        if stalled && !sh.stalled {
            sh.metrics.stalls += 1;
            tracing::warn!(
                "the log has not been durable for {} ms; leaderships are given up",
                timing.stall_ms
            );
        }
        sh.stalled = stalled;
        if stalled {
            for id in sh.led.clone() {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.abdicate(sh);
                }
            }
        }
        if sh.liveness.take_lapsed(now_ms) {
            self.on_lapse();
        }
        self.run_timers();
        if now_ms >= self.next_housekeeping_ms {
            self.next_housekeeping_ms = now_ms + timing.housekeeping_ms;
            self.housekeep();
            self.cut_pinning_groups();
        }
        Ok(())
    }

    /// A promise of support, given or received, is over: the groups that relied on it take up the clock again.
    fn on_lapse(&mut self) {
        for group in self.groups.values_mut().filter(|group| group.timer_ms.is_none()) {
            self.shared.metrics.groups_visited += 1;
            group.on_lapse(&mut self.shared);
        }
    }

    /// Ticks the groups whose time has come.
    fn run_timers(&mut self) {
        let now_ms = self.shared.now_ms;
        while let Some((_, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now_ms) {
            self.timers.pop_first();
            let Some(group) = self.groups.get_mut(&id) else { continue };
            self.shared.metrics.groups_visited += 1;
            group.timer_ms = None;
            group.tick(&mut self.shared);
            // It is set again at the end of the turn, so no group is ticked twice.
            self.shared.touched.insert(id);
        }
    }

    /// Looks after the groups that something happened to, and those that waited for a flush.
    fn housekeep(&mut self) {
        let sh = &mut self.shared;
        let flushed = sh.engine.flushed_epoch();
        if flushed != self.flushed_epoch {
            self.flushed_epoch = flushed;
            self.housekeep.append(&mut self.unflushed);
        }
        for id in std::mem::take(&mut self.housekeep) {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            sh.metrics.groups_visited += 1;
            group.housekeep(sh);
            if group.wants_housekeeping() {
                self.housekeep.insert(id);
            }
            if !group.flush_samples.is_empty() {
                self.unflushed.insert(id);
            }
        }
    }

    /// Publishes what the turn did to a group, and sets its timer.
    fn settle(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.publish(&self.shared);
        self.shared.metrics.groups_published += 1;
        // A timer that is too early does no harm: it finds nothing to do and is set again.
        let due = group.due_ms(&self.shared);
        if group.timer_ms.is_some_and(|set| due.is_some_and(|due| set <= due)) {
            return;
        }
        if let Some(set) = std::mem::replace(&mut group.timer_ms, due) {
            self.timers.remove(&(set, id));
        }
        if let Some(due) = due {
            self.timers.insert((due, id));
        }
    }

    fn on_frame(&mut self, from: NodeId, frame: RaftFrame) -> Result<(), StoreError> {
        let sh = &mut self.shared;
        let incarnation = frame.incarnation;
        if from == sh.config.node || from.0 == 0 {
            return Ok(());
        }
        if let Some(request) = frame.liveness
            && let Some(grant) = sh.liveness.on_request(from, incarnation, &request, sh.now_ms)
        {
            sh.grants.push((from, grant));
            for resigned in &request.resigned {
                if let Some(group) = self.groups.get_mut(&GroupId(resigned.group)) {
                    group.on_resigned(sh, from, resigned.term);
                }
            }
        }
        if let Some(grant) = frame.grant {
            if grant.to_incarnation == sh.config.incarnation {
                sh.round_trips.push((from, sh.now_ms.saturating_sub(grant.sent_at_ms)));
            }
            if sh.liveness.on_grant(from, incarnation, &grant, sh.now_ms) {
                for id in sh.led.clone() {
                    if let Some(group) = self.groups.get_mut(&id) {
                        group.on_support_back(sh, from);
                    }
                }
            }
        }
        for message in frame.messages {
            sh.metrics.messages_received += 1;
            if let Some(group) = self.groups.get_mut(&GroupId(message.group)) {
                group.on_message(sh, from, incarnation, message);
            }
        }
        for control in frame.controls {
            let Some(group) = self.groups.get_mut(&GroupId(control.group)) else { continue };
            match control.body {
                Some(ControlBody::NeedSnapshot(need)) => group.on_need_snapshot(sh, from, &need),
                Some(ControlBody::SnapshotBegin(begin)) => group.on_snapshot_begin(sh, from, begin),
                Some(ControlBody::SnapshotChunk(chunk)) => group.on_snapshot_chunk(sh, from, chunk)?,
                Some(ControlBody::SnapshotAck(ack)) => group.on_snapshot_ack(sh, from, &ack),
                Some(ControlBody::Removed(removed)) => group.on_removed(sh, &removed),
                None => sh.metrics.bad_messages += 1,
            }
        }
        Ok(())
    }

    fn on_persisted(&mut self, lsn: Lsn) -> Result<(), StoreError> {
        self.durable_lsn = self.durable_lsn.max(lsn);
        while self.waiting.front().is_some_and(|w| w.lsn <= self.durable_lsn) {
            let Some(Waiting { group, after, .. }) = self.waiting.pop_front() else { break };
            let sh = &mut self.shared;
            let Some(group) = self.groups.get_mut(&group) else { continue };
            match after {
                After::Ready { generation, number, had_entries, term, messages } => {
                    group.on_persisted(sh, generation, number, had_entries, term, messages);
                }
                After::SnapshotMarked(id) => group.on_snapshot_marked(sh, id)?,
                After::SnapshotInstalled(id) => group.on_snapshot_installed(sh, id)?,
            }
        }
        Ok(())
    }

    fn run_passes(&mut self) -> Result<(), StoreError> {
        for _ in 0..MAX_PASSES {
            let dirty = std::mem::take(&mut self.shared.dirty);
            if dirty.is_empty() || self.stuck.is_some() {
                self.shared.dirty.extend(dirty);
                return Ok(());
            }
            self.shared.touched.extend(dirty.iter().copied());
            let (mut records, mut prepared) = (Vec::new(), Vec::new());
            for id in &dirty {
                if let Some(group) = self.groups.get_mut(id)
                    && let Some(part) = group.prepare(&mut self.shared, &mut records)
                {
                    prepared.push((*id, part));
                }
            }
            let done = prepared.is_empty() || (self.append(records, prepared)? && self.apply_pass()?);
            if done {
                self.start_wanted_snapshots(dirty);
            }
        }
        Ok(())
    }

    /// Puts a pass into the log and gives the groups their parts back. False if the disk is full: the pass is kept.
    fn append(
        &mut self,
        records: Vec<Record>,
        prepared: Vec<(GroupId, Prepared)>,
    ) -> Result<bool, StoreError> {
        if !records.is_empty() {
            match self.shared.engine.log().append(&records) {
                Ok(lsn) => self.last_lsn = lsn,
                Err(torc_engine::Error::DiskFull { .. }) => {
                    self.stuck = Some(Stuck::Append(records, prepared));
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
            self.shared.metrics.log_appends += 1;
        }
        for (id, part) in prepared {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let (after, applied) = group.finish(&mut self.shared, part);
            if let Some(after) = after {
                self.wait(id, after);
            }
            self.applied.push((id, applied));
        }
        Ok(true)
    }

    fn wait(&mut self, group: GroupId, after: After) {
        self.waiting.push_back(Waiting { lsn: self.last_lsn, at_ms: self.stall_clock_ms, group, after });
    }

    /// Applies what the pass committed, and reports it. False if the disk is full: it is kept.
    fn apply_pass(&mut self) -> Result<bool, StoreError> {
        while let Some(batch) = self.shared.apply.pop_front() {
            match self.shared.engine.apply(&batch) {
                Ok(()) => {}
                Err(torc_engine::Error::DiskFull { .. }) => {
                    self.shared.apply.push_front(batch);
                    self.stuck = Some(Stuck::Apply);
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (id, applied) in std::mem::take(&mut self.applied) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.report_applied(&mut self.shared, applied);
            }
        }
        Ok(true)
    }

    fn start_wanted_snapshots(&mut self, groups: BTreeSet<GroupId>) {
        for id in groups {
            if let Some(group) = self.groups.get_mut(&id) {
                group.start_wanted_snapshots(&mut self.shared);
            }
        }
    }

    fn append_late(&mut self) -> Result<(), StoreError> {
        let sh = &mut self.shared;
        if sh.late_records.is_empty() || self.stuck.is_some() {
            return Ok(());
        }
        match sh.engine.log().append(&sh.late_records) {
            Ok(lsn) => self.last_lsn = lsn,
            // Kept for the next turn: nothing depends on them but what waits for them too.
            Err(torc_engine::Error::DiskFull { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        sh.late_records.clear();
        sh.metrics.log_appends += 1;
        for (group, after) in std::mem::take(&mut sh.late_waits) {
            self.wait(group, after);
        }
        Ok(())
    }

    fn finish_turn(&mut self) -> Result<Outputs, StoreError> {
        let sh = &mut self.shared;
        if std::mem::take(&mut sh.peers_changed) {
            let mut peers = BTreeSet::new();
            for group in self.groups.values() {
                group.add_peers(&mut peers);
            }
            peers.remove(&sh.config.node);
            sh.liveness.set_peers(&peers, sh.now_ms);
        }
        // Views first: once a message is out, no reader may rely on a lease that it ends.
        let mut touched = std::mem::take(&mut sh.touched);
        for id in &touched {
            self.settle(*id);
        }
        self.housekeep.append(&mut touched);
        let sh = &mut self.shared;
        sh.metrics.turns += 1;
        let mut frames = sh.take_frames();
        if self.stuck.is_none() {
            let incarnation = sh.config.incarnation;
            let class = FrameClass::Liveness;
            for (to, grant) in std::mem::take(&mut sh.grants) {
                frames.push((to, class, RaftFrame { incarnation, grant: Some(grant), ..Default::default() }));
            }
            for (to, request) in sh.liveness.due(sh.now_ms) {
                frames.push((
                    to,
                    class,
                    RaftFrame { incarnation, liveness: Some(request), ..Default::default() },
                ));
            }
        }
        Ok(Outputs {
            frames,
            replies: std::mem::take(&mut sh.replies),
            leaders: std::mem::take(&mut sh.leaders),
            events: std::mem::take(&mut sh.events),
            round_trips: std::mem::take(&mut sh.round_trips),
            groups_changed: std::mem::take(&mut self.groups_changed),
            again: !sh.dirty.is_empty() && self.stuck.is_none(),
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
