//! `ordermesh backup` and the commands of docs/BACKUP.md.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, Statement};
use tokio::process::Command;
use world::{PATIENCE, Postgres, Program, Scratch, SmallDisk, eventually};

use crate::{
    mesh::Mesh,
    reconciliation::{is_right, often},
    reconciliation_restored::back_up,
};

/// Backups while orders come in.
const BACKUPS: usize = 5;

#[tokio::test]
async fn backups_under_load_are_of_one_instant_and_can_be_started() -> Result<()> {
    let scratch = Scratch::new("backup")?;
    let data = scratch.path().join("data");
    fs::create_dir(&data)?;
    let mesh = Mesh::start_in_with(&data, &often()).await?;
    mesh.account("alice", 1_000_000).await?;
    let is_over = AtomicBool::new(false);
    let load = async {
        while !is_over.load(Ordering::Relaxed) {
            futures_util::future::try_join_all((0..16).map(|_| mesh.order("alice", 1))).await?;
        }
        anyhow::Ok(())
    };
    let backups = async {
        let made = async {
            for number in 0..BACKUPS {
                // Of two instants, a decision would be there without its order, or the end of an order without its decision.
                let said = back_up(&data, &scratch.path().join(format!("backup-{number}"))).await?;
                ensure!(said.contains("1 accounts") && said.contains("and 0 orders differ"), "{said}");
            }
            Ok(())
        };
        let made = made.await;
        is_over.store(true, Ordering::Relaxed);
        made
    };
    let (load, backups) = join(load, backups).await;
    backups.and(load)?;

    let last = scratch.path().join(format!("backup-{}", BACKUPS - 1));
    let names: Vec<_> = fs::read_dir(&last)?.flatten().map(|file| file.file_name()).collect();
    ensure!(names.len() == 2, "more than the two files: {names:?}");
    let mut again = backup(&data, &last)?.start()?;
    ensure!(!again.wait(PATIENCE).await?.success(), "it overwrites");
    ensure!(again.output().contains("overwrites nothing"), "{}", again.output());
    drop(mesh);

    // What was on its way arrives, and everything is right.
    let restored = Mesh::start_in_with(&last, &often()).await?;
    restored.at_rest().await?;
    let orders = restored.count("orders", "SELECT COUNT(*) FROM orders WHERE status <> 1").await?;
    let all = restored.count("orders", "SELECT COUNT(*) FROM orders").await?;
    ensure!(orders == all && all > 0, "{orders} of {all} have ended");
    is_right(&restored, usize::try_from(all)?).await
}

#[tokio::test]
async fn what_is_no_mesh_or_is_damaged_leaves_no_backup() -> Result<()> {
    let scratch = Scratch::new("backup")?;
    let (data, out) = (scratch.path().join("data"), scratch.path().join("out"));
    fs::create_dir(&data)?;
    let fails = async |text: &str| {
        let mut backup = backup(&data, &out)?.start()?;
        ensure!(!backup.wait(PATIENCE).await?.success(), "{}", backup.output());
        ensure!(backup.output().contains(text), "{}", backup.output());
        let files =
            fs::read_dir(scratch.path())?.flatten().map(|file| file.file_name().display().to_string());
        let left: Vec<_> = files.filter(|name| name.starts_with("out")).collect();
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    };
    fails("there is no ").await?;
    let mut mesh = Mesh::start_in(&data).await?;
    mesh.account("alice", 10).await?;
    mesh.stop().await?;
    mesh.tamper("payments", "UPDATE accounts SET balance = 11").await?;
    fails("1 balances that are not the sum of their entries").await
}

/// A mesh that has stopped, with the account of one user.
async fn stopped(data: &Path) -> Result<()> {
    fs::create_dir(data)?;
    let mut mesh = Mesh::start_in(data).await?;
    mesh.account("alice", 10).await?;
    mesh.stop().await
}

/// A writer of payments that does not let go: a backup waits for it.
async fn hold(data: &Path) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(format!("sqlite:{}/payments.db", data.display()));
    options.max_connections(1);
    let writer = Database::connect(options).await?;
    writer.execute_unprepared("BEGIN IMMEDIATE").await?;
    Ok(writer)
}

#[tokio::test]
async fn nothing_starts_from_an_attempt_that_was_killed() -> Result<()> {
    let scratch = Scratch::new("backup")?;
    let (data, out) = (scratch.path().join("data"), scratch.path().join("out"));
    stopped(&data).await?;
    let writer = hold(&data).await?;
    let mut killed = backup(&data, &out)?.start()?;
    let partial = eventually("the folder of the attempt", PATIENCE, async || {
        let mut names = fs::read_dir(scratch.path())?.flatten().map(|folder| folder.path());
        names.find(|path| path.join("INCOMPLETE").is_file()).context("no folder is marked")
    });
    let partial = partial.await?;
    killed.kill9().await?;
    writer.execute_unprepared("ROLLBACK").await?;
    writer.close().await?;
    ensure!(!out.exists(), "it has the name of a backup");

    // Where it would have come to next.
    fs::copy(data.join("orders.db"), partial.join("orders.db"))?;
    let folder = partial.display().to_string();
    let ordermesh =
        |command: &str| anyhow::Ok(Program::named("ordermesh")?.args([command, "--data-dir", &folder]));
    let listeners = ["--http", "--orders-grpc", "--payments-grpc", "--admin"];
    let service = Program::named("orders")?.args(["migrate"]).env("AMQP_URL", "amqp://127.0.0.1:1");
    for program in [
        listeners.iter().fold(ordermesh("up")?, |up, flag| up.args([*flag, "127.0.0.1:0"])),
        ordermesh("migrate")?,
        backup(&partial, &out)?,
        service.env("DATABASE_URL", format!("sqlite:{folder}/orders.db")),
    ] {
        let mut process = program.start()?;
        ensure!(!process.wait(PATIENCE).await?.success(), "{}", process.output());
        ensure!(process.output().contains("a backup that was not finished"), "{}", process.output());
    }
    ensure!(!partial.join("payments.db").exists(), "an empty database was made");

    back_up(&data, &out).await?;
    ensure!(!partial.exists(), "a later backup with this name leaves it");
    let restored = Mesh::start_in(&out).await?;
    ensure!(restored.balance("alice").await? == 10, "another balance");
    Ok(())
}

#[tokio::test]
async fn what_is_stopped_leaves_nothing() -> Result<()> {
    let scratch = Scratch::new("backup")?;
    let (data, out) = (scratch.path().join("data"), scratch.path().join("out"));
    stopped(&data).await?;
    let writer = hold(&data).await?;
    let partials = || {
        let names = fs::read_dir(scratch.path())?.flatten().map(|folder| folder.path());
        anyhow::Ok(names.filter(|path| path.join("INCOMPLETE").is_file()).collect::<Vec<_>>())
    };
    let mut going_on = backup(&data, &out)?.start()?;
    eventually("the folder of the attempt", PATIENCE, async || {
        ensure!(partials()?.len() == 1, "no folder is marked");
        Ok(())
    })
    .await?;
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut stopped = backup(&data, &out)?.start()?;
        eventually("the folder of the next attempt", PATIENCE, async || {
            ensure!(partials()?.len() == 2, "{:?}", partials()?);
            Ok(())
        })
        .await?;
        kill(Pid::from_raw(i32::try_from(stopped.pid())?), signal)?;
        ensure!(!stopped.wait(PATIENCE).await?.success(), "{}", stopped.output());
        ensure!(stopped.output().contains("stopped before the backup was complete"), "{}", stopped.output());
        ensure!(
            partials()?.len() == 1,
            "of two attempts there should be the one that goes on: {:?}",
            partials()?
        );
    }
    writer.execute_unprepared("ROLLBACK").await?;
    writer.close().await?;
    ensure!(going_on.wait(PATIENCE).await?.success(), "{}", going_on.output());
    ensure!(out.join("payments.db").is_file() && partials()?.is_empty(), "no backup");
    Ok(())
}

#[tokio::test]
async fn a_full_disk_leaves_no_backup() -> Result<()> {
    let (scratch, disk) = (Scratch::new("backup")?, SmallDisk::mount("backup", 64)?);
    let data = scratch.path().join("data");
    stopped(&data).await?;
    let mut full = backup(&data, &disk.path().join("out"))?.start()?;
    ensure!(!full.wait(PATIENCE).await?.success(), "{}", full.output());
    ensure!(full.output().contains("cannot copy orders.db"), "{}", full.output());
    let left: Vec<_> = fs::read_dir(disk.path())?.flatten().map(|file| file.file_name()).collect();
    ensure!(left.is_empty(), "left: {left:?}");
    Ok(())
}

fn backup(data: &Path, out: &Path) -> Result<Program> {
    Ok(Program::named("ordermesh")?.args(["backup", "--data-dir"]).args([
        data.display().to_string(),
        "--out".to_owned(),
        out.display().to_string(),
    ]))
}

/// The blocks of docs/BACKUP.md below a heading.
fn blocks(heading: &str) -> Result<Vec<String>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/BACKUP.md"))?;
    let section = page.split(&format!("\n## {heading}\n")).nth(1).with_context(|| heading.to_owned())?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let blocks: Vec<String> = blocks.map(str::to_owned).collect();
    ensure!(!blocks.is_empty(), "no commands below {heading}");
    Ok(blocks)
}

/// Runs a block with our programs, those of the server and those of the search path.
async fn run(
    script: &str,
    folder: &Path,
    postgres: Option<&Postgres>,
    env: &[(&str, String)],
) -> Result<String> {
    let programs = Program::named("ordermesh")?.binary().parent().context("a folder")?.to_owned();
    let along_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [programs].into_iter().chain(postgres.map(|server| server.binaries().to_owned()));
    let path = std::env::join_paths(folders.chain(std::env::split_paths(&along_path)))?;
    let mut shell = Command::new("bash");
    shell.args(["-euxc", script]).current_dir(folder).env("PATH", path).kill_on_drop(true);
    shell.envs(env.iter().map(|(name, value)| (name, value)));
    let output = shell.output().await?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{script}: {out}{error}");
    Ok(out.into_owned())
}

#[tokio::test]
async fn the_commands_for_the_embedded_mesh() -> Result<()> {
    let scratch = Scratch::new("backup")?;
    let data = scratch.path().join("data");
    fs::create_dir(&data)?;
    let mesh = Mesh::start_in(&data).await?;
    mesh.account("alice", 10).await?;
    let id = mesh.order("alice", 3).await?;
    mesh.ended(&id).await?;
    for block in blocks("The embedded mesh")? {
        run(&block, scratch.path(), None, &[]).await?;
    }
    let restored = Mesh::start_in(&scratch.path().join("backup")).await?;
    ensure!(restored.balance("alice").await? == 7, "another balance");
    Ok(())
}

#[tokio::test]
async fn the_commands_for_postgresql() -> Result<()> {
    let scratch = Scratch::new("backup")?;
    let postgres = Postgres::start().await?;
    let mut env = Vec::new();
    for service in ["orders", "payments"] {
        postgres.create_database(service).await?;
        let url = postgres.url(service);
        let migrate = Program::named(service)?.args(["migrate"]).env("AMQP_URL", "amqp://127.0.0.1:1");
        let mut migrate = migrate.env("DATABASE_URL", &url).start()?;
        ensure!(migrate.wait(PATIENCE).await?.success(), "{}", migrate.output());
        mark(&url, service).await?;
        env.push((if service == "orders" { "ORDERS_URL" } else { "PAYMENTS_URL" }, url));
    }
    env.push(("SERVER_URL", postgres.url("postgres")));
    for block in blocks("PostgreSQL")? {
        run(&block, scratch.path(), Some(&postgres), &env).await?;
    }
    let base = Postgres::start_on(&scratch.path().join("base")).await?;
    for service in ["orders", "payments"] {
        let restored = format!("{service}_restored");
        let tables = postgres.dump(&restored).await?;
        ensure!(tables.contains(&format!("CREATE TABLE public.{service}")), "{restored} has no {service}");
        is_marked(&postgres.url(&restored), service).await?;
        is_marked(&base.url(service), service).await?;
    }
    Ok(())
}

/// Writes something into a database.
async fn mark(url: &str, text: &str) -> Result<()> {
    let database = Database::connect(url).await?;
    let mark = format!("CREATE TABLE mark (text TEXT); INSERT INTO mark VALUES ('{text}')");
    database.execute_unprepared(&mark).await?;
    Ok(database.close().await?)
}

/// Makes sure that it is there.
async fn is_marked(url: &str, text: &str) -> Result<()> {
    let database = Database::connect(url).await?;
    let select = Statement::from_string(DbBackend::Postgres, "SELECT text FROM mark");
    let row = database.query_one_raw(select).await?.with_context(|| format!("{url} has no mark"))?;
    let found: String = row.try_get_by_index(0)?;
    database.close().await?;
    ensure!(found == text, "{url} has the mark of {found}");
    Ok(())
}
