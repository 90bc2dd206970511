//! The crash matrix: at each station of a write and of a message the process ends, and after the restart all that was acknowledged is true.

mod site;
mod planted;
mod lies;

use std::{collections::BTreeSet, env, fs, path::Path, process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use world::PATIENCE;

use self::site::{MESH, ORDERS, PAYMENTS, Site};
use crate::journal::{Journal, Way};

/// A station, and who comes by.
struct Station {
    name: &'static str,
    by: &'static [&'static str],
    /// How often the process passes it before it ends there.
    passes: usize,
    /// Where it has to end before: nobody comes by without an earlier crash.
    after: Option<&'static str>,
}

const ALL: &[&str] = &[MESH, ORDERS, PAYMENTS];

const fn at(name: &'static str, by: &'static [&'static str]) -> Station {
    Station { name, by, passes: 0, after: None }
}

/// The stations in the order in which writes and messages meet them.
const STATIONS: [Station; 23] = [
    at("migration.half_done", ALL),
    at("migration.before_commit", ALL),
    at("migration.after_commit", ALL),
    at("group.before_commit", ALL),
    at("statement.before", ALL),
    at("statement.after", ALL),
    // The first ones take the lease, before anybody calls.
    Station { passes: 2, ..at("transaction.before_commit", ALL) },
    Station { passes: 2, ..at("transaction.after_commit", ALL) },
    // After the commit, before the relay gets to know of it; and after that, before the caller does.
    at("group.after_commit", ALL),
    at("group.before_reply", ALL),
    at("relay.before_publish", ALL),
    at("publisher.sent", ALL),
    at("relay.confirmed", ALL),
    at("relay.settled", ALL),
    at("consumer.received", ALL),
    at("consumer.before_commit", ALL),
    // What comes again is handled in a transaction. Orders has no inbox.
    Station { after: Some("consumer.committed"), ..at("consumer.remembered", &[MESH, PAYMENTS]) },
    Station { after: Some("consumer.committed"), ..at("consumer.written", ALL) },
    // After the commit, before the hooks that pass on what was decided; and after those.
    at("consumer.committed", ALL),
    at("consumer.before_ack", ALL),
    at("consumer.acknowledged", ALL),
    at("orders.before_end", &[MESH, ORDERS]),
    at("orders.after_end", &[MESH, ORDERS]),
];

const CLIENTS: usize = 3;

#[tokio::test]
async fn every_station_in_one_process_on_sqlite() -> Result<()> {
    every_station(&mut Site::embedded().await?, MESH).await
}

#[tokio::test]
async fn every_station_of_orders_on_postgres_and_rabbitmq() -> Result<()> {
    every_station(&mut Site::on_servers().await?, ORDERS).await
}

#[tokio::test]
async fn every_station_of_payments_on_postgres_and_rabbitmq() -> Result<()> {
    every_station(&mut Site::on_servers().await?, PAYMENTS).await
}

/// One after another on the same databases, so that the books hold all of it at the end.
async fn every_station(site: &mut Site, by: &'static str) -> Result<()> {
    for station in STATIONS.iter().filter(|station| station.by.contains(&by)) {
        let begun = Instant::now();
        cell(site, station, by).await.with_context(|| format!("{} at {}", by, station.name))?;
        eprintln!("{by} at {}: {:.1} s", station.name, begun.elapsed().as_secs_f64());
    }
    Ok(())
}

async fn cell(site: &mut Site, station: &Station, by: &'static str) -> Result<()> {
    if station.name.starts_with("migration.") {
        site.renew().await?;
    }
    site.start_all_but(by).await?;
    let mut journals = journals(station.name);
    if let Some(before) = station.after {
        crash(site, by, &format!("{before}=return"), &mut journals).await?;
    }
    crash(site, by, &format!("{}={}*off->return", station.name, station.passes), &mut journals).await?;
    site.start(by, "").await?;
    site.judge(PATIENCE)?.believes(&mut journals).await
}

fn journals(name: &str) -> Vec<Journal> {
    (0..CLIENTS).map(|client| Journal::of(format!("{name}-{client}"))).collect()
}

/// Starts a process that is to end by itself, and calls until it has.
async fn crash(site: &mut Site, by: &'static str, failpoints: &str, journals: &mut [Journal]) -> Result<()> {
    site.start(by, failpoints).await?;
    let mut calling = Vec::new();
    for journal in journals {
        calling.push(journal.go_on(Way::Grpc(site.calls()?)));
    }
    tokio::select! {
        crashed = site.crashed(by) => crashed,
        ended = try_join_all(calling) => ended.map(drop),
    }
}

/// The names in calls such as `failpoint::at("NAME")` of what is no test.
fn named_in_code(call: &str) -> Result<BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let (mut names, mut open) = (BTreeSet::new(), Vec::new());
    for package in fs::read_dir(&root)? {
        open.push(package?.path().join("src"));
    }
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let calls = text.split(call).skip(1);
            names.extend(calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    Ok(names)
}

#[test]
fn every_station_of_the_code_has_its_cells() -> Result<()> {
    let in_code = named_in_code("failpoint::at(\"")?;
    let in_table: BTreeSet<String> = STATIONS.iter().map(|station| station.name.to_owned()).collect();
    ensure!(in_code == in_table, "in the code: {in_code:?}\nin the table: {in_table:?}");
    Ok(())
}

/// The packages that a build of all binaries is made of, or of all that and the tests.
fn packages_with(edges: &str) -> Result<String> {
    let mut tree = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(["tree", "--workspace", "--offline", "--locked", "--prefix", "none", "--format", "{p} {f}"]);
    let output = tree.args(["--edges", edges]).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn what_ships_has_no_station() -> Result<()> {
    let has_stations = |packages: &str| packages.lines().any(|line| line.starts_with("fail v"));
    ensure!(!has_stations(&packages_with("normal,build")?), "the image is built with stations");
    ensure!(has_stations(&packages_with("normal,build,dev")?), "the tests are built without stations");
    Ok(())
}
