//! The examples of clients in Python and TypeScript, with stubs generated from the contracts, against a running mesh.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use world::{PATIENCE, Program, Scratch, eventually};

use crate::mesh::{Arrangement, EMBEDDED, Mesh};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a program printed. One that failed says why on either stream: the TypeScript compiler writes to the standard output.
async fn printed(command: &mut Command) -> Result<String> {
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

fn interpreter() -> Result<PathBuf> {
    let python = root().join("target/tools/python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    Ok(python)
}

async fn python(stubs: &Path, arguments: Vec<OsString>) -> Result<String> {
    printed(Command::new(interpreter()?).args(arguments).env("PYTHONPATH", stubs).current_dir(stubs)).await
}

/// Generates the stubs for Python.
async fn generate(stubs: &Path) -> Result<()> {
    let proto = root().join("proto").canonicalize()?;
    let mut generate: Vec<OsString> =
        ["-m", "grpc_tools.protoc", "--python_out=.", "--grpc_python_out=."].map(OsString::from).to_vec();
    generate.push(format!("--proto_path={}", proto.display()).into());
    generate.extend(contracts(&proto, &proto)?.into_iter().map(PathBuf::into_os_string));
    python(stubs, generate).await.map(drop)
}

/// Every contract, by its path below `proto/`.
fn contracts(folder: &Path, below: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(contracts(&path, below)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path.strip_prefix(below)?.to_owned());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn the_python_example_places_an_order() -> Result<()> {
    let (mesh, stubs) = (Mesh::start(EMBEDDED).await?, Scratch::new("stubs")?);
    generate(stubs.path()).await?;
    let example = root().join("examples/python/place_order.py").canonicalize()?;
    for _run in 0..2 {
        let addresses = [mesh.orders.to_string().into(), mesh.payments.to_string().into()];
        let arguments = [example.clone().into_os_string()].into_iter().chain(addresses).collect();
        let said = python(stubs.path(), arguments).await?;
        ensure!(said.ends_with("version 2: FINISHED\n"), "{said}");
    }
    // The second run repeated the first one's keys.
    ensure!(mesh.balance("python").await? == 700);
    mesh.at_rest().await
}

/// With the permissions of docs/NEIGHBOURS.md, and no others.
#[tokio::test]
async fn the_python_example_follows_the_events() -> Result<()> {
    let mesh = Mesh::start(Arrangement { own_broker: true, rabbitmq: true, ..EMBEDDED }).await?;
    let (rabbitmq, stubs) = (mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?, Scratch::new("stubs")?);
    generate(stubs.path()).await?;
    let read = "^ordermesh\\.(orders\\.v1\\.OrderPlaced|payments\\.v1\\.PaymentDecided)\\.";
    for command in [
        &["add_user", "shop", "secret"][..],
        &["set_permissions", "shop", "^shop\\.", "^shop\\.", "^(ordermesh\\.events|shop\\..*)$"],
        &["set_topic_permissions", "shop", "ordermesh.events", "^$", read],
    ] {
        rabbitmq.control(command).await?;
    }
    rabbitmq.has_exchange(ordermesh::EVENTS_EXCHANGE).await?;
    let example = root().join("examples/python/follow_events.py").canonicalize()?.display().to_string();
    let url = rabbitmq.amqp_url().replace("guest:guest", "shop:secret");
    let program = Program::at(&interpreter()?).args([example, url, "2".to_owned()]);
    let mut follower = program.env("PYTHONPATH", stubs.path().display().to_string()).start()?;
    eventually("its queue to be bound", PATIENCE, async || {
        let said = follower.output();
        ensure!(said.contains("bound"), "{said}");
        anyhow::Ok(())
    })
    .await?;
    mesh.account("alice", 1_000).await?;
    let order = mesh.order("alice", 300).await?;
    mesh.ended(&order).await?;
    let status = follower.wait(PATIENCE).await?;
    let said = follower.output();
    ensure!(status.success() && said.ends_with("bound\nalice owes 300 RUB\nalice has PAID\n"), "{said}");
    mesh.at_rest().await
}

#[tokio::test]
async fn the_typescript_example_places_an_order() -> Result<()> {
    let (mesh, scratch) = (Mesh::start(EMBEDDED).await?, Scratch::new("typescript")?);
    let folder = scratch.path();
    let packages = root().join("target/tools/typescript/node_modules");
    ensure!(packages.is_dir(), "{} is missing: run scripts/setup", packages.display());
    symlink(packages.canonicalize()?, folder.join("node_modules"))?;
    for file in ["package.json", "tsconfig.json", "buf.gen.yaml", "place_order.ts"] {
        fs::copy(root().join("examples/typescript").join(file), folder.join(file))?;
    }
    let proto = root().join("proto").canonicalize()?;
    let tool = |name: &str| Command::new(folder.join("node_modules/.bin").join(name));
    let mut buf = tool("buf");
    buf.arg("generate").arg(proto).env("BUF_CACHE_DIR", folder.join("cache"));
    printed(buf.current_dir(folder)).await?;
    printed(tool("tsc").current_dir(folder)).await?;

    for _run in 0..2 {
        let addresses = [mesh.orders.to_string(), mesh.payments.to_string()];
        let said =
            printed(Command::new("node").arg(folder.join("built/place_order.js")).args(addresses)).await?;
        ensure!(said.ends_with("version 2: FINISHED\n"), "{said}");
    }
    // The second run repeated the first one's keys.
    ensure!(mesh.balance("typescript").await? == 700);
    mesh.at_rest().await
}
