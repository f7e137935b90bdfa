//! Tests of the simulated disk itself: what a power cut keeps, and each fault.

use super::*;

fn path(name: &str) -> PathBuf {
    Path::new("/disk").join(name)
}

fn disk() -> SimEnv {
    let env = SimEnv::new(1);
    env.create_dir_all(Path::new("/disk")).unwrap();
    env
}

fn content(env: &SimEnv, name: &str) -> Option<Vec<u8>> {
    let file = env.open(&path(name), OpenMode::Read).ok()?;
    let mut buf = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut buf).unwrap();
    Some(buf)
}

#[test]
fn synced_data_survives_every_crash_and_unsynced_tears_by_sector() {
    let env = disk();
    let file = env.open(&path("a"), OpenMode::CreateNew).unwrap();
    file.write_at(0, &[1; 4096]).unwrap();
    file.sync().unwrap();
    env.sync_dir(Path::new("/disk")).unwrap();
    file.write_at(0, &[2; 4096]).unwrap();
    let mut mixtures = BTreeSet::new();
    for seed in 0..64 {
        let image = env.clone_image();
        image.crash(seed);
        let bytes = content(&image, "a").unwrap();
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|b| *b == sector[0]), "a sector is written whole or not at all");
        }
        mixtures.insert(bytes);
    }
    assert!(mixtures.contains(&vec![1; 4096]) && mixtures.contains(&vec![2; 4096]));
    assert!(mixtures.len() > 10, "{} different outcomes", mixtures.len());
    assert_eq!(content(&env, "a").unwrap(), [2; 4096], "images do not touch the original");
}

#[test]
fn names_need_a_folder_sync() {
    let env = disk();
    let file = env.open(&path("old"), OpenMode::CreateNew).unwrap();
    file.write_at(0, b"x").unwrap();
    file.sync().unwrap();
    let lost = (0..32).filter(|seed| {
        let image = env.clone_image();
        image.crash(*seed);
        !image.exists(&path("old")).unwrap()
    });
    assert!(lost.count() > 4, "an unsynced creation can vanish");
    env.sync_dir(Path::new("/disk")).unwrap();
    env.rename(&path("old"), &path("new")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..32 {
        let image = env.clone_image();
        image.crash(seed);
        seen.insert(image.list(Path::new("/disk")).unwrap());
    }
    assert_eq!(seen, BTreeSet::from([vec![PathBuf::from("new")], vec![PathBuf::from("old")]]));
    env.sync_dir(Path::new("/disk")).unwrap();
    env.crash(3);
    assert_eq!(content(&env, "new").unwrap(), b"x");
    env.remove(&path("new")).unwrap();
    env.sync_dir(Path::new("/disk")).unwrap();
    env.crash(4);
    assert!(!env.exists(&path("new")).unwrap());
}

#[test]
fn a_crash_repeats_from_its_seed() {
    let run = |seed| {
        let env = disk();
        for name in ["a", "b", "c"] {
            env.open(&path(name), OpenMode::ReadWrite).unwrap().write_at(100, &[7; 5000]).unwrap();
        }
        env.crash(seed);
        ["a", "b", "c"].map(|name| content(&env, name))
    };
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn failed_sync_is_not_repaired_by_the_next() {
    let env = disk();
    let file = env.open(&path("a"), OpenMode::CreateNew).unwrap();
    env.sync_dir(Path::new("/disk")).unwrap();
    file.write_at(0, &[5; 64 * 512]).unwrap();
    env.fail_sync(1);
    assert!(file.sync().is_err());
    file.write_at(64 * 512, &[6; 512]).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&env, "a").unwrap()[..512 * 64], [5; 64 * 512], "still read from memory");
    // Only a new write of the same bytes can make them durable; the second sync covered only the later write.
    env.crash(0);
    let after = content(&env, "a").unwrap();
    assert_eq!(after[64 * 512..], [6; 512]);
    let kept = after[..64 * 512].chunks(512).filter(|s| s[0] == 5).count();
    assert!(kept > 0 && kept < 64, "{kept} sectors kept");
}

#[test]
fn lying_sync_full_disk_locks_and_dead_handles() {
    let env = disk();
    let file = env.open(&path("a"), OpenMode::CreateNew).unwrap();
    file.allocate(8192).unwrap();
    assert_eq!(file.len().unwrap(), 8192);
    file.sync().unwrap();
    env.sync_dir(Path::new("/disk")).unwrap();
    env.set_capacity(Some(8192));
    file.write_at(4096, &[1; 4096]).unwrap();
    assert!(matches!(file.write_at(4097, &[1; 4096]), Err(Error::DiskFull { .. })));
    assert!(matches!(file.allocate(8193), Err(Error::DiskFull { .. })));
    env.set_capacity(None);
    env.set_lying_sync(true);
    file.sync().unwrap();
    let guard = env.lock(Path::new("/disk")).unwrap();
    assert!(matches!(env.lock(Path::new("/disk")), Err(Error::Locked(_))));
    let lied = (0..32).any(|seed| {
        let image = env.clone_image();
        image.crash(seed);
        content(&image, "a").unwrap()[4096..].iter().all(|b| *b == 0)
    });
    assert!(lied, "a lying sync keeps nothing for sure");
    env.crash(1);
    assert!(file.write_at(0, b"x").is_err(), "handles die in a crash");
    let second = env.lock(Path::new("/disk")).unwrap();
    drop(guard);
    assert!(env.lock(Path::new("/disk")).is_err(), "a dead guard frees nobody else's lock");
    drop(second);
    env.lock(Path::new("/disk")).unwrap();
}

#[test]
fn images_are_captured_at_every_operation() {
    let env = disk();
    env.capture_images();
    let file = env.open(&path("a"), OpenMode::CreateNew).unwrap();
    file.write_at(0, b"1").unwrap();
    file.sync().unwrap();
    file.write_at(0, b"2").unwrap();
    env.sync_dir(Path::new("/disk")).unwrap();
    let images = env.take_images();
    let seen: Vec<_> = images.iter().map(|(_, image)| content(image, "a").unwrap()).collect();
    assert_eq!(seen, [&b""[..], b"1", b"1", b"2", b"2"]);
}
