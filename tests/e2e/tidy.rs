//! The architecture's invariants: who must not know whom. Each is an absence, so nothing else would notice its loss.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

const SERVICES: [&str; 4] = ["orders", "payments", "gateway", "shipping"];

/// Those whose job is to put all the others together, or to measure them.
const KNOW_ALL: [&str; 3] = ["mesh", "tests", "micro"];

/// Test support: knows none of ours, and what it needs reaches no binary.
const WORLD: &str = "world";

/// Each of our packages with what it names as a dependency.
struct Layout(BTreeMap<String, BTreeSet<String>>);

impl Layout {
    fn read() -> Self {
        let packages = metadata().packages;
        Self(packages.iter().map(|package| (package.name.to_string(), direct(package))).collect())
    }

    /// All that a package reaches through packages of ours.
    fn reached_from(&self, package: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![package];
        while let Some(next) = open.pop() {
            for dependency in self.0.get(next).into_iter().flatten() {
                if reached.insert(dependency.as_str()) {
                    open.push(dependency);
                }
            }
        }
        reached
    }

    #[track_caller]
    fn assert_absent(&self, package: &str, absent: &[&str]) {
        assert!(self.0.contains_key(package), "there is no package {package}: has it been renamed?");
        let reached = self.reached_from(package);
        let found: Vec<_> = absent.iter().filter(|name| reached.contains(**name)).collect();
        assert!(found.is_empty(), "{package} must not depend on {found:?}");
    }

    fn ours(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

fn metadata() -> Metadata {
    MetadataCommand::new().no_deps().exec().expect("cargo describes the workspace it runs in")
}

/// Dependencies for tests count as well, except on the test world.
fn direct(package: &Package) -> BTreeSet<String> {
    let counts = package
        .dependencies
        .iter()
        .filter(|dependency| !(dependency.kind == DependencyKind::Development && dependency.name == WORLD));
    counts.map(|dependency| dependency.name.clone()).collect()
}

#[test]
fn the_edge_and_the_chassis_know_no_storage_no_broker_and_no_service() {
    let layout = Layout::read();
    let absent =
        ["messaging", "storage", "service", "orders", "payments", "sea-orm", "sea-orm-migration", "lapin"];
    for package in ["gateway", "transcode", "upstream", "chassis"] {
        layout.assert_absent(package, &absent);
    }
}

#[test]
fn identity_knows_no_storage_no_broker_no_service_and_no_edge() {
    let layout = Layout::read();
    let absent = [
        "messaging",
        "storage",
        "service",
        "orders",
        "payments",
        "gateway",
        "upstream",
        "transcode",
        "sea-orm",
        "lapin",
    ];
    layout.assert_absent("auth", &absent);
    // What stores and publishes has no callers.
    for package in ["messaging", "storage", "upstream", "transcode", "chassis"] {
        layout.assert_absent(package, &["auth"]);
    }
}

#[test]
fn the_translator_does_no_io() {
    let layout = Layout::read();
    layout.assert_absent(
        "transcode",
        &["tokio", "tonic", "hyper", "axum", "h2", "chassis", "gateway", "ordermesh"],
    );
}

#[test]
fn the_way_to_services_knows_no_server_of_http_and_no_contract() {
    let layout = Layout::read();
    layout.assert_absent("upstream", &["gateway", "ordermesh"]);
    // The chassis has both, for the operator's listener.
    let direct = &layout.0["upstream"];
    let servers = ["axum", "hyper"].into_iter().filter(|server| direct.contains(*server));
    assert_eq!(servers.collect::<Vec<_>>(), Vec::<&str>::new(), "upstream names a server of HTTP");
}

#[test]
fn the_services_do_not_know_each_other() {
    let layout = Layout::read();
    for package in layout.ours() {
        let others: Vec<_> = SERVICES.into_iter().filter(|service| *service != package).collect();
        if !KNOW_ALL.contains(&package) {
            layout.assert_absent(package, &others);
        }
    }
}

#[test]
fn the_infrastructure_knows_no_service_and_no_contract() {
    let layout = Layout::read();
    for package in ["messaging", "storage"] {
        layout.assert_absent(
            package,
            &["service", "orders", "payments", "gateway", "transcode", "upstream", "mesh", "ordermesh"],
        );
    }
}

/// Another one would have to be told apart from the first in there.
#[test]
fn what_services_share_knows_no_single_service() {
    Layout::read().assert_absent("service", &SERVICES);
}

#[test]
fn the_contracts_and_the_test_world_know_none_of_ours() {
    let layout = Layout::read();
    for package in ["ordermesh", WORLD] {
        layout.assert_absent(package, &layout.ours());
    }
}

#[test]
fn nobody_depends_on_those_who_know_all() {
    let layout = Layout::read();
    for package in layout.ours() {
        layout.assert_absent(package, &KNOW_ALL);
    }
}

#[test]
fn every_package_takes_the_lints_of_the_workspace() {
    let metadata = metadata();
    for package in &metadata.packages {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("cargo has read it too");
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}: no [lints] workspace = true",
            package.name
        );
    }
    let root =
        std::fs::read_to_string(metadata.workspace_root.join("Cargo.toml")).expect("cargo has read it too");
    assert!(root.contains("unsafe_code = \"forbid\""), "unsafe code is allowed");
}

/// The image is built of what reaches the builder; a crate that does not is missed only there.
#[test]
fn the_image_is_built_of_every_package() {
    let metadata = metadata();
    let root = metadata.workspace_root.as_std_path();
    let ignored = std::fs::read_to_string(root.join(".dockerignore")).expect("the file is there");
    let sent: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let folders: BTreeSet<String> = metadata
        .packages
        .iter()
        .filter_map(|package| {
            let folder = package.manifest_path.as_std_path().parent()?.strip_prefix(root).ok()?;
            Some(folder.components().next()?.as_os_str().to_string_lossy().into_owned())
        })
        .collect();
    let missing: Vec<_> = folders.iter().filter(|folder| !sent.contains(folder.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?} are not in .dockerignore");
    let gone: Vec<_> = sent.iter().filter(|entry| !root.join(entry).exists()).collect();
    assert!(gone.is_empty(), "{gone:?} are in .dockerignore and nowhere else");
}
