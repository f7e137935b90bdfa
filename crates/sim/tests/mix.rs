//! A part of the full fault mix, small enough for every test run, and a check that it reaches the states it
//! should. The long run is `cargo xtask sim --seeds 2000 --budget 900`.

use torc_sim::scenario::{Plan, dropping, moving, run};
use torc_sim::world::watch::Coverage;

const SEEDS: u64 = 60;

#[test]
fn sixty_seeds_of_everything() {
    let mut coverage = Coverage::new();
    let (mut operations, mut answered) = (0, 0);
    for seed in 1..=SEEDS {
        let report = run(Plan::full(seed))
            .unwrap_or_else(|e| panic!("{e:#}\n  replay: cargo xtask sim --seed {seed} --seeds 1"));
        operations += report.operations;
        answered += report.answered;
        for (what, times) in report.coverage {
            *coverage.entry(what).or_default() += times;
        }
    }
    // Far below what the seeds give today: a fault that strikes no more, or a path that is never taken, shows as a fraction of its number.
    for (what, least) in [
        ("crashes", 100),
        ("power cuts", 60),
        ("shutdowns", 10),
        ("joins", 20),
        ("elections", 300),
        ("entries applied", 20_000),
        ("membership changes", 200),
        ("moves asked for", 10),
        ("snapshots installed", 40),
        ("log truncations", 200),
        ("log segments recycled", 100),
        ("flushes", 100),
        ("compactions", 10),
        ("index looks", 5_000),
        ("index changes delivered", 1_000),
        ("indexes made online", 20),
        ("indexes taken away", 20),
        ("fault isolation", 50),
        ("fault storm", 20),
        ("fault disk stall", 20),
        ("fault failed sync", 20),
        ("fault clock jump", 20),
    ] {
        let reached = coverage.get(what).copied().unwrap_or(0);
        assert!(reached >= least, "{what}: {reached} times, at least {least} expected; all: {coverage:?}");
    }
    assert!(answered * 10 > operations * 5, "most operations must get an answer: {answered} of {operations}");
}

#[test]
fn a_leader_killed_while_its_partition_moves_away_still_hands_it_over() {
    for seed in 1..=5 {
        moving::killed_while_it_is_moved_away(seed).unwrap_or_else(|e| panic!("{e:#}"));
    }
}

#[test]
fn a_dropped_bucket_leaves_nothing_on_nodes_that_run_on() {
    dropping::a_dropped_bucket_leaves_nothing(1).unwrap_or_else(|e| panic!("{e:#}"));
}
