//! Deliberate bugs must be noticed by the checks of the random runs.

use crate::random::run;
use std::panic::{AssertUnwindSafe, catch_unwind};
use torc_replica::store::PlantedBugs;

fn check(name: &str, planted: PlantedBugs) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..60).find(|seed| {
        // An assertion of the consensus crate's own is as good a witness as a violation.
        catch_unwind(AssertUnwindSafe(|| run(*seed, planted, 15_000))).map_or(true, |w| !w.violations.is_empty())
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
