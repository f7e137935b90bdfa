//! Proof that the oracles detect errors. Each bug is planted in every node and must be found within a few
//! seeds of a suitable fault mix, by an oracle that should find it. The same seeds pass without the bug.

use std::time::Duration;
use torc_engine::log::LogFaults;
use torc_replica::store::PlantedBugs;
use torc_sim::scenario::faults::Faults;
use torc_sim::scenario::{Plan, run};
use torc_sim::world::Planted;

struct Case {
    /// Names of faults.
    faults: &'static [&'static str],
    planted: Planted,
    /// The bug must show within so many seeds.
    seeds: u64,
    /// How the findings may begin (a part of the message).
    found_by: &'static [&'static str],
}

impl Case {
    fn plan(&self, seed: u64) -> Plan {
        let faults = Faults::named(self.faults.iter().copied()).expect("known names");
        Plan { faults, work: Duration::from_secs(8), ..Plan::full(seed) }
    }

    fn check(&self) {
        let mut others = Vec::new();
        for seed in 1..=self.seeds {
            let sound = run(self.plan(seed));
            assert!(sound.is_ok(), "without the bug seed {seed} must pass: {:#}", sound.unwrap_err());
            let Err(error) = run(Plan { planted: self.planted, ..self.plan(seed) }) else { continue };
            let text = format!("{error:#}");
            if self.found_by.iter().any(|oracle| text.contains(oracle)) {
                println!("seed {seed}: {}", text.lines().next().unwrap_or_default());
                return;
            }
            others.push(text);
        }
        panic!("not found in {} seeds by {:?}; other failures: {others:?}", self.seeds, self.found_by);
    }
}

fn node(planted: PlantedBugs) -> Planted {
    Planted { node: planted, log: LogFaults::default() }
}

#[test]
fn an_fsync_is_skipped() {
    let log = LogFaults { skip_sync: true, ..LogFaults::default() };
    Case {
        faults: &["crash", "power", "blackout"],
        planted: Planted { log, node: PlantedBugs::default() },
        seeds: 5,
        // The log itself may notice at the next start that a part of it is missing, and refuse.
        found_by: &["not linearizable", "not causal", "consensus", "corrupt "],
    }
    .check();
}

#[test]
fn a_write_is_acknowledged_before_a_quorum_has_it() {
    Case {
        faults: &["crash", "power", "partition"],
        planted: node(PlantedBugs { ack_before_quorum: true, ..PlantedBugs::default() }),
        seeds: 10,
        found_by: &["not linearizable"],
    }
    .check();
}

#[test]
fn a_follower_acknowledges_before_it_is_durable() {
    Case {
        faults: &["crash", "power", "blackout", "disk"],
        planted: node(PlantedBugs { ack_before_persist: true, ..PlantedBugs::default() }),
        seeds: 10,
        found_by: &["not linearizable", "consensus", "replicas"],
    }
    .check();
}

#[test]
fn a_read_is_served_without_lease_or_quorum() {
    Case {
        faults: &["partition"],
        planted: node(PlantedBugs { lease_without_support: true, ..PlantedBugs::default() }),
        seeds: 5,
        found_by: &["lease", "not linearizable"],
    }
    .check();
}

#[test]
fn a_vote_is_forgotten() {
    Case {
        faults: &["crash", "partition", "weather"],
        planted: node(PlantedBugs { forget_votes: true, break_promises: true, ..PlantedBugs::default() }),
        seeds: 80,
        found_by: &["consensus", "not linearizable"],
    }
    .check();
}

#[test]
fn a_promise_is_broken() {
    Case {
        faults: &["crash", "partition", "clock"],
        planted: node(PlantedBugs { break_promises: true, ..PlantedBugs::default() }),
        seeds: 20,
        found_by: &["lease", "not linearizable"],
    }
    .check();
}

#[test]
fn a_sibling_is_dropped() {
    Case {
        faults: &[],
        planted: node(PlantedBugs { forget_siblings: true, ..PlantedBugs::default() }),
        seeds: 3,
        found_by: &["not causal"],
    }
    .check();
}

#[test]
fn a_watermark_is_ignored() {
    Case {
        faults: &["crash", "partition", "weather", "disk"],
        planted: node(PlantedBugs { forget_watermarks: true, ..PlantedBugs::default() }),
        seeds: 15,
        found_by: &["index"],
    }
    .check();
}
