//! Gossip membership: which nodes are alive, suspect or down, and hints about their load and topology epoch.
//!
//! The protocol is SWIM with suspicion, from the `foca` crate. This facade gives foca time, randomness and a
//! wire format, and offers a view by node number. The node's liveness loop calls it. Protocol:
//! docs/protocols/gossip.md.
//!
//! Gossip carries liveness, load and epoch hints, **never ownership**: only the topology says which node
//! holds what. This module must never open a socket, read a clock or draw randomness of its own.

mod codec;
mod envelope;
mod hints;
mod identity;

pub use envelope::GossipError;
pub use hints::Hints;
pub use identity::GossipIdentity;

use crate::NodeId;
use bytes::Bytes;
use codec::IdentityCodec;
use foca::{AccumulatingRuntime, Foca, OwnedNotification, PeriodicParams, State, Timer};
use hints::{HintBroadcasts, SharedHints};
use identity::SeededRng;
use rand::{SeedableRng as _, seq::IteratorRandom as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// How often the protocol does what. Times are durations; the caller's clock need only be monotonic.
#[derive(Clone, Debug)]
pub struct GossipConfig {
    /// One member is probed in each period; one that answers neither directly nor through others by its end
    /// is suspect.
    pub probe_period: Duration,
    /// How long a direct answer may take before others are asked to probe. Below half the period.
    pub probe_rtt: Duration,
    /// How many others are asked.
    pub indirect_probes: usize,
    /// How long a suspect has to show that it lives.
    pub suspect_to_down: Duration,
    /// One round of dissemination: news goes to `fanout` random members.
    pub gossip_period: Duration,
    /// See `gossip_period`.
    pub fanout: usize,
    /// How often a random member is asked for the members that it sees: what dissemination missed comes to
    /// light here.
    pub exchange_period: Duration,
    /// How often nodes of the topology that gossip does not see alive are called.
    pub join_period: Duration,
    /// How long a node that is down is remembered.
    pub forget_down_after: Duration,
    /// A tick that comes later than this means that this process stood still, not that the others did.
    pub pause_threshold: Duration,
}

impl Default for GossipConfig {
    /// For a LAN: a failure is suspected well within a second and known within three.
    fn default() -> Self {
        GossipConfig {
            probe_period: Duration::from_millis(200),
            probe_rtt: Duration::from_millis(60),
            indirect_probes: 3,
            suspect_to_down: Duration::from_secs(2),
            gossip_period: Duration::from_millis(100),
            fanout: 3,
            exchange_period: Duration::from_secs(10),
            join_period: Duration::from_millis(500),
            forget_down_after: Duration::from_secs(3600),
            pause_threshold: Duration::from_millis(300),
        }
    }
}

/// What this node thinks of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer lately and has a moment to show that it lives.
    Suspect,
    /// It stopped answering, or announced that it leaves.
    Down,
}

/// A node as gossip sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Who it says it is.
    pub identity: GossipIdentity,
    /// Whether it lives.
    pub liveness: Liveness,
}

/// Bytes to send to an address. Delivery is not promised and not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The node it is for.
    pub node: NodeId,
    /// Its `host:port`.
    pub addr: String,
    /// At most `MAX_DATAGRAM_BYTES`.
    pub bytes: Bytes,
}

/// Something that the layers above may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GossipEvent {
    /// A node appeared, changed its state, or came back as a new incarnation.
    Member(MemberView),
    /// A node published its load and epoch.
    Hints {
        /// The node.
        node: NodeId,
        /// What it told.
        hints: Hints,
    },
    /// The others considered this node down; it is back with this incarnation.
    Rejoined {
        /// The new incarnation.
        incarnation: u64,
    },
}

/// What to do after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GossipOutput {
    /// To be sent.
    pub datagrams: Vec<Datagram>,
    /// What happened, in order.
    pub events: Vec<GossipEvent>,
}

/// One node's side of the protocol.
pub struct Gossip {
    config: GossipConfig,
    cluster_id: u64,
    node: NodeId,
    foca: Foca<GossipIdentity, IdentityCodec, SeededRng, HintBroadcasts>,
    runtime: AccumulatingRuntime<GossipIdentity>,
    rng: ChaCha8Rng,
    /// By deadline, then by the order in which they were asked for.
    timers: BTreeMap<(Duration, u64), Timer<GossipIdentity>>,
    next_timer: u64,
    view: BTreeMap<NodeId, MemberView>,
    hints: SharedHints,
    own: Hints,
    own_version: u64,
    republish_at: Duration,
    /// Nodes of the topology, to be called when they are not seen.
    peers: BTreeMap<NodeId, String>,
    join_at: Duration,
    left: bool,
    output: GossipOutput,
}

impl Gossip {
    /// A member that knows nobody yet. `identity.incarnation` must be higher than at any earlier start of the
    /// node: see [`GossipIdentity::at_boot`]. `seed` makes the run reproducible; nodes need different ones.
    pub fn new(config: GossipConfig, cluster_id: u64, identity: GossipIdentity, seed: u64) -> Gossip {
        let hints = SharedHints::default();
        let node = identity.node;
        let foca = Foca::with_custom_broadcast(
            identity,
            foca_config(&config, 1),
            SeededRng::new(seed),
            IdentityCodec,
            HintBroadcasts::new(hints.clone(), node),
        );
        Gossip {
            config,
            cluster_id,
            node,
            foca,
            runtime: AccumulatingRuntime::new(),
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x5EED_0F70_2C00_0001),
            timers: BTreeMap::new(),
            next_timer: 0,
            view: BTreeMap::new(),
            hints,
            own: Hints::default(),
            own_version: 0,
            republish_at: Duration::ZERO,
            peers: BTreeMap::new(),
            join_at: Duration::ZERO,
            left: false,
            output: GossipOutput::default(),
        }
    }

    /// Who this node says it is now.
    pub fn identity(&self) -> &GossipIdentity {
        self.foca.identity()
    }

    /// The other nodes, by number.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &MemberView> {
        self.view.values()
    }

    /// This node's verdict on another node, `None` if it never heard of it. A node always considers itself
    /// alive.
    pub fn liveness(&self, node: NodeId) -> Option<Liveness> {
        if node == self.node {
            return Some(Liveness::Alive);
        }
        self.view.get(&node).map(|member| member.liveness)
    }

    /// What a node last told about itself.
    pub fn hints(&self, node: NodeId) -> Option<Hints> {
        if node == self.node {
            return Some(self.own);
        }
        self.hints.get(node)
    }

    /// The nodes to find each other by, from the topology or a seed list. Those that gossip does not see
    /// alive are called from time to time.
    pub fn set_peers(&mut self, peers: impl IntoIterator<Item = (NodeId, String)>) {
        self.peers = peers.into_iter().filter(|(node, _)| *node != self.node).collect();
    }

    /// Tells the others this node's load and epoch. A new epoch leaves at once, a new load with the next
    /// round.
    pub fn publish(&mut self, now: Duration, hints: Hints) -> GossipOutput {
        let news = hints.epoch != self.own.epoch;
        if hints != self.own || self.own_version == 0 {
            self.own = hints;
            self.announce_hints(now);
        }
        if news {
            let result = self.foca.gossip(&mut self.runtime);
            self.note(result);
        }
        self.finish(now)
    }

    /// A datagram arrived. An error means that the rest of it was ignored; effects of its first part are in
    /// the next output.
    pub fn handle(&mut self, now: Duration, datagram: &[u8]) -> Result<GossipOutput, GossipError> {
        let payload = envelope::open(self.cluster_id, datagram)?;
        let result = self.foca.handle_data(payload, &mut self.runtime);
        self.collect(now);
        result.map_err(|e| GossipError::Malformed(e.to_string()))?;
        Ok(self.finish(now))
    }

    /// Time has passed. Call at [`Gossip::next_deadline`] or soon after.
    pub fn tick(&mut self, now: Duration) -> GossipOutput {
        self.forgive_own_pause(now);
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let timer = entry.remove();
            let result = self.foca.handle_timer(timer, &mut self.runtime);
            self.note(result);
            self.collect(now);
        }
        if !self.left {
            if now >= self.join_at {
                self.call_missing(now);
            }
            if self.own_version > 0 && now >= self.republish_at {
                self.announce_hints(now);
            }
        }
        self.finish(now)
    }

    /// When to call [`Gossip::tick`] next.
    pub fn next_deadline(&self) -> Duration {
        let timer = self.timers.first_key_value().map_or(Duration::MAX, |(key, _)| key.0);
        if self.left { timer } else { timer.min(self.join_at) }
    }

    /// Announces that this member leaves, so that the others need not detect it. Send the output; this member
    /// does nothing more. The node does not call this yet.
    pub fn leave(&mut self, now: Duration) -> GossipOutput {
        self.left = true;
        let result = self.foca.leave_cluster(&mut self.runtime);
        self.note(result);
        self.finish(now)
    }

    /// A process that stood still (SIGSTOP, a stalled machine) finds all its timers due before it has read
    /// the answers waiting for it, and would consider the others dead. The pause does not count: everything
    /// that is due moves by the delay.
    fn forgive_own_pause(&mut self, now: Duration) {
        let Some(late) = self.timers.first_key_value().and_then(|(key, _)| now.checked_sub(key.0)) else {
            return;
        };
        if late > self.config.pause_threshold {
            tracing::debug!(?late, "gossip stood still; its deadlines move on");
            let timers = std::mem::take(&mut self.timers);
            self.timers =
                timers.into_iter().map(|((at, order), timer)| ((at + late, order), timer)).collect();
        }
    }

    fn call_missing(&mut self, now: Duration) {
        self.join_at = now + self.config.join_period;
        let missing = self.peers.iter().filter(|(node, _)| match self.view.get(node) {
            Some(member) => member.liveness == Liveness::Down,
            None => true,
        });
        let called: Vec<GossipIdentity> = missing
            .map(|(node, addr)| GossipIdentity { node: *node, incarnation: 0, addr: addr.clone() })
            .choose_multiple(&mut self.rng, self.config.fanout);
        for peer in called {
            let result = self.foca.announce(peer, &mut self.runtime);
            self.note(result);
        }
    }

    fn announce_hints(&mut self, now: Duration) {
        // A round's packets hold a few dozen hints; a bigger cluster repeats itself less often.
        self.republish_at = now + Duration::from_secs(2) + Duration::from_millis(40) * self.view.len() as u32;
        self.own_version += 1;
        let incarnation = self.foca.identity().incarnation;
        let item = hints::encode(self.node, incarnation, self.own_version, self.own);
        let result = self.foca.add_broadcast(&item).map(|_| ());
        self.note(result);
    }

    fn note(&self, result: Result<(), foca::Error>) {
        if let Err(error) = result {
            tracing::debug!(%error, "gossip step refused");
        }
    }

    fn finish(&mut self, now: Duration) -> GossipOutput {
        self.collect(now);
        std::mem::take(&mut self.output)
    }

    /// Takes the outputs of the last step out of foca.
    fn collect(&mut self, now: Duration) {
        while let Some((to, payload)) = self.runtime.to_send() {
            let bytes = envelope::seal(self.cluster_id, &payload);
            self.output.datagrams.push(Datagram { node: to.node, addr: to.addr, bytes });
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers.insert((now + after, self.next_timer), timer);
            self.next_timer += 1;
        }
        let mut renewed = false;
        while let Some(notification) = self.runtime.to_notify() {
            if let OwnedNotification::Rejoin(identity) = notification {
                self.output.events.push(GossipEvent::Rejoined { incarnation: identity.incarnation });
                renewed = true;
            }
        }
        self.refresh_view();
        for (node, hints) in self.hints.take_news() {
            self.output.events.push(GossipEvent::Hints { node, hints });
        }
        if renewed && !self.left {
            // Nobody that matters may have heard of the new identity yet.
            self.join_at = now;
        }
    }

    /// foca reports members that join and leave but not suspicion, so the view is compared as a whole.
    fn refresh_view(&mut self) {
        let mut changed = VecDeque::new();
        let mut seen = 0;
        for member in self.foca.iter_membership_state() {
            let identity = member.id();
            if identity.node == self.node {
                continue;
            }
            seen += 1;
            let liveness = match member.state() {
                State::Alive => Liveness::Alive,
                State::Suspect => Liveness::Suspect,
                State::Down => Liveness::Down,
            };
            let same = self
                .view
                .get(&identity.node)
                .is_some_and(|known| known.liveness == liveness && known.identity == *identity);
            if !same {
                changed.push_back(MemberView { identity: identity.clone(), liveness });
            }
        }
        let grew_or_shrank = seen != self.view.len();
        for member in changed {
            self.view.insert(member.identity.node, member.clone());
            self.output.events.push(GossipEvent::Member(member));
        }
        if seen != self.view.len() {
            let kept: BTreeSet<NodeId> =
                self.foca.iter_membership_state().map(|member| member.id().node).collect();
            self.view.retain(|node, _| kept.contains(node));
        }
        if grew_or_shrank {
            // Only the number of transmissions follows the size; foca allows that at any time.
            let result = self.foca.set_config(foca_config(&self.config, self.view.len() + 1));
            self.note(result);
        }
    }
}

/// News is passed on O(log N) times by each member, which reaches everybody with high probability. A member
/// that just started sees few others of many, hence the floor.
fn foca_config(config: &GossipConfig, members: usize) -> foca::Config {
    let rounds = (usize::BITS - members.max(32).leading_zeros()) * 3;
    let nonzero = |value: usize| NonZeroUsize::new(value).unwrap_or(NonZeroUsize::MIN);
    foca::Config {
        probe_period: config.probe_period,
        probe_rtt: config.probe_rtt,
        num_indirect_probes: nonzero(config.indirect_probes),
        max_transmissions: NonZeroU8::new(u8::try_from(rounds).unwrap_or(u8::MAX)).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: config.suspect_to_down,
        remove_down_after: Some(config.forget_down_after),
        max_packet_size: nonzero(envelope::MAX_PAYLOAD_BYTES),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams {
            frequency: config.exchange_period,
            num_members: nonzero(1),
        }),
        periodic_announce_to_down_members: None, // `call_missing` does that, for nodes of the topology
        periodic_gossip: Some(PeriodicParams {
            frequency: config.gossip_period,
            num_members: nonzero(config.fanout),
        }),
    }
}
