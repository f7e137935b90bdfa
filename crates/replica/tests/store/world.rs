//! The simulated world of these tests: nodes with disks and clocks, a network between them, and clients.

use crate::history::{History, Operation};
use crate::machine::{self, Command, Lists};
use bytes::Bytes;
use prost::Message as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use torc_cluster::{GroupId, NodeId};
use torc_engine::env::SimEnv;
use torc_engine::{Background, Engine, Options};
use torc_replica::store::{
    Config, Event, GroupSpec, GroupView, Input, Limits, Outputs, PlantedBugs, ProposeError, Store, Timing,
    applied_key,
};
use torc_wire::raft::{ControlBody, RaftFrame};

pub struct Settings {
    pub nodes: u64,
    /// Rates of the clocks differ by up to this many thousandths either way.
    pub drift_permille: u64,
    pub delay_ms: (u64, u64),
    pub drop_permille: u32,
    pub duplicate_permille: u32,
    /// How long a sync takes.
    pub sync_ms: (u64, u64),
    pub timing: Timing,
    pub limits: Limits,
    pub planted: PlantedBugs,
    pub memtable_bytes: usize,
    pub segment_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            nodes: 3,
            drift_permille: 30,
            delay_ms: (0, 2),
            drop_permille: 0,
            duplicate_permille: 0,
            sync_ms: (0, 2),
            timing: Timing::default(),
            limits: Limits::default(),
            planted: PlantedBugs::default(),
            memtable_bytes: 64 << 10,
            segment_bytes: 1 << 20,
        }
    }
}

pub struct Node {
    pub env: SimEnv,
    pub running: Option<Running>,
    pub incarnation: u64,
    /// Milliseconds at true time 0, and thousandths of true time.
    clock: (u64, u64),
    /// Not scheduled until then: the process is stopped.
    pub paused_until: u64,
}

pub struct Running {
    pub store: Store,
    pub engine: Engine,
    pub views: BTreeMap<GroupId, Arc<GroupView>>,
    persisted: Arc<Mutex<Vec<u64>>>,
    sync_at: Option<u64>,
    next_tick: u64,
    pub events: Vec<Event>,
}

/// What a group shall look like, as the topology would say.
#[derive(Clone)]
pub struct Plan {
    pub initial: Vec<NodeId>,
    pub replicas: Vec<NodeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Command(Command),
    /// A read barrier, then a read of the engine.
    Barrier,
}

struct InFlight {
    operation: usize,
    node: NodeId,
    kind: Kind,
}

pub struct World {
    pub now: u64,
    pub rng: ChaCha8Rng,
    pub settings: Settings,
    pub nodes: BTreeMap<NodeId, Node>,
    pub plans: BTreeMap<GroupId, Plan>,
    network: BTreeMap<(u64, u64), (NodeId, NodeId, Bytes)>,
    sequence: u64,
    /// Cut directions.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
    pub frames_sent: u64,
    pub messages_sent: BTreeMap<GroupId, u64>,
    pub history: History,
    /// Why operations of the history failed, by their number.
    pub errors: BTreeMap<usize, ProposeError>,
    in_flight: BTreeMap<u64, InFlight>,
    next_token: u64,
    next_number: u64,
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    states: BTreeMap<(GroupId, u64), Vec<(Bytes, Bytes)>>,
    /// Violations found while running.
    pub violations: Vec<String>,
    /// A digest of everything that happened.
    pub trace: u64,
}

impl World {
    pub fn new(seed: u64, settings: Settings) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut nodes = BTreeMap::new();
        for n in 1..=settings.nodes {
            let drift = settings.drift_permille;
            let rate = 1000 + rng.random_range(0..=2 * drift) - drift;
            let clock = (rng.random_range(0..1_000_000), rate);
            let env = SimEnv::new(rng.random());
            let id = NodeId(n);
            nodes.insert(id, Node { env, running: None, incarnation: 0, clock, paused_until: 0 });
        }
        let mut world = Self {
            now: 0,
            rng,
            settings,
            nodes,
            plans: BTreeMap::new(),
            network: BTreeMap::new(),
            sequence: 0,
            cuts: BTreeSet::new(),
            frames_sent: 0,
            messages_sent: BTreeMap::new(),
            history: History::default(),
            errors: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_token: 0,
            next_number: 0,
            leaders: BTreeMap::new(),
            states: BTreeMap::new(),
            violations: Vec::new(),
            trace: 0,
        };
        for n in 1..=world.settings.nodes {
            world.start(NodeId(n));
        }
        world
    }

    pub fn clock(&self, node: NodeId) -> Duration {
        let (start, rate) = self.nodes[&node].clock;
        Duration::from_millis(start + self.now * rate / 1000)
    }

    pub fn start(&mut self, id: NodeId) {
        let now = self.clock(id);
        let seed = self.rng.random();
        let first_tick = self.now + self.rng.random_range(0..20);
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(node.running.is_none());
        node.incarnation += 1;
        let options = Options {
            background: Background::Manual,
            memtable_bytes: self.settings.memtable_bytes,
            segment_bytes: self.settings.segment_bytes,
            cache_bytes: 1 << 20,
            ..Options::default()
        };
        let engine =
            Engine::open(Arc::new(node.env.clone()), Path::new("/data"), options).expect("the engine opens");
        let persisted = Arc::new(Mutex::new(Vec::new()));
        let listener = persisted.clone();
        engine
            .log()
            .on_durable(Arc::new(move |lsn| listener.lock().unwrap().push(lsn.expect("the disk syncs"))));
        self.check_opened(id, &engine);
        let node = self.nodes.get_mut(&id).unwrap();
        let mut config = Config::new(id, node.incarnation, node.incarnation == 1, seed);
        config.timing = self.settings.timing;
        config.limits = self.settings.limits;
        config.planted = self.settings.planted;
        let store = Store::new(config, engine.clone(), now);
        node.running = Some(Running {
            store,
            engine,
            views: BTreeMap::new(),
            persisted,
            sync_at: None,
            next_tick: first_tick,
            events: Vec::new(),
        });
        for group in self.plans.keys().copied().collect::<Vec<_>>() {
            if self.plans[&group].replicas.contains(&id) || self.stored(id, group) {
                self.hold(id, group);
            }
        }
        self.turn(id);
    }

    /// What an engine holds after a crash is a state that the group was in at the applied position beside it.
    fn check_opened(&mut self, id: NodeId, engine: &Engine) {
        for group in self.plans.keys().copied().collect::<Vec<_>>() {
            let position = engine.get(&applied_key(group)).expect("the engine reads");
            let Some(index) = position.and_then(|p| p.get(..8)?.try_into().ok().map(u64::from_le_bytes))
            else {
                continue;
            };
            let contents = machine::contents(engine, group);
            if self.states.get(&(group, index)).is_some_and(|known| *known != contents) {
                self.violations
                    .push(format!("{group}: {id} opened with data that is not that of index {index}"));
            }
        }
    }

    fn stored(&self, id: NodeId, group: GroupId) -> bool {
        self.nodes[&id].running.as_ref().is_some_and(|r| r.store.stored_groups().contains(&group))
    }

    fn hold(&mut self, id: NodeId, group: GroupId) {
        let plan = self.plans[&group].clone();
        let spec = GroupSpec {
            group,
            machine: Box::new(Lists { group }),
            ranges: vec![machine::range(group)],
            initial: plan.initial,
            replicas: plan.replicas,
        };
        self.push(id, Input::CreateGroup(Box::new(spec)));
    }

    /// No replica may have been sent what it has to throw away: the network here loses messages, but it alters none.
    pub fn check_messages(&mut self, id: NodeId) {
        let bad = self.nodes[&id].running.as_ref().map_or(0, |running| running.store.metrics().bad_messages);
        if bad > 0 {
            self.violations.push(format!("{id} was sent {bad} messages that contradict themselves"));
        }
    }

    /// Power cut: what was not synced may be lost.
    pub fn crash(&mut self, id: NodeId) {
        self.check_messages(id);
        let seed = self.rng.random();
        self.fail_calls(id);
        let node = self.nodes.get_mut(&id).unwrap();
        node.running = None;
        node.env.crash(seed);
    }

    fn fail_calls(&mut self, id: NodeId) {
        self.in_flight.retain(|_, f| f.node != id);
    }

    pub fn create(&mut self, group: GroupId, members: &[u64]) {
        let members: Vec<NodeId> = members.iter().map(|n| NodeId(*n)).collect();
        self.plans.insert(group, Plan { initial: members.clone(), replicas: members.clone() });
        for id in members {
            if self.nodes[&id].running.is_some() {
                self.hold(id, group);
                self.turn(id);
            }
        }
    }

    pub fn set_members(&mut self, group: GroupId, members: &[u64]) {
        let members: Vec<NodeId> = members.iter().map(|n| NodeId(*n)).collect();
        self.plans.get_mut(&group).unwrap().replicas = members.clone();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if self.nodes[&id].running.is_none() {
                continue;
            }
            if members.contains(&id) {
                self.hold(id, group);
            }
            self.push(id, Input::SetMembers { group, replicas: members.clone() });
            self.turn(id);
        }
    }

    pub fn push(&mut self, id: NodeId, input: Input) {
        if let Some(running) = &mut self.nodes.get_mut(&id).unwrap().running {
            running.store.push(input);
        }
    }

    pub fn view(&self, id: NodeId, group: GroupId) -> Option<&Arc<GroupView>> {
        self.nodes[&id].running.as_ref()?.views.get(&group)
    }

    pub fn running(&self, id: NodeId) -> &Running {
        self.nodes[&id].running.as_ref().expect("the node runs")
    }

    /// The node that leads with a lease, if any.
    pub fn lease_holder(&self, group: GroupId) -> Option<NodeId> {
        self.nodes
            .keys()
            .copied()
            .find(|id| self.view(*id, group).is_some_and(|v| v.lease_valid(self.clock(*id)).is_some()))
    }

    /// Any node that believes to lead.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.nodes.keys().copied().find(|id| self.view(*id, group).is_some_and(|v| v.is_leader()))
    }

    /// Takes the frames with snapshot chunks out of the network.
    pub fn take_chunks(&mut self) -> Vec<(NodeId, NodeId, Bytes)> {
        let is_chunk = |bytes: &Bytes| {
            let frame = RaftFrame::decode(bytes.clone()).expect("frames decode");
            frame.controls.iter().any(|c| matches!(c.body, Some(ControlBody::SnapshotChunk(_))))
        };
        let chunks: Vec<_> =
            self.network.iter().filter(|(_, (_, _, bytes))| is_chunk(bytes)).map(|(at, _)| *at).collect();
        chunks.into_iter().filter_map(|at| self.network.remove(&at)).collect()
    }

    /// Delivers a frame in the next step, before any other.
    pub fn inject(&mut self, frame: (NodeId, NodeId, Bytes)) {
        self.network.insert((self.now, self.sequence), frame);
        self.sequence += 1;
    }

    pub fn isolate(&mut self, id: NodeId) {
        for other in self.nodes.keys().copied().filter(|o| *o != id).collect::<Vec<_>>() {
            self.cuts.insert((id, other));
            self.cuts.insert((other, id));
        }
    }

    pub fn run(&mut self, ms: u64) {
        for _ in 0..ms {
            self.step();
        }
    }

    /// Runs until the condition holds; false if it does not within `ms`.
    pub fn run_until(&mut self, ms: u64, condition: impl Fn(&World) -> bool) -> bool {
        for _ in 0..ms {
            if condition(self) {
                return true;
            }
            self.step();
        }
        condition(self)
    }

    fn step(&mut self) {
        self.now += 1;
        let mut awake: BTreeSet<NodeId> = BTreeSet::new();
        while let Some(entry) = self.network.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (from, to, bytes) = entry.remove();
            let node = self.nodes.get_mut(&to).unwrap();
            if node.paused_until > self.now {
                // Waits in the socket.
                self.sequence += 1;
                self.network.insert((node.paused_until, self.sequence), (from, to, bytes));
                continue;
            }
            if let Some(running) = &mut node.running {
                let frame = RaftFrame::decode(bytes).expect("frames decode");
                running.store.push(Input::Frame { from, frame });
                awake.insert(to);
            }
        }
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if self.tend(id) {
                awake.insert(id);
            }
        }
        for id in awake {
            self.turn(id);
        }
        self.check_now();
    }

    /// Syncs and ticks that are due.
    fn tend(&mut self, id: NodeId) -> bool {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        let stalled = node.env.stalled();
        let Some(running) = node.running.as_mut().filter(|_| node.paused_until <= now) else { return false };
        let mut work = false;
        // The tick comes first: the store must not rely on hearing of its disk before it looks at the clock.
        if running.next_tick <= now {
            running.next_tick = now + 20;
            running.store.push(Input::Tick);
            work = true;
        }
        if running.sync_at.is_some_and(|at| at <= now) && !stalled {
            running.sync_at = None;
            running.engine.log().sync_step().expect("the disk syncs");
            while running.engine.background_step().expect("background work succeeds") {}
        }
        for lsn in std::mem::take(&mut *running.persisted.lock().unwrap()) {
            running.store.push(Input::Persisted(lsn));
            work = true;
        }
        work
    }

    pub fn turn(&mut self, id: NodeId) {
        loop {
            let clock = self.clock(id);
            let Some(running) = &mut self.nodes.get_mut(&id).unwrap().running else { return };
            let outputs = running.store.turn(clock).expect("the store works");
            if running.engine.log().has_pending() && running.sync_at.is_none() {
                let (low, high) = self.settings.sync_ms;
                running.sync_at = Some(self.now + self.rng.random_range(low..=high));
            }
            for (group, view) in &running.views {
                if view.is_readable() {
                    let state = (*group, view.applied_index());
                    self.states.entry(state).or_insert_with(|| machine::contents(&running.engine, *group));
                }
            }
            if outputs.groups_changed {
                running.views = running.store.views();
            }
            running.events.extend(outputs.events.iter().cloned());
            let again = outputs.again;
            self.deliver(id, outputs);
            if !again {
                return;
            }
        }
    }

    fn deliver(&mut self, from: NodeId, outputs: Outputs) {
        for (to, class, frame) in outputs.frames {
            self.frames_sent += 1;
            for message in &frame.messages {
                *self.messages_sent.entry(GroupId(message.group)).or_default() += 1;
            }
            let bytes = Bytes::from(frame.encode_to_vec());
            self.note(
                from.0
                    ^ (to.0 << 8)
                    ^ ((class as u64) << 16)
                    ^ ((bytes.len() as u64) << 20)
                    ^ (self.now << 40),
            );
            if self.cuts.contains(&(from, to)) || self.rng.random_ratio(self.settings.drop_permille, 1000) {
                continue;
            }
            let copies = 1 + u32::from(self.rng.random_ratio(self.settings.duplicate_permille, 1000));
            for _ in 0..copies {
                let (low, high) = self.settings.delay_ms;
                let at = self.now + 1 + self.rng.random_range(low..=high);
                self.sequence += 1;
                self.network.insert((at, self.sequence), (from, to, bytes.clone()));
            }
        }
        for (token, result) in outputs.replies {
            self.answered(from, token, result);
        }
    }

    fn note(&mut self, value: u64) {
        self.trace = (self.trace ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17);
    }

    // Clients.

    fn operation(&mut self, group: GroupId, key: u8, append: Option<u64>) -> usize {
        let invoked = self.now;
        self.history.operations.push(Operation { group, key, append, invoked, done: None, failed: false });
        self.history.operations.len() - 1
    }

    /// Sends a command to a node. Returns the operation's number in the history.
    pub fn command(&mut self, id: NodeId, group: GroupId, key: u8, command: Command) -> usize {
        let append = match command {
            Command::Append(n) | Command::AppendIf(n, _) => Some(n),
            Command::Read => None,
        };
        let operation = self.operation(group, key, append);
        self.next_token += 1;
        let token = self.next_token;
        self.in_flight.insert(token, InFlight { operation, node: id, kind: Kind::Command(command) });
        self.push(id, Input::Propose { group, command: command.encode(key), token });
        self.turn(id);
        operation
    }

    pub fn append(&mut self, id: NodeId, group: GroupId, key: u8) -> usize {
        self.next_number += 1;
        let number = self.next_number;
        self.command(id, group, key, Command::Append(number))
    }

    pub fn append_if(&mut self, id: NodeId, group: GroupId, key: u8, len: u64) -> usize {
        self.next_number += 1;
        let number = self.next_number;
        self.command(id, group, key, Command::AppendIf(number, len))
    }

    /// A strong read through the loop.
    pub fn barrier_read(&mut self, id: NodeId, group: GroupId, key: u8) -> usize {
        let operation = self.operation(group, key, None);
        self.next_token += 1;
        let token = self.next_token;
        self.in_flight.insert(token, InFlight { operation, node: id, kind: Kind::Barrier });
        self.push(id, Input::ReadBarrier { group, token });
        self.turn(id);
        operation
    }

    /// A strong read outside the loop, if the node believes to hold the lease. A paused node reads when it wakes.
    pub fn lease_read(&mut self, id: NodeId, group: GroupId, key: u8) -> bool {
        let Some(view) = self.view(id, group).cloned() else { return false };
        let clock = self.clock(id);
        let Some(stamp) = view.lease_valid(clock) else { return false };
        let bytes = self.running(id).engine.get(&machine::key(group, key)).unwrap();
        if !view.still_valid(&stamp, clock) {
            return false;
        }
        let operation = self.operation(group, key, None);
        self.history.operations[operation].done = Some((self.now, machine::list(bytes.as_deref())));
        true
    }

    fn answered(&mut self, id: NodeId, token: u64, result: Result<Bytes, ProposeError>) {
        self.note(token ^ u64::from(result.is_ok()));
        let Some(InFlight { operation, kind, .. }) = self.in_flight.remove(&token) else {
            self.violations.push(format!("token {token} was answered twice, or never asked: {result:?}"));
            return;
        };
        let seen = match (&result, kind) {
            (Ok(response), Kind::Command(_)) => Some(machine::list(Some(response))),
            (Ok(_), Kind::Barrier) => {
                let op = &self.history.operations[operation];
                let bytes = self.running(id).engine.get(&machine::key(op.group, op.key)).unwrap();
                Some(machine::list(bytes.as_deref()))
            }
            (Err(_), _) => None,
        };
        let now = self.now;
        let op = &mut self.history.operations[operation];
        if let Err(error) = &result {
            self.errors.insert(operation, error.clone());
        }
        match (result, seen) {
            (Ok(_), Some(seen)) => {
                if let Kind::Command(Command::AppendIf(_, len)) = kind {
                    op.failed = seen.len() as u64 != len;
                }
                op.done = Some((now, seen));
            }
            (Err(ProposeError::Ambiguous), _) => {}
            _ => op.failed = true,
        }
    }

    pub fn outcome(&self, operation: usize) -> &Operation {
        &self.history.operations[operation]
    }

    pub fn succeeded(&self, operation: usize) -> bool {
        let op = self.outcome(operation);
        op.done.is_some() && !op.failed
    }

    // Invariants.

    /// What must hold at every moment: one lease holder, one leader per term.
    fn check_now(&mut self) {
        for group in self.plans.keys().copied().collect::<Vec<_>>() {
            let mut holders = Vec::new();
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                let Some(view) = self.view(id, group) else { continue };
                if view.lease_valid(self.clock(id)).is_some() {
                    holders.push(id);
                }
                if view.is_leader() {
                    let term = view.term();
                    let first = *self.leaders.entry((group, term)).or_insert(id);
                    if first != id {
                        self.violations.push(format!("{group}: {first} and {id} both led in term {term}"));
                    }
                }
            }
            if holders.len() > 1 {
                self.violations.push(format!("{group} at {}: {holders:?} all hold the lease", self.now));
            }
        }
    }

    /// Replicas with equal applied index hold equal data, now and at all earlier samples.
    pub fn check_replicas(&mut self) {
        for group in self.plans.keys().copied().collect::<Vec<_>>() {
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                let Some(view) = self.view(id, group).filter(|v| v.is_readable()) else { continue };
                let applied = view.applied_index();
                let contents = machine::contents(&self.running(id).engine, group);
                let known = self.states.entry((group, applied)).or_insert_with(|| contents.clone());
                if *known != contents {
                    self.violations
                        .push(format!("{group}: {id} differs from another replica at index {applied}"));
                }
            }
        }
    }

    /// What every node believes, for failures.
    pub fn describe(&self, groups: &[GroupId]) -> String {
        let mut out = String::new();
        for (id, node) in &self.nodes {
            let Some(running) = &node.running else { continue };
            for group in groups {
                let Some(v) = running.views.get(group) else { continue };
                out += &format!(
                    "\n{id} {group}: leader {:?} term {} leads {} applied {} readable {} lease {} at {:?} {:?}",
                    v.leader(),
                    v.term(),
                    v.is_leader(),
                    v.applied_index(),
                    v.is_readable(),
                    v.lease_until_ms(),
                    self.clock(*id),
                    v.members()
                );
            }
            out += &format!("\n{id}: {:?}", running.store.metrics());
        }
        out
    }

    /// All members of a group are whole and equally far.
    pub fn converged(&self, group: GroupId) -> bool {
        let replicas = &self.plans[&group].replicas;
        let leader = self.lease_holder(group);
        let mut indexes = BTreeSet::new();
        for id in replicas {
            match self.view(*id, group) {
                Some(view) if view.is_readable() => indexes.insert(view.applied_index()),
                _ => return false,
            };
        }
        let members = leader.and_then(|l| self.view(l, group)).map(|v| v.members());
        let mut want: Vec<u64> = replicas.iter().map(|n| n.0).collect();
        want.sort_unstable();
        indexes.len() == 1 && members.is_some_and(|m| m.voters == want && m.voters_outgoing.is_empty())
    }

    /// Ends with a check of everything. Call it when the cluster is healthy.
    pub fn verify(&mut self) {
        let groups: Vec<GroupId> = self.plans.keys().copied().collect();
        if !self.run_until(1_500, |w| groups.iter().all(|g| w.converged(*g))) {
            let state = self.describe(&groups);
            self.violations.push(format!("does not converge any more: {state}"));
        }
        self.check_replicas();
        let mut lists = BTreeMap::new();
        for (group, plan) in self.plans.clone() {
            let engine = &self.running(plan.replicas[0]).engine;
            for (key, value) in machine::contents(engine, group) {
                lists.insert((group, key[9]), machine::list(Some(&value)));
            }
        }
        if let Err(error) = self.history.check(&lists) {
            self.violations.push(error);
        }
    }
}
