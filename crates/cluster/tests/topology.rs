//! The topology as a state machine: golden scripts (command in, changes and state out) and properties under
//! random commands.
//!
//! `UPDATE_GOLDEN=1` rewrites the expected parts of the scripts.
#![allow(clippy::disallowed_methods)] // golden files are rewritten in place

use proptest::prelude::*;
use std::fmt::Write as _;
use torc_cluster::{
    BucketConfig, BucketPolicy, Change, Command, CrdtKind, Epoch, GroupId, IndexChange, IndexStatus, Level,
    NodeId, Response, TableId, TableKind, TableStatus, Topology, check_invariants, placement_warnings,
    reconcile,
};

/// Runs one command as the meta group's apply does and checks what must hold after each.
fn step(
    topology: &Topology,
    epoch: u64,
    command: &Command,
) -> Result<(Topology, Vec<Change>, Response), String> {
    let (changes, response) = topology.evaluate(command).map_err(|e| format!("{}: {e}", e.code()))?;
    let changes: Vec<Change> = changes.into_iter().map(|change| change.stamped(Epoch(epoch))).collect();
    let next = topology.apply_changes(Epoch(epoch), &changes);
    Ok((next, changes, response))
}

mod golden {
    use super::*;

    #[test]
    fn scripts() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() >= 3, "no scripts in {dir}");
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let actual = run(&text);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &actual).unwrap();
            } else {
                assert_eq!(actual, text, "{} (UPDATE_GOLDEN=1 rewrites it)", path.display());
            }
        }
    }

    /// Lines that start with `> ` are commands, `#` comments; all else is output and is made anew.
    fn run(script: &str) -> String {
        let mut topology = Topology::default();
        let mut epoch = 0;
        let mut out = String::new();
        for line in script.lines() {
            if line.starts_with('#') {
                writeln!(out, "{line}").unwrap();
            }
            let Some(command) = line.strip_prefix("> ") else { continue };
            writeln!(out, "{line}").unwrap();
            match command {
                "show" => show(&topology, &mut out),
                "reconcile" => {
                    for step in reconcile(&topology) {
                        writeln!(out, "  {step:?}").unwrap();
                    }
                }
                "settle" => {
                    let mut rounds = 0;
                    loop {
                        let steps = reconcile(&topology);
                        if steps.is_empty() {
                            break;
                        }
                        rounds += 1;
                        for command in steps {
                            epoch += 1;
                            topology = step(&topology, epoch, &command).unwrap().0;
                        }
                    }
                    writeln!(out, "  settled after {rounds} rounds").unwrap();
                }
                _ => {
                    epoch += 1;
                    match step(&topology, epoch, &parse(command)) {
                        Ok((next, changes, response)) => {
                            topology = next;
                            writeln!(out, "  {response:?}").unwrap();
                            for change in &changes {
                                writeln!(out, "  {}", describe(change)).unwrap();
                            }
                        }
                        Err(error) => writeln!(out, "  refused: {error}").unwrap(),
                    }
                }
            }
            assert_eq!(check_invariants(&topology), vec![], "after {line}");
        }
        out
    }

    fn show(topology: &Topology, out: &mut String) {
        writeln!(
            out,
            "  cluster {:x} at {}, meta {:?}",
            topology.cluster_id(),
            topology.epoch(),
            topology.meta_members()
        )
        .unwrap();
        for change in topology.to_changes() {
            writeln!(out, "  {}", describe(&change)).unwrap();
        }
    }

    fn describe(change: &Change) -> String {
        let list = |ids: &[NodeId]| ids.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(",");
        match change {
            Change::Settings(s) => format!(
                "settings {:x} meta [{}] next n{} t{} g{}",
                s.cluster_id,
                list(&s.meta_members),
                s.next_node,
                s.next_table,
                s.next_group
            ),
            Change::UpsertNode(n) => format!(
                "node {} {} {} {} x{} {:02x}",
                n.info.id, n.info.addr, n.info.api_addr, n.info.zone, n.info.weight, n.uuid[0]
            ),
            Change::UpsertTable(t) => match &t.kind {
                TableKind::Table(spec) => {
                    let indexes =
                        spec.indexes.iter().map(|i| format!(" {}={}:{:?}", i.name, i.table, i.status));
                    format!(
                        "table {} {} {} rf{} {}{}",
                        t.id,
                        t.name,
                        spec.status.as_str(),
                        spec.replication_factor,
                        String::from_utf8_lossy(&spec.schema),
                        indexes.collect::<String>()
                    )
                }
                TableKind::Bucket(config) => format!("bucket {} {} {config:?}", t.id, t.name),
                TableKind::Index(spec) => {
                    format!("index {} {} of {} rf{}", t.id, t.name, spec.base, spec.replication_factor)
                }
            },
            Change::UpsertPartition(p) => {
                format!(
                    "partition {} of {} {:016x}-{:016x} on [{}] at {}",
                    p.group,
                    p.table,
                    p.range.start,
                    p.range.end,
                    list(&p.replicas),
                    p.changed
                )
            }
            other => format!("{other:?}"),
        }
    }

    fn parse(line: &str) -> Command {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        let rest: Vec<&str> = words.collect();
        let arg = |name: &str| rest.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let number = |name: &str, default: u64| {
            arg(name).map_or(default, |v| v.trim_start_matches(['g', 't', 'n']).parse().unwrap())
        };
        let text = |name: &str| arg(name).unwrap_or_default().to_owned();
        let nodes = |name: &str| -> Vec<NodeId> {
            let list = arg(name).unwrap_or_default().split(',').filter(|w| !w.is_empty());
            list.map(|w| NodeId(w.trim_start_matches('n').parse().unwrap())).collect()
        };
        let status = |value: &str| match value {
            "CREATING" => TableStatus::Creating,
            "ACTIVE" => TableStatus::Active,
            "UPDATING" => TableStatus::Updating,
            "DELETING" => TableStatus::Deleting,
            other => panic!("no status {other}"),
        };
        match verb {
            "init" => {
                Command::InitCluster { cluster_id: number("id", 0), token_key: [number("key", 7) as u8; 16] }
            }
            "register" => Command::RegisterNode {
                addr: text("addr"),
                api_addr: text("api"),
                zone: text("zone"),
                weight: number("weight", 1) as u32,
                uuid: [number("uuid", 0) as u8; 16],
            },
            "create-table" => Command::CreateTable {
                name: text("name"),
                schema: text("schema").into_bytes(),
                status: status(arg("status").unwrap_or("ACTIVE")),
                partitions: number("partitions", 1) as u32,
                replication_factor: number("rf", 3) as u32,
                now_ms: number("now", 0),
                indexes: text("indexes").split(',').filter(|n| !n.is_empty()).map(String::from).collect(),
            },
            "update-table" => Command::UpdateTable {
                table: TableId(number("id", 0)),
                version: arg("version").map(|v| v.parse().unwrap()),
                schema: arg("schema").map(|s| s.as_bytes().to_vec()),
                status: arg("status").map(status),
                index: None,
            },
            "create-index" | "drop-index" | "set-index" => {
                let name = text("name");
                let index = match (verb, arg("status")) {
                    ("create-index", _) => {
                        let partitions = number("partitions", 1) as u32;
                        IndexChange::Create { name, partitions, now_ms: 0 }
                    }
                    ("drop-index", _) => IndexChange::Drop { name },
                    (_, Some("BACKFILLING")) => {
                        IndexChange::Status { name, status: IndexStatus::Backfilling }
                    }
                    (_, Some("ACTIVE")) => IndexChange::Status { name, status: IndexStatus::Active },
                    (_, Some("DELETING")) => IndexChange::Status { name, status: IndexStatus::Deleting },
                    (_, other) => panic!("no index status {other:?}"),
                };
                let (table, version) = (TableId(number("id", 0)), arg("version").map(|v| v.parse().unwrap()));
                Command::UpdateTable { table, version, schema: None, status: None, index: Some(index) }
            }
            "drop-table" => Command::DropTable { table: TableId(number("id", 0)) },
            "create-bucket" => Command::CreateBucket {
                name: text("name"),
                config: BucketConfig {
                    n: number("n", 3) as u32,
                    read: Level::Quorum,
                    write: arg("w").map_or(Level::Quorum, |w| Level::Count(w.parse().unwrap())),
                    policy: BucketPolicy::Siblings,
                },
                partitions: number("partitions", 1) as u32,
                now_ms: number("now", 0),
            },
            "drop-bucket" => Command::DropBucket { bucket: TableId(number("id", 0)) },
            "set-replicas" => {
                Command::SetReplicas { group: GroupId(number("group", 0)), replicas: nodes("nodes") }
            }
            "set-meta" => Command::SetMetaMembers { members: nodes("nodes") },
            other => panic!("no command {other}"),
        }
    }
}

fn any_status() -> impl Strategy<Value = TableStatus> {
    prop_oneof![
        Just(TableStatus::Creating),
        Just(TableStatus::Active),
        Just(TableStatus::Updating),
        Just(TableStatus::Deleting)
    ]
}

fn any_index_change() -> impl Strategy<Value = IndexChange> {
    let name = "[xy]{1,2}";
    let status = prop_oneof![
        Just(IndexStatus::Creating),
        Just(IndexStatus::Backfilling),
        Just(IndexStatus::Active),
        Just(IndexStatus::Deleting)
    ];
    prop_oneof![
        (name, 0u32..4, any::<u64>()).prop_map(|(name, partitions, now_ms)| IndexChange::Create {
            name,
            partitions,
            now_ms
        }),
        (name, status).prop_map(|(name, status)| IndexChange::Status { name, status }),
        name.prop_map(|name| IndexChange::Drop { name }),
    ]
}

fn any_level() -> impl Strategy<Value = Level> {
    prop_oneof![Just(Level::One), Just(Level::Quorum), Just(Level::All), (1u32..5).prop_map(Level::Count)]
}

fn any_policy() -> impl Strategy<Value = BucketPolicy> {
    use CrdtKind::{Counter, Flag, Map, Register, Set};
    prop_oneof![
        Just(BucketPolicy::Siblings),
        Just(BucketPolicy::LastWriterWins),
        prop::sample::select(vec![Counter, Set, Map, Register, Flag]).prop_map(BucketPolicy::Crdt)
    ]
}

fn any_nodes() -> impl Strategy<Value = Vec<NodeId>> {
    prop::collection::vec((1u64..9).prop_map(NodeId), 0..6)
}

/// Small domains, so that commands meet each other's results.
fn any_command() -> impl Strategy<Value = Command> {
    let name = "[ab]{0,2}";
    prop_oneof![
        1 => (0u64..3, any::<[u8; 16]>()).prop_map(|(cluster_id, token_key)| Command::InitCluster { cluster_id, token_key }),
        6 => (0u8..8, 0u8..10, 0u8..4, 0u32..4).prop_map(|(uuid, addr, zone, weight)| Command::RegisterNode {
            addr: format!("h{addr}:1"), api_addr: String::new(), zone: format!("z{zone}"), weight, uuid: [uuid; 16],
        }),
        3 => (name, prop::collection::vec(any::<u8>(), 0..8), any_status(), 0u32..9, 0u32..9, any::<u64>(),
            prop::collection::vec("[xy]{1,2}", 0..3)).prop_map(
            |(name, schema, status, partitions, replication_factor, now_ms, indexes)| Command::CreateTable {
                name, schema, status, partitions, replication_factor, now_ms, indexes
            }),
        2 => (0u64..9, prop::option::of(0u64..3), prop::option::of(prop::collection::vec(any::<u8>(), 0..8)),
            prop::option::of(any_status()), prop::option::of(any_index_change())).prop_map(
            |(table, version, schema, status, index)| Command::UpdateTable {
                table: TableId(table), version, schema, status, index
            }),
        1 => (0u64..9).prop_map(|id| Command::DropTable { table: TableId(id) }),
        3 => (name, 0u32..9, any_level(), any_level(), any_policy(), 0u32..9, any::<u64>()).prop_map(
            |(name, n, read, write, policy, partitions, now_ms)| Command::CreateBucket {
                name, config: BucketConfig { n, read, write, policy }, partitions, now_ms
            }),
        1 => (0u64..9).prop_map(|id| Command::DropBucket { bucket: TableId(id) }),
        3 => (14u64..60, any_nodes()).prop_map(|(group, replicas)| Command::SetReplicas { group: GroupId(group), replicas }),
        2 => any_nodes().prop_map(|members| Command::SetMetaMembers { members }),
    ]
}

fn init() -> Topology {
    let command = Command::InitCluster { cluster_id: 1, token_key: [4; 16] };
    step(&Topology::default(), 1, &command).unwrap().0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_invariants(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut topology = init();
        let mut stored = std::collections::BTreeMap::new();
        let dump = |topology: &Topology| topology.to_changes().into_iter().map(|c| (c.key(), c)).collect::<std::collections::BTreeMap<_, _>>();
        let mut saved = dump(&topology);
        let mut counters = (0, 0, 0);
        for (epoch, command) in (2u64..).zip(&commands) {
            let again = topology.evaluate(command);
            prop_assert_eq!(&topology.evaluate(command), &again, "evaluation is not a function");
            let Ok((next, changes, _)) = step(&topology, epoch, command) else { continue };
            prop_assert_eq!(check_invariants(&next), vec![], "after {:?}", command);
            let settings = next.settings();
            let now = (settings.next_node, settings.next_table, settings.next_group);
            prop_assert!(now.0 >= counters.0 && now.1 >= counters.1 && now.2 >= counters.2, "a number could come again");
            counters = now;
            // A node that stores the records and one that follows the changes both get to the same topology.
            for change in &changes {
                if change.is_delete() {
                    stored.remove(&change.key());
                } else {
                    stored.insert(change.key(), change.encode());
                }
            }
            for change in next.changes_since(&topology) {
                prop_assert!(saved.get(&change.key()) != Some(&change), "{change:?} is no change");
                if change.is_delete() {
                    prop_assert!(saved.remove(&change.key()).is_some(), "{change:?} removes nothing");
                } else {
                    saved.insert(change.key(), change);
                }
            }
            // Versions that share nothing differ by the same.
            let apart = Topology::from_changes(topology.epoch(), &topology.to_changes());
            prop_assert_eq!(next.changes_since(&apart), next.changes_since(&topology));
            topology = next;
        }
        prop_assert_eq!(&saved, &dump(&topology), "the differences of all versions lead to the last");
        if topology.settings() != init().settings() {
            let loaded: Vec<Change> = stored.values().map(|bytes| Change::decode(bytes).unwrap()).collect();
            prop_assert_eq!(&Topology::from_changes(topology.epoch(), &loaded), &topology);
            prop_assert_eq!(&topology.to_changes(), &loaded, "the dump is in key order");
        }
    }

    #[test]
    fn reconciling_ends_with_every_partition_full_and_changes_nothing_else(commands in prop::collection::vec(any_command(), 1..40)) {
        let mut topology = init();
        let mut epoch = 1;
        for command in &commands {
            epoch += 1;
            if let Ok((next, _, _)) = step(&topology, epoch, command) {
                topology = next;
            }
        }
        for round in 0.. {
            prop_assert!(round < 100, "reconciling does not end");
            let steps = reconcile(&topology);
            if steps.is_empty() {
                break;
            }
            for command in steps {
                epoch += 1;
                let before = topology.clone();
                topology = step(&topology, epoch, &command).unwrap().0;
                prop_assert!(topology != before, "{command:?} changes nothing");
                if let Command::SetReplicas { group, replicas } = &command {
                    let old = &before.partition_by_group(*group).unwrap().replicas;
                    prop_assert_eq!(&replicas[..old.len()], old.as_slice());
                    prop_assert_eq!(replicas.len(), old.len() + 1);
                }
            }
        }
        let nodes = topology.nodes().len();
        for partition in topology.all_partitions() {
            let table = topology.table(partition.table).unwrap();
            let leaving = table.as_table().is_some_and(|spec| spec.status == TableStatus::Deleting);
            let wanted = if leaving { 1 } else { table.replication_factor() as usize };
            prop_assert!(partition.replicas.len() >= wanted.min(nodes));
        }
        if nodes > 0 {
            prop_assert!(topology.meta_members().len() >= nodes.min(5).div_ceil(2) * 2 - 1);
        }
    }

    #[test]
    fn commands_survive_their_encoding(command in any_command()) {
        // Levels and counts out of range are refused by evaluation; those that decode must be what was
        // encoded.
        match Command::decode(&command.encode()) {
            Ok(back) => prop_assert_eq!(back, command),
            Err(error) => prop_assert!(false, "{command:?}: {error}"),
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(change) = Change::decode(&bytes) {
            prop_assert_eq!(Change::decode(&change.encode()).unwrap(), change);
        }
        let _ = Command::decode(&bytes);
        let _ = Response::decode(&bytes);
    }

    #[test]
    fn flipped_bits_never_panic(command in any_command(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = command.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(command) = Command::decode(&bytes) {
            let _ = init().evaluate(&command);
        }
    }

    #[test]
    fn every_token_finds_its_partition(partitions in 1u32..300, token: u64) {
        let mut topology = init();
        for command in [register(1, "a"), create("t", partitions, 1)] {
            topology = step(&topology, 2, &command).unwrap().0;
        }
        let table = topology.table_by_name("t").unwrap().id;
        let found = topology.partition(table, token).unwrap();
        prop_assert!(found.range.contains(token));
        let sizes: Vec<u64> = topology.partitions(table).iter().map(|p| p.range.end - p.range.start).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "ranges are of one size");
    }
}

fn register(uuid: u8, zone: &str) -> Command {
    let addr = format!("h{uuid}:1");
    Command::RegisterNode {
        addr,
        api_addr: String::new(),
        zone: zone.to_owned(),
        weight: 1,
        uuid: [uuid; 16],
    }
}

fn create(name: &str, partitions: u32, replication_factor: u32) -> Command {
    Command::CreateTable {
        name: name.to_owned(),
        schema: Vec::new(),
        status: TableStatus::Active,
        partitions,
        replication_factor,
        now_ms: 0,
        indexes: Vec::new(),
    }
}

#[test]
fn a_table_made_with_all_nodes_there_has_distinct_zones_and_an_even_load() {
    let mut topology = init();
    for (uuid, zone) in (1..=9).zip(["a", "b", "c"].into_iter().cycle()) {
        topology = step(&topology, 2, &register(uuid, zone)).unwrap().0;
    }
    topology = step(&topology, 3, &create("t", 90, 3)).unwrap().0;
    assert_eq!(placement_warnings(&topology), vec![]);
    for node in topology.nodes() {
        let held = topology.partitions_on(node.id).count();
        assert!((15..=38).contains(&held), "{} holds {held} of 270 replicas, 30 are fair", node.id);
    }
}

#[test]
fn a_table_made_on_one_node_spreads_over_zones_as_nodes_come() {
    let mut topology = init();
    topology = step(&topology, 2, &register(1, "a")).unwrap().0;
    topology = step(&topology, 3, &create("t", 8, 3)).unwrap().0;
    for (uuid, zone) in [(2, "a"), (3, "b"), (4, "b"), (5, "c")] {
        topology = step(&topology, 4, &register(uuid, zone)).unwrap().0;
    }
    while let [command, ..] = reconcile(&topology).as_slice() {
        topology = step(&topology, topology.epoch().0 + 1, command).unwrap().0;
    }
    assert_eq!(placement_warnings(&topology), vec![]);
    assert_eq!(topology.meta_members().len(), 5);
}

#[test]
fn invariants_see_what_is_broken() {
    let mut sound = init();
    for command in [register(1, "a"), register(2, "b"), create("t", 4, 2)] {
        sound = step(&sound, 2, &command).unwrap().0;
    }
    assert_eq!(check_invariants(&sound), vec![]);
    let dump = sound.to_changes();
    let break_it = |word: &str, change: &mut Change| match (word, change) {
        ("gap", Change::UpsertPartition(p)) if p.range.start == 0 => p.range.end -= 1,
        ("overlap", Change::UpsertPartition(p)) if p.range.start == 0 => p.range.end += 1,
        ("names n9", Change::UpsertPartition(p)) => p.replicas[0] = NodeId(9),
        ("twice", Change::UpsertPartition(p)) => p.replicas[1] = p.replicas[0],
        ("never handed out", Change::Settings(s)) => s.next_group = 17,
        ("both at", Change::UpsertNode(n)) => n.info.addr = "h1:1".into(),
        ("no meta member", Change::Settings(s)) => s.meta_members.clear(),
        _ => {}
    };
    for word in ["gap", "overlap", "names n9", "twice", "never handed out", "both at", "no meta member"] {
        let mut changes = dump.clone();
        changes.iter_mut().for_each(|change| break_it(word, change));
        assert_ne!(changes, dump, "nothing to break for {word}");
        let found = check_invariants(&Topology::from_changes(Epoch(2), &changes));
        assert!(found.iter().any(|v| v.0.contains(word)), "{word}: {found:?}");
    }
}

#[test]
fn a_record_of_a_later_version_is_refused_in_words() {
    let bytes = [0x08, 2, 0x20, 5];
    let error = Change::decode(&bytes).unwrap_err();
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[test]
fn unchanged_parts_are_shared_between_versions() {
    let mut topology = init();
    for command in [register(1, "a"), create("t", 4, 1), create("u", 4, 1)] {
        topology = step(&topology, 2, &command).unwrap().0;
    }
    let next = step(&topology, 3, &create("v", 4, 1)).unwrap().0;
    let table = topology.table_by_name("u").unwrap().id;
    assert!(std::ptr::eq(topology.partitions(table).as_ptr(), next.partitions(table).as_ptr()));
}
