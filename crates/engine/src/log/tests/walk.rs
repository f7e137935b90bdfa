//! Long chains of crashes. Each round runs a little and stops at any operation (also of opening, or half way
//! through a sync while others append). Then the power is cut or the process killed, the log is read back,
//! and the next round starts on what this one left.

use super::meanwhile::Meanwhile;
use super::*;

fn walk(seed: u64, rounds: u64, options: &LogOptions) -> std::result::Result<(), String> {
    let mut env = SimEnv::new(seed);
    env.set_log_writes_durable(seed.is_multiple_of(4));
    let mut work = Workload::new(seed);
    let mut states = vec![Model::default()];
    let mut durable = 0;
    for round in 0..rounds {
        let at = |problem: String| format!("round {round}: {problem}");
        env.capture_images();
        let mut progress = vec![(0, durable)];
        let meanwhile = Meanwhile::new(&env);
        let log = Log::open(Arc::new(meanwhile.clone()), &dir(), options.clone())
            .map_err(|e| at(format!("open: {e}")))?;
        let kept = log.durable_lsn();
        if kept < durable {
            return Err(at(format!("{durable} appends were durable, {kept} were read")));
        }
        let read = contents(&log).map_err(|e| at(format!("read: {e}")))?;
        match states.get(kept as usize) {
            None => return Err(at(format!("{kept} appends were read, {} were made", states.len() - 1))),
            Some(expected) if *expected != read => {
                return Err(at(format!("after {kept} appends\nexpected {expected:?}\nread {read:?}")));
            }
            Some(_) => states.truncate(kept as usize + 1),
        }
        progress.push((env.operations(), kept));
        for _ in 0..work.up_to(8) {
            let mut model = states.last().cloned().unwrap_or_default();
            let records = work.next(&model);
            model.apply(&records);
            states.push(model);
            if work.chance(0.3) {
                // Appended while the log writes what came before.
                let appender = log.clone();
                let append = move || {
                    appender.append(&records).unwrap();
                };
                meanwhile.at_write(work.up_to(3), Box::new(append));
                log.sync_step().map_err(|e| at(format!("sync: {e}")))?;
                if let Some(append) = meanwhile.left_over() {
                    append();
                }
            } else {
                log.append(&records).map_err(|e| at(format!("append: {e}")))?;
                if work.chance(0.6) {
                    log.sync_step().map_err(|e| at(format!("sync: {e}")))?;
                }
            }
            progress.push((env.operations(), log.durable_lsn()));
        }
        let read = contents(&log).map_err(|e| at(format!("read while open: {e}")))?;
        if states.last() != Some(&read) {
            return Err(at("what is read while open differs from what was appended".to_owned()));
        }
        let mut images = env.take_images();
        if images.is_empty() {
            continue;
        }
        let (operation, image) = images.swap_remove(work.up_to(images.len() as u64) as usize - 1);
        durable = progress.iter().take_while(|p| p.0 <= operation).map(|p| p.1).max().unwrap_or(0);
        env = image;
        if work.chance(0.7) { env.crash(seed ^ operation << 20) } else { env.kill() }
    }
    Ok(())
}

#[test]
fn chains_of_crashes_leave_states_that_were() {
    for seed in 0..150 {
        let options = LogOptions { spare_segments: (seed / 4 % 3) as usize, ..options() };
        walk(seed, 30, &options).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

/// The same for several minutes. Run it by hand after a change of the format or of recovery.
#[test]
#[ignore = "long"]
fn ten_thousand_chains_of_crashes_leave_states_that_were() {
    for seed in 10_000..20_000 {
        let options = LogOptions { spare_segments: (seed / 4 % 3) as usize, ..options() };
        walk(seed, 40, &options).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

#[test]
fn planted_bugs_are_found() {
    let planted = [
        LogFaults { skip_sync: true, ..LogFaults::default() },
        LogFaults { wrong_recycle_generation: true, ..LogFaults::default() },
    ];
    for faults in planted {
        let options = LogOptions { faults, ..options() };
        assert!((0..5).all(|seed| walk(seed * 4 + 1, 30, &options).is_err()), "{faults:?} must show");
    }
}
