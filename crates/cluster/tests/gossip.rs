//! Gossip over a network inside the test, with delay and loss. Checked: news reaches all nodes in O(log N)
//! rounds, dead nodes are detected in time, live nodes are not suspected without cause, and nodes that return
//! are accepted.

use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use torc_cluster::gossip::{
    Gossip, GossipConfig, GossipError, GossipEvent, GossipIdentity, GossipOutput, Hints, Liveness,
};
use torc_cluster::{Epoch, NodeId};

const CLUSTER: u64 = 77;
const MS: Duration = Duration::from_millis(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct Net {
    now: Duration,
    rng: ChaCha8Rng,
    nodes: BTreeMap<u64, Gossip>,
    boots: BTreeMap<u64, u64>,
    /// Stopped processes: nothing is processed, datagrams wait.
    paused: BTreeSet<u64>,
    /// Directed links that lose everything.
    cut: BTreeSet<(u64, u64)>,
    queue: BTreeMap<(Duration, u64), (u64, Vec<u8>)>,
    order: u64,
    loss_percent: u32,
    sent: u64,
    /// Who saw what of whom, when.
    seen: Vec<(Duration, u64, NodeId, Liveness)>,
    epochs: BTreeMap<(u64, NodeId), (Duration, Epoch)>,
    trace: u64,
    /// Addresses may be anything once somebody has forged a message.
    tampered: bool,
}

impl Net {
    fn new(seed: u64) -> Net {
        Net {
            now: Duration::ZERO,
            rng: ChaCha8Rng::seed_from_u64(seed),
            nodes: BTreeMap::new(),
            boots: BTreeMap::new(),
            paused: BTreeSet::new(),
            cut: BTreeSet::new(),
            queue: BTreeMap::new(),
            order: 0,
            loss_percent: 0,
            sent: 0,
            seen: Vec::new(),
            epochs: BTreeMap::new(),
            trace: 0,
            tampered: false,
        }
    }

    fn start(&mut self, id: u64, peers: &[u64]) {
        let boot = self.boots.entry(id).or_default();
        *boot += 1;
        let identity = GossipIdentity::at_boot(NodeId(id), format!("h{id}:1"), *boot);
        let mut gossip = Gossip::new(GossipConfig::default(), CLUSTER, identity, self.rng.random());
        gossip.set_peers(peers.iter().map(|peer| (NodeId(*peer), format!("h{peer}:1"))));
        self.nodes.insert(id, gossip);
    }

    /// A cluster where everybody knows only node 1, run until all see all.
    fn grown(n: u64, seed: u64) -> (Net, Duration) {
        let mut net = Net::new(seed);
        for id in 1..=n {
            net.start(id, &[1]);
        }
        let took = net.run_until(ms(20_000), |net| net.all_alive());
        let everybody: Vec<u64> = (1..=n).collect();
        for gossip in net.nodes.values_mut() {
            gossip.set_peers(everybody.iter().map(|peer| (NodeId(*peer), format!("h{peer}:1"))));
        }
        (net, took.expect("the cluster never grew together"))
    }

    fn all_alive(&self) -> bool {
        self.nodes.values().all(|gossip| {
            gossip.members().len() + 1 == self.nodes.len()
                && gossip.members().all(|member| member.liveness == Liveness::Alive)
        })
    }

    fn everybody_holds(&self, id: u64, liveness: Liveness) -> bool {
        self.nodes
            .iter()
            .filter(|(other, _)| **other != id)
            .all(|(_, g)| g.liveness(NodeId(id)) == Some(liveness))
    }

    fn deliver(&mut self, from: u64, output: GossipOutput) {
        for datagram in output.datagrams {
            assert!(datagram.bytes.len() <= torc_cluster::limits::MAX_DATAGRAM_BYTES);
            assert!(self.tampered || datagram.addr == format!("h{}:1", datagram.node.0));
            self.sent += 1;
            let lost = self.rng.random_range(0..100) < self.loss_percent
                || self.cut.contains(&(from, datagram.node.0));
            let delay = Duration::from_micros(self.rng.random_range(200..8000));
            if !lost {
                self.order += 1;
                self.queue.insert((self.now + delay, self.order), (datagram.node.0, datagram.bytes.to_vec()));
            }
        }
        for event in output.events {
            match event {
                GossipEvent::Member(member) => {
                    self.seen.push((self.now, from, member.identity.node, member.liveness));
                    self.trace =
                        (self.trace ^ from ^ (member.liveness as u64) << 8 ^ self.now.as_nanos() as u64)
                            .wrapping_mul(0x100_0000_01B3);
                }
                GossipEvent::Hints { node, hints } => {
                    self.epochs.insert((from, node), (self.now, hints.epoch));
                }
                GossipEvent::Rejoined { .. } => {}
            }
        }
    }

    fn run_until(&mut self, limit: Duration, done: impl Fn(&Net) -> bool) -> Option<Duration> {
        let start = self.now;
        while self.now < start + limit {
            if done(self) {
                return Some(self.now - start);
            }
            self.now += MS;
            while let Some(entry) = self.queue.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let at = *entry.key();
                let (to, bytes) = entry.remove();
                if self.paused.contains(&to) {
                    self.queue.insert((self.now + MS, at.1), (to, bytes));
                    continue;
                }
                if let Some(gossip) = self.nodes.get_mut(&to) {
                    let output = gossip.handle(self.now, &bytes).unwrap_or_default();
                    self.deliver(to, output);
                }
            }
            let due: Vec<u64> = self
                .nodes
                .iter()
                .filter(|(id, g)| g.next_deadline() <= self.now && !self.paused.contains(id))
                .map(|(id, _)| *id)
                .collect();
            for id in due {
                let output = self.nodes.get_mut(&id).unwrap().tick(self.now);
                self.deliver(id, output);
            }
        }
        done(self).then(|| self.now - start)
    }

    fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }
}

#[test]
fn fifty_nodes_that_know_one_find_each_other_in_logarithmic_rounds() {
    let round = GossipConfig::default().gossip_period;
    let mut rounds = BTreeMap::new();
    for n in [6u64, 50, 150] {
        let worst = (0..3).map(|seed| Net::grown(n, seed).1).max().unwrap();
        rounds.insert(n, worst.as_millis() as f64 / round.as_millis() as f64);
    }
    println!("rounds to full membership: {rounds:?}");
    for (n, rounds) in &rounds {
        let log = (*n as f64).log2();
        assert!(*rounds <= 10.0 + 4.0 * log, "{n} nodes needed {rounds} rounds");
    }
}

#[test]
fn an_epoch_spreads_in_logarithmic_rounds() {
    let (mut net, _) = Net::grown(50, 5);
    net.run(ms(3000));
    let start = net.now;
    let output = net.nodes.get_mut(&7).unwrap().publish(start, Hints { epoch: Epoch(9), load: 100 });
    net.deliver(7, output);
    let knows =
        |net: &Net| net.nodes.values().all(|g| g.hints(NodeId(7)).is_some_and(|h| h.epoch == Epoch(9)));
    let took = net.run_until(ms(5000), knows).expect("the epoch got lost");
    println!("epoch known to all 50 after {took:?}");
    assert!(took < ms(100) * 12, "took {took:?}, 2 log2(50) rounds are 1.13 s");
    assert_eq!(net.epochs.len(), 49, "each other node is told once");
}

#[test]
fn a_dead_node_is_suspected_within_a_second_and_down_within_three() {
    for seed in 0..6 {
        let n = if seed % 2 == 0 { 3 } else { 50 };
        let (mut net, _) = Net::grown(n, 100 + seed);
        net.run(ms(2000));
        net.nodes.remove(&2);
        let start = net.now;
        net.seen.clear();
        net.run_until(ms(8000), |net| net.everybody_holds(2, Liveness::Down)).expect("nobody noticed");
        let first =
            |liveness| net.seen.iter().find(|e| e.2 == NodeId(2) && e.3 == liveness).unwrap().0 - start;
        let all = net.now - start;
        println!(
            "{n} nodes: suspect {:?}, down {:?}, all {all:?}",
            first(Liveness::Suspect),
            first(Liveness::Down)
        );
        assert!(first(Liveness::Suspect) < ms(1000));
        assert!(first(Liveness::Down) < ms(3000));
        assert!(all < ms(3600));
        assert!(net.seen.iter().all(|e| e.2 == NodeId(2) || e.3 != Liveness::Down), "somebody else fell too");
    }
}

#[test]
fn a_restarted_node_is_welcomed_before_and_after_it_was_missed() {
    for outage in [50, 6000] {
        let (mut net, _) = Net::grown(50, 11);
        net.run(ms(1000));
        net.nodes.remove(&4);
        net.run(ms(outage));
        net.start(4, &[1, 2, 3]);
        let boot = GossipIdentity::at_boot(NodeId(4), "h4:1", 2).incarnation;
        let new_life = |gossip: &Gossip| {
            gossip.members().all(|m| m.identity.node != NodeId(4) || m.identity.incarnation >= boot)
        };
        let welcome = |net: &Net| net.all_alive() && net.nodes.values().all(new_life);
        let took = net.run_until(ms(8000), welcome).expect("never welcomed");
        println!("restarted after {outage} ms, welcomed by all 50 within {took:?}");
        assert!(took < ms(3000), "after {outage} ms away it took {took:?}");
    }
}

#[test]
fn nobody_flaps_on_a_lossy_network() {
    let (mut net, _) = Net::grown(20, 21);
    net.loss_percent = 5;
    net.seen.clear();
    net.run(ms(60_000));
    let down: Vec<_> = net.seen.iter().filter(|e| e.3 == Liveness::Down).collect();
    assert!(down.is_empty(), "{down:?}");
    assert!(net.run_until(ms(3000), |net| net.all_alive()).is_some());
    let suspected = net.seen.iter().filter(|e| e.3 == Liveness::Suspect).count();
    println!("5 % loss, 20 nodes, a minute: {suspected} suspicions seen, {} datagrams", net.sent);
}

#[test]
fn a_one_way_cut_between_two_nodes_downs_neither() {
    let (mut net, _) = Net::grown(5, 31);
    net.cut.insert((1, 2));
    net.seen.clear();
    net.run(ms(20_000));
    assert!(net.seen.iter().all(|e| e.3 != Liveness::Down), "{:?}", net.seen);
}

#[test]
fn a_node_that_stood_still_blames_nobody_and_comes_back() {
    for pause in [1000, 5000] {
        let (mut net, _) = Net::grown(7, 41);
        net.run(ms(1000));
        net.paused.insert(3);
        net.run(ms(pause));
        net.seen.clear();
        net.paused.remove(&3);
        let took = net.run_until(ms(6000), |net| net.all_alive()).expect("it did not come back");
        assert!(took < ms(3000), "{took:?} after a pause of {pause} ms");
        net.run(ms(3000));
        let wronged: Vec<_> = net.seen.iter().filter(|e| e.2 != NodeId(3) && e.3 == Liveness::Down).collect();
        assert!(wronged.is_empty(), "{wronged:?}");
    }
}

#[test]
fn two_halves_find_each_other_after_a_partition() {
    let (mut net, _) = Net::grown(10, 51);
    for (a, b) in (1..=5).flat_map(|a| (6..=10).map(move |b| (a, b))) {
        net.cut.extend([(a, b), (b, a)]);
    }
    net.run(ms(8000));
    for gossip in net.nodes.values() {
        let down = gossip.members().filter(|m| m.liveness == Liveness::Down).count();
        assert_eq!(down, 5, "{:?} sees {down} down", gossip.identity());
    }
    net.cut.clear();
    let took = net.run_until(ms(10_000), |net| net.all_alive()).expect("the halves stay apart");
    println!("healed after {took:?}");
    assert!(took < ms(6000));
}

#[test]
fn one_who_says_goodbye_is_down_at_once() {
    let (mut net, _) = Net::grown(20, 61);
    net.run(ms(1000));
    let now = net.now;
    let output = net.nodes.get_mut(&9).unwrap().leave(now);
    net.deliver(9, output);
    net.nodes.remove(&9);
    let took =
        net.run_until(ms(3000), |net| net.everybody_holds(9, Liveness::Down)).expect("missed the goodbye");
    assert!(took < ms(1200), "{took:?}");
}

#[test]
fn one_seed_is_one_run() {
    let run = || {
        let (mut net, took) = Net::grown(12, 71);
        net.loss_percent = 10;
        net.nodes.remove(&5);
        net.run(ms(5000));
        (took, net.trace, net.sent)
    };
    assert_eq!(run(), run());
}

#[test]
fn strangers_and_damage_are_refused() {
    let (mut net, _) = Net::grown(3, 81);
    let now = net.now;
    let mut foreign =
        Gossip::new(GossipConfig::default(), CLUSTER + 1, GossipIdentity::at_boot(NodeId(2), "h2:1", 9), 1);
    foreign.set_peers([(NodeId(1), "h1:1".to_owned())]);
    let datagram = foreign.tick(now).datagrams.remove(0);
    let one = net.nodes.get_mut(&1).unwrap();
    assert_eq!(one.handle(now, &datagram.bytes), Err(GossipError::ForeignCluster(CLUSTER + 1)));

    let two = net.nodes.get_mut(&2).unwrap();
    let good = two.publish(now, Hints { epoch: Epoch(3), load: 1 }).datagrams.remove(0).bytes;
    let three = net.nodes.get_mut(&3).unwrap();
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        assert!(three.handle(now, &bad).is_err(), "byte {at}");
        assert!(three.handle(now, &good[..at]).is_err(), "cut at {at}");
    }
    let later = [&good[..2], &[2], &good[3..]].concat();
    assert_eq!(three.handle(now, &later), Err(GossipError::Version(2)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Past the checksum: whatever an insider sends, nothing panics and this node thinks well of itself.
    #[test]
    fn no_payload_makes_it_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..6)) {
        let mut gossip = Gossip::new(GossipConfig::default(), CLUSTER, GossipIdentity::at_boot(NodeId(1), "h1:1", 1), 1);
        for (at, payload) in payloads.iter().enumerate() {
            let sum = xxhash_rust::xxh3::xxh3_64_with_seed(payload, CLUSTER) as u32;
            let datagram = [b"TG\x01", &CLUSTER.to_be_bytes()[..], &sum.to_be_bytes(), payload].concat();
            let _ = gossip.handle(ms(at as u64 * 50), &datagram);
            gossip.tick(ms(at as u64 * 50 + 20));
        }
        prop_assert_eq!(gossip.liveness(NodeId(1)), Some(Liveness::Alive));
    }

    /// The same, with the bytes of real messages as a start.
    #[test]
    fn no_mutation_of_a_real_message_makes_it_panic(
        seed in 0u64..20, at in any::<prop::sample::Index>(), value: u8, cut in any::<prop::sample::Index>(),
    ) {
        let mut net = Net::new(seed);
        for id in 1..=4 {
            net.start(id, &[1]);
        }
        net.run(ms(400 + seed * 7));
        let Some(((when, order), (to, mut bytes))) = net.queue.pop_first() else { return Ok(()) };
        let body = 15 + at.index(bytes.len() - 15);
        bytes[body] = value;
        bytes.truncate(15 + 1 + cut.index(bytes.len() - 15));
        let sum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[15..], CLUSTER) as u32;
        bytes[11..15].copy_from_slice(&sum.to_be_bytes());
        net.queue.insert((when, order), (to, bytes));
        net.tampered = true;
        net.run(ms(600));
    }
}
