//! One seed gives one history: everything that a run does is the same the second time, down to the bytes of
//! every frame.

use torc_sim::scenario::{Plan, run};

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut traces = Vec::new();
    for seed in [3, 14, 159, 2653, 58_979] {
        let first = run(Plan::full(seed)).unwrap_or_else(|e| panic!("{e:#}"));
        let second = run(Plan::full(seed)).unwrap_or_else(|e| panic!("{e:#}"));
        assert!(first.events > 1_000 && first.operations > 100, "seed {seed} did next to nothing: {first:?}");
        assert_eq!(first.events, second.events, "seed {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}: the same number of events, but others");
        assert_eq!(first, second, "seed {seed}");
        traces.push(first.trace);
    }
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), 5, "different seeds give different histories");
}

#[test]
fn threads_do_not_touch_each_others_worlds() {
    let alone = run(Plan::full(7)).unwrap_or_else(|e| panic!("{e:#}"));
    let traces = std::thread::scope(|scope| {
        let threads = [7, 8, 7].map(|seed| scope.spawn(move || run(Plan::full(seed)).map(|r| r.trace)));
        threads.map(|thread| {
            thread.join().map_err(|_| "panicked").map(|r| r.unwrap_or_else(|e| panic!("{e:#}")))
        })
    });
    assert_eq!(traces[0], Ok(alone.trace));
    assert_eq!(traces[2], Ok(alone.trace));
    assert_ne!(traces[1], Ok(alone.trace));
}
