//! Network partitions that once left a group unable to continue.

use crate::world::{Settings, World};
use torc_cluster::{GroupId, NodeId};

const G: GroupId = GroupId(16);
const H: GroupId = GroupId(17);

fn n(id: u64) -> NodeId {
    NodeId(id)
}

/// The follower hears everything, nobody hears the follower: its promise goes on while the leader counts it
/// as absent and falls silent without it, commits that it has not been told of included.
#[test]
fn a_follower_that_only_could_not_answer_is_caught_up() {
    for cut_ms in [600, 1_000, 3_000] {
        let mut world = World::new(21, Settings::default());
        world.create(G, &[1, 2, 3]);
        assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some()));
        world.run(500);
        let leader = world.lease_holder(G).unwrap();
        let mute = [n(1), n(2), n(3)].into_iter().find(|id| *id != leader).unwrap();
        for other in [n(1), n(2), n(3)] {
            world.cuts.insert((mute, other));
        }
        for _ in 0..10 {
            let op = world.append(leader, G, 0);
            assert!(world.run_until(200, |w| w.succeeded(op)), "a majority is left");
        }
        world.run(cut_ms);
        world.cuts.clear();
        assert!(world.run_until(5_000, |w| w.converged(G)), "cut for {cut_ms} ms");
        world.verify();
    }
}

/// New members are alive, but nothing has reached them yet: they must stay learners, or the group has voters
/// that cannot vote.
#[test]
fn empty_learners_do_not_become_voters_however_short_the_log_is() {
    let mut world = World::new(22, Settings::default());
    world.create(H, &[1, 2, 3]);
    world.create(G, &[1]);
    assert!(world.run_until(2_000, |w| w.lease_holder(G).is_some() && w.lease_holder(H).is_some()));
    world.run(500);
    // Their promises hold for a while.
    world.cuts.extend([(n(1), n(2)), (n(1), n(3))]);
    world.set_members(G, &[1, 2, 3]);
    world.run(3_000);
    let view = world.view(n(1), G).unwrap();
    assert!(
        view.lease_valid(world.clock(n(1))).is_some(),
        "its one voter needs nobody: {view:?} {:#?}",
        world.running(n(1)).store.metrics()
    );
    world.cuts.clear();
    assert!(world.run_until(10_000, |w| w.converged(G)));
    world.verify();
}
