//! The example of a client in Python, with stubs generated from the contracts, against a running mesh.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Output,
};

use anyhow::{Result, ensure};
use tokio::process::Command;
use world::Scratch;

use crate::mesh::{EMBEDDED, Mesh};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn python(stubs: &Path, arguments: Vec<OsString>) -> Result<Output> {
    let python = root().join("target/tools/python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    let mut command = Command::new(python);
    command.args(arguments).env("PYTHONPATH", stubs).current_dir(stubs).kill_on_drop(true);
    let output = command.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}

/// Every contract, by its path below `proto/`.
fn contracts(folder: &Path, below: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
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
    let proto = root().join("proto").canonicalize()?;
    let mut generate: Vec<OsString> =
        ["-m", "grpc_tools.protoc", "--python_out=.", "--grpc_python_out=."].map(OsString::from).to_vec();
    generate.push(format!("--proto_path={}", proto.display()).into());
    generate.extend(contracts(&proto, &proto)?.into_iter().map(PathBuf::into_os_string));
    python(stubs.path(), generate).await?;

    let example = root().join("examples/python/place_order.py").canonicalize()?;
    for _run in 0..2 {
        let addresses = [mesh.orders.to_string().into(), mesh.payments.to_string().into()];
        let arguments = [example.clone().into_os_string()].into_iter().chain(addresses).collect();
        let output = python(stubs.path(), arguments).await?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(said.ends_with("version 2: FINISHED\n"), "{said}");
    }
    // The second run repeated the first one's keys.
    ensure!(mesh.balance("python").await? == 700);
    mesh.at_rest().await
}
