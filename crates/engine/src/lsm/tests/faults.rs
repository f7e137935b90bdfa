//! Devices that misbehave: writes that reach another place or none, syncs that keep nothing, a disk that
//! fills up and gets space again. A read returns the right data or an error, never wrong data.

use super::crash_images::{Map, batch, content, count, work};
use super::{open, tiny};
use crate::Error;
use crate::env::SimEnv;
use crate::lsm::{Background, Engine, Options, WriteBatch};

/// Errors by which the engine owns up to damage.
fn is_owned_up(e: &Error) -> bool {
    matches!(e, Error::Corrupt { .. } | Error::Version { .. } | Error::Io { .. } | Error::Poisoned)
}

/// The batches' models: `models[n]` is what `n` batches leave.
fn models(batches: usize) -> Vec<Map> {
    let mut models = vec![Map::new()];
    for n in 1..=batches {
        let mut model = models[n - 1].clone();
        batch(n, &mut model);
        models.push(model);
    }
    models
}

/// Writes batches `from..=to` and returns how many were durable at least, and the error that ended it.
fn run(engine: &Engine, from: usize, to: usize) -> (usize, Option<Error>) {
    let mut durable = 0;
    for n in from..=to {
        let step = engine.write(&batch(n, &mut Map::new())).and_then(|_| work(engine, n));
        match step {
            Ok(all) => durable = if all { n } else { durable },
            Err(e) => return (durable, Some(e)),
        }
    }
    (durable, None)
}

#[test]
fn a_write_that_lands_elsewhere_or_nowhere_is_detected_or_harmless() {
    let models = models(100);
    let (mut refused, mut harmless) = (0, 0);
    for nth in 1..=120 {
        for misdirected in [true, false] {
            let what = format!("write {nth}, misdirected: {misdirected}");
            let env = SimEnv::new(nth);
            let engine = open(&env, tiny()).unwrap();
            assert!(run(&engine, 1, 35).1.is_none());
            match misdirected {
                true => env.misdirect_write(nth),
                false => env.drop_write(nth),
            }
            let (durable, error) = run(&engine, 36, 100);
            let mut seen = error.is_some();
            if let Some(e) = error {
                assert!(is_owned_up(&e), "{what}: {e}");
            } else {
                match content(&engine) {
                    Ok(got) => assert_eq!(got, models[100], "{what}: served something else"),
                    Err(e) => {
                        assert!(is_owned_up(&e), "{what}: {e}");
                        seen = true;
                    }
                }
            }
            drop(engine);
            env.crash(nth);
            match open(&env, tiny()).and_then(|engine| content(&engine)) {
                Ok(got) => {
                    let n = count(&got);
                    assert!(n >= durable, "{what}: {n} batches after the restart, {durable} were durable");
                    assert_eq!(got, models[n], "{what}: something else after the restart");
                }
                Err(e) => {
                    assert!(is_owned_up(&e), "{what}: {e}");
                    seen = true;
                }
            }
            if seen { refused += 1 } else { harmless += 1 }
        }
    }
    println!("{refused} detected, {harmless} harmless");
    assert!(refused > 50 && harmless > 20);
}

#[test]
fn syncs_that_lie_lose_writes_but_never_tell_another_story() {
    let models = models(100);
    let (mut refused, mut served) = (0, 0);
    for seed in 0..300 {
        let env = SimEnv::new(seed);
        let engine = open(&env, tiny()).unwrap();
        let honest = 10 + (seed % 60) as usize;
        assert!(run(&engine, 1, honest).1.is_none());
        env.set_lying_sync(true);
        assert!(run(&engine, honest + 1, 100).1.is_none());
        drop(engine);
        env.crash(seed);
        env.set_lying_sync(false);
        match open(&env, tiny()).and_then(|engine| content(&engine)) {
            Ok(got) => {
                assert_eq!(got, models[count(&got)], "seed {seed}");
                served += 1;
            }
            Err(e) => {
                assert!(is_owned_up(&e), "seed {seed}: {e}");
                refused += 1;
            }
        }
    }
    println!("{served} opened as some earlier state, {refused} refused");
    assert!(served > 0 && refused > 100);
}

#[test]
fn with_threads_a_full_disk_refuses_and_writing_resumes_by_itself() {
    let env = SimEnv::new(0);
    let options = Options { background: Background::Threads, ..tiny() };
    let engine = open(&env, options.clone()).unwrap();
    let put = |n: u32| {
        let mut b = WriteBatch::new();
        b.put(format!("key{n:06}").as_bytes(), &[n as u8; 60]);
        engine.write(&b)
    };
    for n in 0..200 {
        put(n).unwrap();
    }
    engine.flush().unwrap();
    env.set_capacity(Some(env.used() + (64 << 10)));
    let mut accepted = 200;
    let refused = loop {
        match put(accepted) {
            Ok(_) => accepted += 1,
            Err(e) => break e,
        }
        assert!(accepted < 1_000_000, "the disk never filled");
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert!(engine.get(b"key000010").unwrap().is_some(), "reads go on");
    env.set_capacity(None);
    // The threads try again by themselves; nobody reopens or flushes anything.
    let mut tries = 0u64;
    while let Err(e) = put(accepted) {
        assert!(matches!(e, Error::DiskFull { .. }), "{e}");
        tries += 1;
        assert!(tries < 1 << 32, "writing did not resume");
        std::thread::yield_now();
    }
    accepted += 1;
    let lsn = put(accepted).unwrap();
    engine.log().wait(lsn).unwrap();
    engine.close().unwrap();
    drop(engine);
    let engine = open(&env, options).unwrap();
    assert_eq!(engine.scan(b"", b"", false, None).count() as u32, accepted + 1);
    assert!(engine.verify().is_empty());
}
