//! Single scenarios, one test each.

use crate::machine::{self, Command};
use crate::world::{Settings, World};
use rand::Rng as _;
use torc_cluster::{GroupId, NodeId};
use torc_replica::store::{Event, Input, Limits, ProposeError, Timing};

const G: GroupId = GroupId(16);
const H: GroupId = GroupId(17);

fn n(id: u64) -> NodeId {
    NodeId(id)
}

fn ok(world: &mut World) {
    world.check_replicas();
    assert!(world.violations.is_empty(), "{:#?}", world.violations);
}

/// A cluster with one group on nodes 1, 2, 3 and a lease holder.
fn cluster(seed: u64, settings: Settings) -> World {
    let mut world = World::new(seed, settings);
    world.create(G, &[1, 2, 3]);
    assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some()), "somebody leads");
    world
}

/// Appends through whoever leads until it works; fails after `ms`.
fn append_within(world: &mut World, group: GroupId, ms: u64) -> u64 {
    let begin = world.now;
    while world.now < begin + ms {
        if let Some(leader) = world.leader(group)
            && world.nodes[&leader].running.is_some()
        {
            let op = world.append(leader, group, 0);
            world.run_until(100, |w| w.succeeded(op) || w.outcome(op).failed);
            if world.succeeded(op) {
                return world.now - begin;
            }
        } else {
            world.run(1);
        }
    }
    panic!("no append succeeded within {ms} ms");
}

#[test]
fn one_replica_works_alone() {
    let mut world = World::new(1, Settings { nodes: 1, ..Settings::default() });
    world.create(G, &[1]);
    assert!(world.run_until(100, |w| w.lease_holder(G).is_some()));
    let ops: Vec<usize> = (0..10).map(|_| world.append(n(1), G, 0)).collect();
    world.run(50);
    assert!(ops.iter().all(|op| world.succeeded(*op)));
    assert!(world.lease_read(n(1), G, 0));
    world.crash(n(1));
    world.start(n(1));
    assert!(world.run_until(200, |w| w.lease_holder(G).is_some()), "no promise has to be waited out");
    assert!(world.lease_read(n(1), G, 0));
    assert_eq!(world.history.operations.last().unwrap().done.as_ref().unwrap().1.len(), 10);
    world.verify();
    ok(&mut world);
}

#[test]
fn commands_see_the_pending_writes_before_them() {
    let mut world = cluster(2, Settings { sync_ms: (20, 20), ..Settings::default() });
    let leader = world.lease_holder(G).unwrap();
    // None of these is applied when the next is evaluated.
    let ops: Vec<usize> = (0..5).map(|len| world.append_if(leader, G, 3, len)).collect();
    let refused = world.append_if(leader, G, 3, 4);
    let read = world.command(leader, G, 3, Command::Read);
    world.run(5);
    assert!(world.outcome(refused).done.is_none(), "an answer waits for the writes that it depends on");
    world.run(500);
    assert!(ops.iter().all(|op| world.succeeded(*op)));
    assert!(world.outcome(refused).failed);
    assert_eq!(world.outcome(read).done.as_ref().unwrap().1.len(), 5);
    world.verify();
    ok(&mut world);
}

#[test]
fn a_follower_names_the_leader() {
    let mut world = cluster(3, Settings::default());
    world.run(300);
    let leader = world.lease_holder(G).unwrap();
    for follower in [n(1), n(2), n(3)].into_iter().filter(|f| *f != leader) {
        assert_eq!(world.view(follower, G).unwrap().leader(), Some(leader));
        let op = world.append(follower, G, 0);
        world.run(1);
        assert!(world.outcome(op).failed);
        assert!(!world.lease_read(follower, G, 0));
    }
}

#[test]
fn a_killed_leader_is_replaced_within_two_seconds() {
    for seed in 0..20 {
        let mut world = cluster(100 + seed, Settings::default());
        append_within(&mut world, G, 100);
        let pause = world.rng.random_range(0..500);
        world.run(pause);
        let leader = world.lease_holder(G).unwrap();
        world.crash(leader);
        let took = append_within(&mut world, G, 2_000);
        assert!(took < 2_000, "seed {seed}: {took} ms");
        world.start(leader);
        assert!(world.run_until(10_000, |w| w.converged(G)), "seed {seed}");
        world.verify();
        ok(&mut world);
    }
}

#[test]
fn everybody_killed_at_once_comes_back_with_everything() {
    let mut world = cluster(5, Settings::default());
    for _ in 0..20 {
        append_within(&mut world, G, 1_000);
    }
    for id in 1..=3 {
        world.crash(n(id));
    }
    for id in 1..=3 {
        world.start(n(id));
    }
    assert!(world.run_until(3_000, |w| w.lease_holder(G).is_some()));
    append_within(&mut world, G, 1_000);
    assert!(world.run_until(5_000, |w| w.converged(G)));
    world.verify();
    ok(&mut world);
}

#[test]
fn idle_groups_are_silent_and_keep_their_lease() {
    let mut world = cluster(6, Settings::default());
    for group in 20..60 {
        world.create(GroupId(group), &[1, 2, 3]);
    }
    append_within(&mut world, G, 1_000);
    world.run(5_000);
    let (messages, frames) = (world.messages_sent.clone(), world.frames_sent);
    for _ in 0..50 {
        world.run(100);
        for group in world.plans.keys() {
            assert!(world.lease_holder(*group).is_some(), "{group} has no lease at {}", world.now);
        }
    }
    assert_eq!(world.messages_sent, messages, "idle groups sent messages");
    // Six directions, five times a second, request and answer.
    assert!(world.frames_sent - frames <= 6 * 5 * 2 * 6, "{} frames", world.frames_sent - frames);
    append_within(&mut world, G, 100);
    ok(&mut world);
}

#[test]
fn a_cut_off_leader_stops_believing_before_anybody_else_leads() {
    for seed in 0..20 {
        let mut world = cluster(200 + seed, Settings { drift_permille: 40, ..Settings::default() });
        append_within(&mut world, G, 1_000);
        let old = world.lease_holder(G).unwrap();
        world.isolate(old);
        let read_by_lease = world.lease_read(old, G, 0);
        assert!(read_by_lease);
        let lost = world.append(old, G, 0);
        assert!(
            world.run_until(3_000, |w| w.lease_holder(G).is_some_and(|l| l != old)),
            "seed {seed}: a new leader"
        );
        assert!(!world.lease_read(old, G, 0));
        let new = world.lease_holder(G).unwrap();
        let op = world.append(new, G, 0);
        world.run(100);
        assert!(world.succeeded(op));
        world.run(2_000);
        assert!(world.outcome(lost).done.is_none(), "an append that one of three has is not acknowledged");
        world.cuts.clear();
        assert!(world.run_until(10_000, |w| w.converged(G)));
        world.verify();
        ok(&mut world);
    }
}

#[test]
fn a_stopped_process_does_not_read_under_a_lease_that_is_over() {
    let mut world = cluster(7, Settings::default());
    let old = world.lease_holder(G).unwrap();
    let until = world.now + 3_000;
    world.nodes.get_mut(&old).unwrap().paused_until = until;
    assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some_and(|l| l != old)));
    append_within_other(&mut world, old);
    // It wakes: its view is as it was when it stopped, but its clock went on.
    assert!(!world.lease_read(old, G, 0));
    world.run(4_000);
    assert!(world.run_until(10_000, |w| w.converged(G)));
    world.verify();
    ok(&mut world);
}

fn append_within_other(world: &mut World, not: NodeId) {
    for _ in 0..100 {
        let leader = world.lease_holder(G).filter(|l| *l != not).unwrap();
        let op = world.append(leader, G, 0);
        if world.run_until(100, |w| w.succeeded(op)) {
            return;
        }
    }
    panic!("no append succeeded");
}

#[test]
fn a_stalled_disk_loses_leadership() {
    let mut world = cluster(8, Settings::default());
    let old = world.lease_holder(G).unwrap();
    world.nodes[&old].env.set_stalled(true);
    let begun = world.append(old, G, 0);
    assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some_and(|l| l != old)), "leadership moves");
    append_within_other(&mut world, old);
    world.nodes[&old].env.set_stalled(false);
    world.run(100);
    let _ = begun;
    assert!(world.run_until(10_000, |w| w.converged(G)));
    world.verify();
    ok(&mut world);
}

#[test]
fn shutdown_hands_leadership_over_at_once() {
    let mut world = cluster(9, Settings::default());
    world.run(500);
    let old = world.lease_holder(G).unwrap();
    world.push(old, Input::TransferLeaders);
    assert!(world.run_until(200, |w| w.lease_holder(G).is_some_and(|l| l != old)), "no timeout is involved");
    append_within_other(&mut world, old);
    world.run(1_000);
    ok(&mut world);
}

#[test]
fn leadership_settles_at_the_preferred_replica() {
    let mut world = cluster(10, Settings::default());
    world.create(H, &[3, 1, 2]);
    world.run(5_000);
    assert_eq!(world.lease_holder(G), Some(n(1)));
    assert_eq!(world.lease_holder(H), Some(n(3)));
    world.crash(n(1));
    assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some()));
    world.start(n(1));
    assert!(
        world.run_until(8_000, |w| w.lease_holder(G) == Some(n(1))),
        "it goes back once the node has caught up"
    );
    append_within(&mut world, G, 1_000);
    ok(&mut world);
}

#[test]
fn a_group_grows_from_one_to_three_and_moves() {
    let mut world = World::new(11, Settings { nodes: 4, ..Settings::default() });
    world.create(G, &[1]);
    for _ in 0..10 {
        append_within(&mut world, G, 1_000);
    }
    world.set_members(G, &[1, 2, 3]);
    assert!(
        world.run_until(5_000, |w| w.converged(G)),
        "three members: {:?} {:#?} {:#?}",
        world.view(n(1), G).unwrap().members(),
        world.running(n(1)).store.metrics(),
        world.running(n(2)).store.metrics()
    );
    append_within(&mut world, G, 1_000);
    // The leader itself leaves.
    world.set_members(G, &[2, 3, 4]);
    assert!(world.run_until(10_000, |w| w.converged(G)), "{:?}", world.view(n(2), G).unwrap().members());
    append_within(&mut world, G, 1_000);
    assert!(
        world.run_until(5_000, |w| w.running(n(1)).events.contains(&Event::Removed(G))),
        "the old member learns of it"
    );
    world.push(n(1), Input::DropGroup { group: G, ranges: vec![] });
    world.turn(n(1));
    assert!(machine::contents(&world.running(n(1)).engine, G).is_empty());
    assert!(world.running(n(1)).store.stored_groups().is_empty());
    // It comes back: never as a newborn, always filled by the leader.
    world.run(100);
    world.crash(n(1));
    world.start(n(1));
    world.set_members(G, &[1, 2, 3]);
    assert!(world.run_until(10_000, |w| w.converged(G)));
    append_within(&mut world, G, 2_000);
    world.run(1_000);
    world.verify();
    ok(&mut world);
}

fn small_logs() -> Limits {
    Limits {
        keep_entries: 4,
        truncate_step: 4,
        max_lag_entries: 50,
        hold_absent_ms: 500,
        snapshot_chunk_bytes: 512,
        ..Limits::default()
    }
}

/// Appends to many keys, so that there is something to transfer, and flushes so that logs are cut.
fn fill(world: &mut World, appends: u64) {
    for i in 0..appends {
        let leader = loop {
            match world.lease_holder(G) {
                Some(leader) => break leader,
                None => world.run(1),
            }
        };
        world.append(leader, G, (i % 100) as u8);
        world.run(2);
    }
    world.run(300);
    for id in [1, 2, 3] {
        if world.nodes[&n(id)].running.is_some() {
            world.running(n(id)).engine.flush().unwrap();
        }
    }
    world.run(600);
}

#[test]
fn a_replica_that_fell_behind_is_filled_by_a_snapshot() {
    let mut world = cluster(12, Settings { limits: small_logs(), ..Settings::default() });
    world.run(500);
    let sleeper = n(3);
    world.crash(sleeper);
    fill(&mut world, 300);
    let leader = world.lease_holder(G).unwrap();
    let first = world.running(leader).engine.log().stream(G.0).unwrap().first;
    assert!(first > 200, "the leader's log was cut, its first entry is {first}");
    world.start(sleeper);
    assert!(world.run_until(10_000, |w| w.converged(G)));
    assert_eq!(world.running(sleeper).store.metrics().snapshots_received, 1);
    append_within(&mut world, G, 1_000);
    world.run(300);
    world.verify();
    ok(&mut world);
}

#[test]
fn a_crash_during_a_snapshot_never_leaves_half_the_data() {
    for seed in 0..12 {
        let limits = small_logs();
        let mut world = cluster(300 + seed, Settings { limits, drop_permille: 30, ..Settings::default() });
        world.run(500);
        let sleeper = n(3);
        world.crash(sleeper);
        fill(&mut world, 200);
        world.start(sleeper);
        // A crash before the mark of incompleteness is durable leaves what was there before.
        let before = world.view(sleeper, G).unwrap().applied_index();
        for round in 0..4 {
            let received = |w: &World| w.running(sleeper).store.metrics().snapshots_received > 0;
            if !world.run_until(3_000, received) {
                break;
            }
            let more = world.rng.random_range(0..30);
            world.run(more);
            let whole = world.view(sleeper, G).unwrap().is_readable();
            assert!(round > 0 || !whole || world.view(sleeper, G).unwrap().applied_index() > 100);
            world.check_replicas();
            world.crash(sleeper);
            world.run(20);
            world.start(sleeper);
            // What is half filled is not served.
            let view = world.view(sleeper, G).unwrap();
            let applied = view.applied_index();
            assert!(!view.is_readable() || applied > 100 || applied == before);
        }
        assert!(world.run_until(20_000, |w| w.converged(G)), "seed {seed}");
        world.verify();
        ok(&mut world);
    }
}

#[test]
fn a_one_way_cut_does_not_stop_the_group() {
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 2)] {
        let mut world = cluster(13, Settings::default());
        world.run(500);
        world.cuts.insert((n(from), n(to)));
        world.run(3_000);
        let took = append_within(&mut world, G, 3_000);
        assert!(took < 1_000, "{from} to {to} cut: {took} ms");
        world.cuts.clear();
        assert!(world.run_until(10_000, |w| w.converged(G)));
        world.verify();
        ok(&mut world);
    }
}

#[test]
fn two_of_three_down_means_no_writes_and_no_lease_until_one_is_back() {
    let mut world = cluster(14, Settings::default());
    append_within(&mut world, G, 1_000);
    let leader = world.lease_holder(G).unwrap();
    let others: Vec<NodeId> = [1, 2, 3].map(n).into_iter().filter(|o| *o != leader).collect();
    for id in &others {
        world.crash(*id);
    }
    let op = world.append(leader, G, 0);
    let read = world.barrier_read(leader, G, 0);
    world.run(3_000);
    assert!(!world.succeeded(op));
    let _ = read;
    assert_eq!(world.lease_holder(G), None);
    world.start(others[0]);
    append_within(&mut world, G, 3_000);
    world.start(others[1]);
    assert!(world.run_until(10_000, |w| w.converged(G)));
    world.verify();
    ok(&mut world);
}

#[test]
fn reads_without_a_lease_go_through_a_round_of_heartbeats() {
    let mut world = cluster(15, Settings::default());
    append_within(&mut world, G, 1_000);
    let leader = world.lease_holder(G).unwrap();
    let by_lease = world.barrier_read(leader, G, 0);
    world.run(20);
    assert!(world.succeeded(by_lease));
    // The leader tells a successor that can't hear it: no lease in this term any more.
    world.isolate(leader);
    world.push(leader, Input::TransferLeaders);
    world.run(5);
    world.cuts.clear();
    let view = world.view(leader, G).unwrap().clone();
    {
        assert!(view.is_leader(), "it leads on");
        assert!(view.lease_valid(world.clock(leader)).is_none());
        let read = world.barrier_read(leader, G, 0);
        world.run(1_000);
        assert!(world.succeeded(read) || world.outcome(read).failed);
        assert!(world.running(leader).store.metrics().reads_by_round > 0);
    }
    world.crash(leader);
    world.start(leader);
    world.run(3_000);
    world.verify();
    ok(&mut world);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let mut world = cluster(16, Settings::default());
    append_within(&mut world, G, 1_000);
    let leader = world.lease_holder(G).unwrap();
    let used = world.nodes[&leader].env.used();
    world.nodes[&leader].env.set_capacity(Some(used));
    for i in 0..2_000u64 {
        if world.leader(G) == Some(leader) {
            world.append(leader, G, (i % 50) as u8);
        }
        world.run(1);
    }
    world.nodes[&leader].env.set_capacity(None);
    append_within(&mut world, G, 5_000);
    assert!(world.run_until(20_000, |w| w.converged(G)));
    world.verify();
    ok(&mut world);
}

#[test]
fn a_full_disk_answers_every_write_at_once() {
    for nodes in [1, 3] {
        let mut world = World::new(17, Settings { nodes, ..Settings::default() });
        world.create(G, &(1..=nodes).collect::<Vec<_>>());
        assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some()));
        append_within(&mut world, G, 1_000);
        let leader = world.lease_holder(G).unwrap();
        let used = world.nodes[&leader].env.used();
        world.nodes[&leader].env.set_capacity(Some(used));
        let mut refused = 0;
        for i in 0..2_000u64 {
            let write = world.append(leader, G, (i % 50) as u8);
            let read = world.barrier_read(leader, G, 0);
            // A tick is 50 ms apart from the next.
            let answered = |w: &World, op| w.outcome(op).done.is_some() || w.errors.contains_key(&op);
            let both = world.run_until(120, |w| answered(w, write) && answered(w, read));
            assert!(both, "write {i} of {nodes} nodes: {:?}", world.outcome(write));
            refused += usize::from(world.errors.get(&write) == Some(&ProposeError::DiskFull));
            if refused > 3 {
                break;
            }
        }
        assert!(refused > 3, "the disk never became full");
        world.nodes[&leader].env.set_capacity(None);
        append_within(&mut world, G, 5_000);
        assert!(world.run_until(20_000, |w| w.converged(G)));
        world.verify();
        ok(&mut world);
    }
}

#[test]
fn a_late_answer_binds_nobody_to_a_leader_that_has_restarted_without_the_group() {
    let mut world = cluster(31, Settings::default());
    world.run(300);
    let leader = world.lease_holder(G).unwrap();
    let others: Vec<NodeId> = [n(1), n(2), n(3)].into_iter().filter(|f| *f != leader).collect();
    // One follower takes an entry in, and can't answer: its disk hangs.
    world.nodes[&others[0]].env.set_stalled(true);
    world.append(leader, G, 0);
    world.run(20);
    world.crash(leader);
    world.start(leader);
    world.push(leader, Input::DropGroup { group: G, ranges: Vec::new() });
    // By now the follower's store supports the leader's restarted process.
    world.run(450);
    world.nodes[&others[0]].env.set_stalled(false);
    append_within(&mut world, G, 4_000);
    assert!(world.violations.is_empty(), "{:#?}", world.violations);
}

/// Cuts (or mends) the way from each of `from` to each of `to`.
fn cut(world: &mut World, from: &[u64], to: &[u64], cut: bool) {
    for (a, b) in from.iter().flat_map(|a| to.iter().map(|b| (n(*a), n(*b)))) {
        if cut {
            world.cuts.insert((a, b));
        } else {
            world.cuts.remove(&(a, b));
        }
    }
}

/// Runs until a node is a candidate in a new term and its vote requests are on their way.
fn candidate(world: &mut World, id: u64) {
    let term = world.view(n(id), G).unwrap().term();
    assert!(world.run_until(3_000, |w| w.view(n(id), G).unwrap().term() > term), "{id} asks for votes");
    // They leave once the new term is durable.
    world.run(2);
}

/// An entry of node 1 is only in the logs of 1 and 2. Node 1's copy is overwritten in the next term, and node 1 is elected again. Its
/// log no longer holds the entry, but node 2's does, and node 2 wins after it. "Not the leader" would make the caller write twice.
#[test]
fn an_entry_overwritten_on_its_proposer_may_still_win() {
    let timing = Timing { ambiguous_ms: 60_000, ..Timing::default() };
    let (delay_ms, sync_ms) = ((0, 0), (0, 0));
    let mut world = World::new(
        31,
        Settings { nodes: 5, drift_permille: 0, delay_ms, sync_ms, timing, ..Settings::default() },
    );
    let all = [1, 2, 3, 4, 5];
    world.create(G, &all);
    assert!(world.run_until(5_000, |w| w.lease_holder(G) == Some(n(1))));
    world.run(2_000);

    // The entry reaches node 2 and nobody else. Then node 2 is alone.
    cut(&mut world, &[1, 2], &[3, 4, 5], true);
    cut(&mut world, &[3, 4, 5], &[1, 2], true);
    cut(&mut world, &[4], &[5], true);
    cut(&mut world, &[5], &[4], true);
    let op = world.append(n(1), G, 0);
    world.run(50);
    cut(&mut world, &[1], &[2], true);
    cut(&mut world, &[2], &[1], true);

    // Node 3 is elected by 4 and 5. Only node 1 hears of its term's first entry.
    candidate(&mut world, 3);
    cut(&mut world, &[3], &[4, 5], true);
    assert!(world.run_until(10, |w| w.view(n(3), G).unwrap().is_leader()));
    cut(&mut world, &[3], &[1], false);
    cut(&mut world, &[1], &[3], false);
    let term = world.view(n(3), G).unwrap().term();
    assert!(world.run_until(300, |w| w.view(n(1), G).unwrap().leader() == Some(n(3))));
    world.run(5);

    // Node 3 hands its leadership to node 1, which 4 and 5 elect. Nobody hears of this term's first entry.
    cut(&mut world, &[1], &[4, 5], false);
    cut(&mut world, &[4, 5], &[1], false);
    world.push(n(3), Input::TransferLeaders);
    candidate(&mut world, 1);
    cut(&mut world, &[1], &all, true);
    assert!(world.run_until(10, |w| w.view(n(1), G).unwrap().is_leader()));
    assert_eq!(world.view(n(1), G).unwrap().term(), term + 1);
    cut(&mut world, &all, &[1, 3], true);
    cut(&mut world, &[3], &all, true);

    // Of 2, 4 and 5 only node 2 has a log that can win.
    cut(&mut world, &[2], &[4, 5], false);
    cut(&mut world, &[4, 5], &[2], false);
    assert!(world.run_until(5_000, |w| w.lease_holder(G) == Some(n(2))));
    world.cuts.clear();
    assert!(world.run_until(10_000, |w| w.converged(G)));
    assert!(world.succeeded(op), "its proposer learns that the entry was applied: {:?}", world.outcome(op));
    world.verify();
    ok(&mut world);
}

/// A process that was stopped takes in what its disk finished meanwhile before it judges the disk by the clock.
#[test]
fn a_stopped_process_does_not_take_its_disk_for_dead() {
    let mut world = cluster(32, Settings { sync_ms: (5, 5), ..Settings::default() });
    world.run(1_000);
    let leader = world.lease_holder(G).unwrap();
    world.append(leader, G, 0);
    // The sync ends while the process is stopped. For the process the clock jumps by more than a stall takes.
    world.run(2);
    world.nodes.get_mut(&leader).unwrap().paused_until = world.now + 700;
    world.run(1_000);
    assert_eq!(world.running(leader).store.metrics().stalls, 0);
    world.verify();
    ok(&mut world);
}

/// A leader sends a snapshot, restarts, and sends another: both are its first transfer of a life. A chunk of the first that arrives
/// late must not become part of the second.
#[test]
fn a_chunk_of_an_earlier_life_does_not_enter_a_new_transfer() {
    let (delay_ms, sync_ms, limits) = ((0, 0), (0, 0), small_logs());
    let mut world =
        World::new(33, Settings { drift_permille: 0, delay_ms, sync_ms, limits, ..Settings::default() });
    world.create(G, &[1, 2, 3]);
    assert!(world.run_until(5_000, |w| w.lease_holder(G) == Some(n(1))));
    world.crash(n(3));
    fill(&mut world, 300);

    // Only node 1 can fill node 3, and its chunks of this life are held up.
    cut(&mut world, &[2], &[3], true);
    cut(&mut world, &[3], &[2], true);
    world.start(n(3));
    let mut old = Vec::new();
    for _ in 0..3_000 {
        world.run(1);
        old = world.take_chunks();
        if !old.is_empty() {
            break;
        }
    }
    assert!(!old.is_empty(), "a snapshot is on its way");
    cut(&mut world, &[1], &[3], true);
    cut(&mut world, &[3], &[1], true);
    world.crash(n(1));
    world.start(n(1));
    assert!(world.run_until(20_000, |w| w.lease_holder(G) == Some(n(1))));
    fill(&mut world, 100);

    cut(&mut world, &[1], &[3], false);
    cut(&mut world, &[3], &[1], false);
    let received = world.running(n(3)).store.metrics().snapshots_received;
    for _ in 0..5_000 {
        if world.running(n(3)).store.metrics().snapshots_received > received {
            world.inject(old[0].clone());
        }
        world.run(1);
        if world.converged(G) {
            break;
        }
    }
    world.cuts.clear();
    assert!(world.run_until(20_000, |w| w.converged(G)));
    world.verify();
    ok(&mut world);
}

/// 300 ms each way: promises reach the leader shortly before they end, so they are asked for more often, and the lease holds.
#[test]
fn a_lease_holds_over_slow_links() {
    let mut world = World::new(34, Settings { delay_ms: (295, 305), ..Settings::default() });
    world.create(G, &[1, 2, 3]);
    world.run(5_000);
    let leader = world.lease_holder(G).unwrap();
    let term = world.view(leader, G).unwrap().term();
    let mut without = 0;
    for i in 0..10_000 {
        if i % 1_000 == 0 {
            world.append(leader, G, 0);
        }
        world.run(1);
        without += u64::from(world.lease_holder(G) != Some(leader));
    }
    assert_eq!(world.view(leader, G).unwrap().term(), term, "nobody campaigned");
    assert_eq!(without, 0, "milliseconds without a lease");
    world.run(2_000);
    world.verify();
    ok(&mut world);
}

/// Visits of groups by the clock, and views published, on all nodes.
fn visits(world: &World) -> (u64, u64) {
    let running = world.nodes.values().filter_map(|node| node.running.as_ref());
    let metrics = running.map(|r| r.store.metrics()).map(|m| (m.groups_visited, m.groups_published));
    metrics.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn idle_groups_cost_nothing() {
    const GROUPS: u64 = 60;
    let mut world = World::new(61, Settings::default());
    for group in 0..GROUPS {
        world.create(GroupId(16 + group), &[1 + group % 3, 1 + (group + 1) % 3, 1 + (group + 2) % 3]);
    }
    let all_led = |w: &World| (0..GROUPS).all(|g| w.lease_holder(GroupId(16 + g)).is_some());
    assert!(world.run_until(5_000, all_led));
    world.run(5_000);
    let before = visits(&world);
    world.run(3_000);
    let (by_clock, published) = visits(&world);
    let idle = by_clock + published - before.0 - before.1;
    assert!(idle < GROUPS / 2, "{idle} visits in three seconds in which nothing happened");
    assert!(all_led(&world), "the leases hold although nobody looks at them");
    // One busy group is no reason to look at the others.
    let before = visits(&world);
    for _ in 0..100 {
        append_within(&mut world, G, 1_000);
    }
    let busy = visits(&world).0 - before.0;
    assert!(busy < 600, "the clock made {busy} visits while one group was busy");
    // And when a node dies, all that it led is led again.
    world.crash(n(1));
    let led_again =
        |w: &World| (0..GROUPS).all(|g| w.lease_holder(GroupId(16 + g)).is_some_and(|leader| leader != n(1)));
    assert!(world.run_until(2_000, led_again), "every group is led again within two seconds");
    ok(&mut world);
}
