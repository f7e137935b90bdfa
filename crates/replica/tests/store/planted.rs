//! Plants bugs and checks that the random runs detect them.

use crate::random::run;
use crate::world::{Settings, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use torc_cluster::{GroupId, NodeId};
use torc_replica::store::{Input, PlantedBugs};

fn check(name: &str, planted: PlantedBugs) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..60).find(|seed| {
        // An assertion of the consensus crate's own is as good a witness as a violation.
        catch_unwind(AssertUnwindSafe(|| run(*seed, planted, 15_000)))
            .map_or(true, |w| !w.violations.is_empty())
    });
    std::panic::set_hook(hook);
    assert!(caught.is_some(), "{name} was not noticed");
    println!("{name}: caught by seed {caught:?}");
}

#[test]
fn planted_bugs_are_noticed() {
    check("ack_before_quorum", PlantedBugs { ack_before_quorum: true, ..Default::default() });
    check("ack_before_persist", PlantedBugs { ack_before_persist: true, ..Default::default() });
    check("lease_without_support", PlantedBugs { lease_without_support: true, ..Default::default() });
    check("break_promises", PlantedBugs { break_promises: true, ..Default::default() });
}

/// A voter elects one candidate, restarts, and is asked by another in the same term.
#[test]
fn a_forgotten_vote_is_noticed() {
    for forget_votes in [false, true] {
        let group = GroupId(16);
        let (one, two, three) = (NodeId(1), NodeId(2), NodeId(3));
        let planted = PlantedBugs { forget_votes, ..Default::default() };
        let mut world = World::new(1, Settings { planted, ..Settings::default() });
        world.cuts.extend([(one, two), (two, one)]);
        world.create(group, &[1, 2, 3]);
        let leads = |w: &World, id| w.view(id, group).is_some_and(|v| v.is_leader());
        assert!(
            world.run_until(200, |w| w.view(three, group).is_some_and(|v| v.term() == 6)),
            "the third votes"
        );
        // Nothing more reaches the third: its log stays level with the second's.
        world.cuts.insert((one, three));
        assert!(world.run_until(100, |w| leads(w, one)), "and its vote arrives");
        world.cuts.insert((three, one));
        world.crash(three);
        world.start(three);
        let leads = |world: &World, node| world.view(node, group).is_some_and(|v| v.is_leader());
        // The second asks again and again, so that it is asking when the third may vote again.
        for _ in 0..60 {
            if !leads(&world, two) && !leads(&world, three) {
                world.push(two, Input::Campaign { group });
                world.turn(two);
            }
            world.run(20);
        }
        world.run(4_000);
        assert!(leads(&world, two) || leads(&world, three), "the other two go on");
        assert_eq!(!world.violations.is_empty(), forget_votes, "{:?}", world.violations);
    }
}
