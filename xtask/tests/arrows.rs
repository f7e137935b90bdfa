//! Holds the arrows of ARCHITECTURE.md: which crate of the workspace may import which, read from
//! `cargo metadata`.
//!
//! Dev-dependencies obey the same arrows: a test that needs a layer above belongs to that layer.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every crate, from the bottom up, with the workspace crates that it may import. A crate may only name
/// crates above it in this list.
const ALLOWED: &[(&str, &[&str])] = &[
    ("torc-model", &[]),
    ("torc-wire", &[]),
    ("torc-engine", &[]),
    ("torc-cluster", &["torc-model", "torc-wire"]),
    ("torc-replica", &["torc-model", "torc-wire", "torc-engine", "torc-cluster"]),
    ("torc-coordinator", &["torc-model", "torc-wire", "torc-engine", "torc-cluster", "torc-replica"]),
    // The edge asks the coordinator; it never reaches into a replica or the engine.
    ("torc-api", &["torc-model", "torc-wire", "torc-cluster", "torc-coordinator"]),
    // The client hashes keys as the cluster does.
    ("torc-client", &["torc-model", "torc-wire"]),
    // It feeds parsers, which lie in these two.
    ("torc-fuzz", &["torc-model", "torc-api"]),
    // The two that put everything together.
    (
        "torc-sim",
        &[
            "torc-model",
            "torc-wire",
            "torc-engine",
            "torc-cluster",
            "torc-replica",
            "torc-coordinator",
            "torc-api",
        ],
    ),
    (
        "torc",
        &[
            "torc-model",
            "torc-wire",
            "torc-engine",
            "torc-cluster",
            "torc-replica",
            "torc-coordinator",
            "torc-api",
            "torc-client",
        ],
    ),
    ("xtask", &[]),
];

/// Crates that must stay pure: nothing that opens sockets or files, or runs tasks, not even by way of another
/// crate of ours.
const SANS_IO: &[&str] = &["torc-model", "torc-cluster", "torc-replica"];
const IO_CRATES: &[&str] = &["tokio", "hyper", "hyper-util", "socket2", "rustix", "mio", "tempfile"];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Each workspace member with the names it depends on directly: of any kind, or without those of its tests.
fn direct_dependencies(with_tests: bool) -> Graph {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let counts = |dependency: &&Value| with_tests || dependency["kind"].as_str() != Some("dev");
    let named = |package: &Value| {
        let list = package["dependencies"].as_array().expect("a list of dependencies");
        list.iter().filter(counts).map(name).collect()
    };
    packages.iter().map(|package| (name(package), named(package))).collect()
}

fn name(value: &Value) -> String {
    value["name"].as_str().expect("a package has a name").to_owned()
}

/// The arrows of `graph` that `ALLOWED` does not have, in words.
fn violations(graph: &Graph) -> Vec<String> {
    let rules: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut found = Vec::new();
    for (from, to) in graph {
        let Some(allowed) = rules.get(from.as_str()) else {
            found.push(format!("{from} is not in the list: give it a place"));
            continue;
        };
        for target in to.iter().filter(|target| graph.contains_key(*target)) {
            if !allowed.contains(&target.as_str()) {
                found.push(format!("{from} must not import {target}"));
            }
        }
    }
    found
}

#[test]
fn crates_import_only_what_lies_below_them() {
    let found = violations(&direct_dependencies(true));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_list_itself_points_one_way() {
    let mut below = BTreeSet::new();
    for (krate, imports) in ALLOWED {
        for import in *imports {
            assert!(below.contains(import), "{krate} names {import}, which is not below it");
        }
        below.insert(*krate);
    }
}

#[test]
fn an_arrow_that_points_up_is_found() {
    let mut graph = direct_dependencies(true);
    graph.get_mut("torc-engine").expect("the engine is a member").insert("torc-model".to_owned());
    assert_eq!(violations(&graph), ["torc-engine must not import torc-model"]);
}

#[test]
fn every_crate_of_the_list_exists() {
    let graph = direct_dependencies(true);
    for (krate, _) in ALLOWED {
        assert!(graph.contains_key(*krate), "{krate} is in the list but not in the workspace");
    }
}

#[test]
fn protocol_cores_do_no_io() {
    let graph = direct_dependencies(false);
    for krate in SANS_IO {
        let io: Vec<_> = IO_CRATES.iter().filter(|io| graph[*krate].contains(**io)).collect();
        assert!(io.is_empty(), "{krate} is sans-IO and must not depend on {io:?}");
    }
}
