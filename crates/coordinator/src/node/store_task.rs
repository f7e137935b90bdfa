//! The loop that owns the node's consensus groups. It takes the inputs that have arrived, runs one turn of
//! the store, and sends the outputs.

use super::durable::LogFailed;
use super::{Inner, frames, groups};
use crate::ports::Class;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use torc_cluster::{GroupId, NodeId};
use torc_engine::Lsn;
use torc_replica::store::{Event, FrameClass, GroupView, Input, ProposeError, Store};
use torc_wire::peer::{Answer, Frame, PeerResponse, Proposed, Redirect, RedirectReason, ResponseBody};

/// How often the store's clock is moved when nothing else happens.
const TICK: Duration = Duration::from_millis(20);
/// Most inputs of one turn, so that a flood of proposals can't keep heartbeats waiting.
const TURN_INPUTS: usize = 1024;
/// Most bytes of one turn's inputs, for the same reason: each byte is written to the log in the turn.
const TURN_BYTES: usize = 16 << 20;
/// Bytes that may wait for the loop. More proposals are refused as busy; more frames wait on their connections.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// What waits for the loop.
pub(super) struct Queued {
    input: Input,
    bytes: usize,
    /// When the caller of a proposal gives up. One that is still here then is not begun.
    deadline: Option<Instant>,
}

/// The loop's end of the queue.
pub(super) type StoreInputs = mpsc::UnboundedReceiver<Queued>;

/// Where an outcome goes.
pub(super) enum ReplyTo {
    /// A task of this node.
    Local(oneshot::Sender<ResponseBody>),
    /// A call of another node.
    Peer { node: NodeId, call: u64 },
}

/// The way into the store loop.
pub(super) struct StoreHandle {
    inputs: mpsc::UnboundedSender<Queued>,
    /// Requests whose caller had given up before they were begun, or while they waited.
    expired: AtomicU64,
    /// Bytes that wait for the loop.
    waiting_bytes: AtomicUsize,
    /// Told when fewer bytes wait than before.
    room: Notify,
    waiting: Mutex<Waiting>,
    views: RwLock<BTreeMap<GroupId, Arc<GroupView>>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    replies: BTreeMap<u64, ReplyTo>,
}

impl StoreHandle {
    pub(super) fn new() -> (Self, StoreInputs) {
        let (inputs, receiver) = mpsc::unbounded_channel();
        let handle = Self {
            inputs,
            expired: AtomicU64::new(0),
            waiting_bytes: AtomicUsize::new(0),
            room: Notify::new(),
            waiting: Mutex::default(),
            views: RwLock::default(),
        };
        (handle, receiver)
    }

    /// Queues a small input. The loop ends only with the node, so there is nobody to tell when it is gone.
    pub(super) fn send(&self, input: Input) {
        self.send_sized(input, 0, None);
    }

    fn send_sized(&self, input: Input, bytes: usize, deadline: Option<Instant>) {
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let _ = self.inputs.send(Queued { input, bytes, deadline });
    }

    /// Counts a request that nobody waits for any more.
    pub(super) fn note_expired(&self) {
        self.expired.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests whose caller had given up before they were begun, or while they waited.
    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) >= MAX_WAITING_BYTES
    }

    /// Waits until the loop has taken in enough of what waits for it.
    pub(super) async fn has_room(&self) {
        loop {
            let room = self.room.notified();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    fn taken(&self, bytes: usize) {
        if bytes > 0 {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.room.notify_waiters();
        }
    }

    pub(super) fn raft_frame(&self, from: NodeId, _class: Class, frame: Bytes) {
        let bytes = frame.len();
        match torc_wire::raft::RaftFrame::decode(frame) {
            Ok(frame) => self.send_sized(Input::Frame { from, frame }, bytes, None),
            Err(error) => tracing::warn!(%from, %error, "a consensus frame that can't be read was dropped"),
        }
    }

    pub(super) fn persisted(&self, result: Result<Lsn, LogFailed>) {
        self.send(match result {
            Ok(lsn) => Input::Persisted(lsn),
            Err(LogFailed) => Input::PersistFailed,
        });
    }

    fn register(&self, reply: ReplyTo) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.next += 1;
        let token = waiting.next;
        waiting.replies.insert(token, reply);
        token
    }

    /// Proposes a command; the outcome goes to `reply`. Gives `reply` back if too much waits already. A command that the loop
    /// reaches after the deadline is not begun.
    pub(super) fn propose(
        &self,
        group: GroupId,
        command: Bytes,
        deadline: Instant,
        reply: ReplyTo,
    ) -> Result<(), ReplyTo> {
        if self.is_full() {
            return Err(reply);
        }
        let token = self.register(reply);
        let bytes = command.len();
        self.send_sized(Input::Propose { group, command, token }, bytes, Some(deadline));
        Ok(())
    }

    /// Waits until every write acknowledged before the call is applied here, if this node leads the group.
    pub(super) async fn read_barrier(&self, group: GroupId) -> Result<(), ResponseBody> {
        let (sender, receiver) = oneshot::channel();
        let token = self.register(ReplyTo::Local(sender));
        self.send(Input::ReadBarrier { group, token });
        match receiver.await {
            Ok(ResponseBody::Proposed(_)) => Ok(()),
            Ok(other) => Err(other),
            Err(_stopped) => Err(redirect(RedirectReason::Busy, None, "shutting down")),
        }
    }

    /// The shared view of a group that lives here.
    pub(super) fn view(&self, group: GroupId) -> Option<Arc<GroupView>> {
        self.views.read().get(&group).cloned()
    }

    /// All views.
    pub(super) fn views(&self) -> Vec<(GroupId, Arc<GroupView>)> {
        self.views.read().iter().map(|(g, v)| (*g, v.clone())).collect()
    }

    fn take(&self, token: u64) -> Option<ReplyTo> {
        self.waiting.lock().replies.remove(&token)
    }
}

/// A refusal.
pub(super) fn redirect(reason: RedirectReason, node: Option<NodeId>, detail: &str) -> ResponseBody {
    ResponseBody::Redirect(Redirect {
        reason: reason.into(),
        node: node.map_or(0, |n| n.0),
        epoch: 0,
        detail: detail.to_string(),
    })
}

pub(super) async fn run(node: Arc<Inner>, mut store: Store, mut inputs: StoreInputs) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut bytes = 0;
        let first = tokio::select! {
            biased;
            _ = tick.tick() => None,
            queued = inputs.recv() => match queued {
                Some(queued) => Some(queued),
                None => return,
            },
        };
        let now = Instant::now();
        match first {
            None => store.push(Input::Tick),
            Some(queued) => bytes += begin(&node, &mut store, queued, now),
        }
        for _ in 1..TURN_INPUTS {
            if bytes >= TURN_BYTES {
                break;
            }
            let Ok(queued) = inputs.try_recv() else { break };
            bytes += begin(&node, &mut store, queued, now);
        }
        while turn(&node, &mut store) {}
        node.store.taken(bytes);
    }
}

/// Gives an input to the store, unless nobody waits for it any more; returns its bytes.
fn begin(node: &Inner, store: &mut Store, queued: Queued, now: Instant) -> usize {
    match (&queued.input, queued.deadline) {
        (Input::Propose { token, .. }, Some(deadline)) if now >= deadline => {
            node.store.note_expired();
            if let Some(reply) = node.store.take(*token) {
                respond(node, reply, redirect(RedirectReason::Busy, None, "its deadline had passed"));
            }
        }
        _ => store.push(queued.input),
    }
    queued.bytes
}

/// Sends an outcome to where it is waited for.
fn respond(node: &Inner, reply: ReplyTo, body: ResponseBody) {
    match reply {
        ReplyTo::Local(sender) => {
            let _ = sender.send(body);
        }
        ReplyTo::Peer { node: to, call } => {
            let response = Some(PeerResponse { body: Some(body) });
            node.outbox.respond(to, Answer { id: call, response });
        }
    }
}

/// One turn; true if there is more to do at once.
fn turn(node: &Arc<Inner>, store: &mut Store) -> bool {
    let outputs = match store.turn(node.clock.now()) {
        Ok(outputs) => outputs,
        Err(error) => {
            // The store's memory and disk may disagree now: going on could acknowledge what is not stored.
            tracing::error!(%error, "the store failed; this node stops serving");
            node.fail(error.to_string());
            return false;
        }
    };
    node.disk_work();
    for (to, class, frame) in outputs.frames {
        let class = match class {
            FrameClass::Liveness => Class::Liveness,
            FrameClass::Data => Class::Consensus,
            FrameClass::Bulk => Class::Bulk,
        };
        let frame = Frame { raft: Bytes::from(frame.encode_to_vec()), ..Frame::default() };
        frames::send(node, to, class, frame);
    }
    for (token, outcome) in outputs.replies {
        let Some(reply) = node.store.take(token) else { continue };
        let body = match outcome {
            Ok(response) => ResponseBody::Proposed(Proposed { response }),
            Err(error) => refusal(error),
        };
        respond(node, reply, body);
    }
    // The running thread is the shortest way: the outbox's own task need not wake.
    frames::send_outbox(node);
    if outputs.groups_changed {
        *node.store.views.write() = store.views();
    }
    let me = node.peer_number();
    for (group, leader) in outputs.leaders {
        node.router.learn_leader(group, leader);
        if leader == me {
            node.propagation.look_at([group]);
        }
    }
    for (peer, ms) in outputs.round_trips {
        node.liveness.note_round_trip(peer, Duration::from_millis(ms));
    }
    for event in outputs.events {
        match event {
            Event::Removed(group) => groups::leave(node, group),
            Event::Halted(group, reason) => {
                tracing::error!(%group, reason, "this replica stopped for good; the others serve on");
            }
        }
    }
    outputs.again
}

fn refusal(error: ProposeError) -> ResponseBody {
    match error {
        ProposeError::NotLeader { hint } => redirect(RedirectReason::NotLeader, hint, ""),
        ProposeError::NoSuchGroup => {
            redirect(RedirectReason::WrongPartition, None, "the group does not live here")
        }
        ProposeError::Ambiguous => {
            redirect(RedirectReason::Ambiguous, None, "leadership was lost in the middle")
        }
        ProposeError::Busy => redirect(RedirectReason::Busy, None, "too much in flight"),
        ProposeError::DiskFull => redirect(RedirectReason::DiskFull, None, "no space left on the disk"),
        ProposeError::Storage(detail) => redirect(RedirectReason::Storage, None, &detail),
        ProposeError::Invalid(detail) => redirect(RedirectReason::Invalid, None, &detail),
    }
}
