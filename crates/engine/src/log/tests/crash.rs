//! Crash exploration. A random workload runs on the simulated disk, and an image is kept after every
//! operation that changes the disk. Each image goes through several power cuts.
//!
//! What is read back must be the state after some append. No append that was reported durable may be missing,
//! no append may be there in part, and nothing deleted may reappear.

use super::*;

struct Run {
    options: LogOptions,
    log_writes_durable: bool,
    steps: usize,
    cuts: u64,
}

impl Run {
    fn new() -> Self {
        Self { options: options(), log_writes_durable: false, steps: 60, cuts: 3 }
    }

    fn open(&self, env: &SimEnv) -> std::result::Result<Log, String> {
        Log::open(Arc::new(env.clone()), &dir(), self.options.clone()).map_err(|e| format!("open: {e}"))
    }

    /// Runs the workload of `seed` and examines every crash; the first thing wrong is the error.
    fn explore(&self, seed: u64) -> std::result::Result<(), String> {
        let env = SimEnv::new(seed);
        env.set_log_writes_durable(self.log_writes_durable);
        let mut work = Workload::new(seed);
        // `states[n]` is what the log holds after n appends.
        let mut states = vec![Model::default()];
        let mut log = self.open(&env)?;
        env.capture_images();
        // Operation number, appends durable and appends made by then.
        let mut progress = vec![(0, 0, 0)];
        for step in 0..self.steps {
            let mut model = states.last().cloned().unwrap_or_default();
            let records = work.next(&model);
            model.apply(&records);
            let lsn = log.append(&records).map_err(|e| format!("append: {e}"))?;
            assert_eq!(lsn as usize, states.len());
            states.push(model);
            progress.push((env.operations(), log.durable_lsn(), lsn));
            if work.chance(0.6) {
                log.sync_step().map_err(|e| format!("sync: {e}"))?;
                progress.push((env.operations(), log.durable_lsn(), lsn));
            }
            if work.chance(0.05) || step + 1 == self.steps {
                self.examine(&env, &states, &progress, &mut work)?;
                env.kill();
                let durable = log.durable_lsn();
                log = self.open(&env)?;
                let kept = log.durable_lsn();
                if kept < durable {
                    return Err(format!("{durable} appends were durable, a process kill left {kept}"));
                }
                states.truncate(kept as usize + 1);
                compare(&log, &states)?;
                env.capture_images();
                progress = vec![(env.operations(), kept, kept)];
            }
        }
        Ok(())
    }

    fn examine(
        &self,
        env: &SimEnv,
        states: &[Model],
        progress: &[(u64, Lsn, Lsn)],
        work: &mut Workload,
    ) -> std::result::Result<(), String> {
        for (operation, image) in env.take_images() {
            let durable = progress.iter().take_while(|p| p.0 <= operation).map(|p| p.1).max().unwrap_or(0);
            for cut in 0..self.cuts {
                let at = |problem| format!("power cut {cut} after operation {operation}: {problem}");
                let image = image.clone_image();
                image.crash(operation * 31 + cut);
                let log = self.open(&image).map_err(at)?;
                if log.durable_lsn() < durable {
                    return Err(at(format!(
                        "{durable} appends were durable, {} were read",
                        log.durable_lsn()
                    )));
                }
                compare(&log, states).map_err(at)?;
                self.carry_on(&image, log, states, work).map_err(at)?;
            }
        }
        Ok(())
    }

    /// Appends continue after a crash, until the next crash.
    fn carry_on(
        &self,
        image: &SimEnv,
        log: Log,
        states: &[Model],
        work: &mut Workload,
    ) -> std::result::Result<(), String> {
        let mut states = states[..=log.durable_lsn() as usize].to_vec();
        for _ in 0..3 {
            let mut model = states.last().cloned().unwrap_or_default();
            let records = work.next(&model);
            model.apply(&records);
            states.push(model);
            log.append(&records).map_err(|e| e.to_string())?;
            if work.chance(0.7) {
                log.sync_step().map_err(|e| e.to_string())?;
            }
        }
        let durable = log.durable_lsn();
        image.crash(durable);
        let log = self.open(image)?;
        if log.durable_lsn() < durable {
            return Err(format!("then {durable} appends were durable, {} were read", log.durable_lsn()));
        }
        compare(&log, &states).map_err(|e| format!("then: {e}"))
    }
}

fn compare(log: &Log, states: &[Model]) -> std::result::Result<(), String> {
    let read = contents(log).map_err(|e| format!("read: {e}"))?;
    match states.get(log.durable_lsn() as usize) {
        Some(expected) if *expected == read => Ok(()),
        Some(expected) => {
            Err(format!("after {} appends\nexpected {expected:?}\nread {read:?}", log.durable_lsn()))
        }
        None => Err(format!("{} appends were read, {} were made", log.durable_lsn(), states.len() - 1)),
    }
}

#[test]
fn every_crash_leaves_a_state_that_was() {
    for seed in 0..12 {
        Run::new().explore(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

/// The same for several minutes. Run it by hand after a change of the format or of recovery.
#[test]
#[ignore = "long"]
fn every_crash_of_a_thousand_histories_leaves_a_state_that_was() {
    for seed in 1000..2000 {
        let run = Run { log_writes_durable: seed % 4 == 0, cuts: 6, steps: 100, ..Run::new() };
        run.explore(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

#[test]
fn every_crash_with_durable_writes_leaves_a_state_that_was() {
    let run = Run { log_writes_durable: true, ..Run::new() };
    for seed in 100..106 {
        run.explore(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

#[test]
fn a_missing_sync_is_found() {
    let faults = LogFaults { skip_sync: true, ..LogFaults::default() };
    let run = Run { options: LogOptions { faults, ..options() }, steps: 20, ..Run::new() };
    assert!((0..3).all(|seed| run.explore(seed).is_err()), "the planted bug must show");
}

#[test]
fn a_recycled_segment_without_its_generation_is_found() {
    let faults = LogFaults { wrong_recycle_generation: true, ..LogFaults::default() };
    let run = Run { options: LogOptions { faults, ..options() }, ..Run::new() };
    assert!((0..3).all(|seed| run.explore(seed).is_err()), "the planted bug must show");
}

#[test]
fn a_lying_disk_is_found() {
    let env = SimEnv::new(1);
    let log = open(&env).unwrap();
    log.append(&[entry(1, 1, "a")]).unwrap();
    env.set_lying_sync(true);
    let durable = log.sync_step().unwrap();
    let lost = (0..20).filter(|seed| {
        let image = env.clone_image();
        image.crash(*seed);
        open(&image).unwrap().durable_lsn() < durable
    });
    assert!(lost.count() > 3, "the harness sees what a lying disk loses");
}
