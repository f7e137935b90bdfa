//! The log stays short whatever its groups do.

use crate::world::{Settings, World};
use std::collections::BTreeSet;
use torc_cluster::{GroupId, NodeId};
use torc_replica::store::Limits;

const BUSY: GroupId = GroupId(16);
const SLOW: std::ops::Range<u64> = 17..41;
const SEGMENTS: usize = 4;

/// One group that writes all the time beside many that write seldom. Returns the most segments that any log had.
fn run(world: &mut World, rounds: u64) -> u64 {
    let mut most = 0;
    for round in 0..rounds {
        for group in [BUSY.0, SLOW.start + round % (SLOW.end - SLOW.start)].map(GroupId) {
            for key in 0..2 {
                if let Some(leader) = world.lease_holder(group)
                    && (group == BUSY || key == 0)
                {
                    world.append(leader, group, key);
                }
            }
        }
        world.run(10);
        let running = world.nodes.values().filter_map(|n| n.running.as_ref());
        most = most.max(running.map(|r| r.engine.log().metrics().segments).max().unwrap_or(0));
    }
    most
}

fn world(seed: u64, log_segments: usize) -> World {
    let limits = Limits { log_segments, ..Limits::default() };
    let settings =
        Settings { limits, segment_bytes: 256 << 10, memtable_bytes: 64 << 10, ..Settings::default() };
    let mut world = World::new(seed, settings);
    for group in [BUSY.0].into_iter().chain(SLOW) {
        world.create(GroupId(group), &[1, 2, 3]);
    }
    world.run(1_500);
    world
}

fn entries_moved(world: &World) -> u64 {
    world.nodes.values().filter_map(|n| n.running.as_ref()).map(|r| r.store.metrics().entries_moved).sum()
}

/// What holds old segments, for failures.
fn pinned(world: &World) -> String {
    let mut out = String::new();
    for (id, node) in &world.nodes {
        let Some(running) = &node.running else { continue };
        let log = running.engine.log();
        for stream in log.pinned_by(SEGMENTS) {
            let info = log.stream(stream).unwrap_or_default();
            out += &format!(
                "\n{id}: {stream} from {} to {}, {} bytes",
                info.first,
                info.last,
                log.held_bytes(stream)
            );
        }
    }
    out
}

#[test]
fn groups_that_write_seldom_do_not_make_the_log_long() {
    let mut without_bound = world(41, usize::MAX / 2);
    let most = run(&mut without_bound, 800);
    assert!(most > 3 * SEGMENTS as u64, "a log of {most} segments proves nothing");
    let mut world = world(41, SEGMENTS);
    let most = run(&mut world, 800);
    assert!(most <= 3 * SEGMENTS as u64, "a log grew to {most} segments: {}", pinned(&world));
    world.run(500);
    world.verify();
    assert!(world.violations.is_empty(), "{:#?}", world.violations);
}

#[test]
fn entries_that_an_absent_follower_needs_are_moved() {
    let mut world = world(42, SEGMENTS);
    world.crash(NodeId(3));
    let most = run(&mut world, 600);
    assert!(most <= 3 * SEGMENTS as u64, "a log grew to {most} segments: {}", pinned(&world));
    assert!(entries_moved(&world) > 0, "nothing was appended anew");
    // What was moved is still there after a power cut, and it is the same.
    for id in [1, 2] {
        world.crash(NodeId(id));
    }
    for id in [1, 2, 3] {
        world.start(NodeId(id));
    }
    let groups: BTreeSet<GroupId> = [BUSY.0].into_iter().chain(SLOW).map(GroupId).collect();
    assert!(world.run_until(20_000, |w| groups.iter().all(|g| w.converged(*g))));
    world.verify();
    assert!(world.violations.is_empty(), "{:#?}", world.violations);
}
