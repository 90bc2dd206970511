//! The web pages: built of their sources, and used in a browser in front of a running mesh.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result, ensure};
use chassis::status::{Reason, Repetition};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
};
use world::{Port, Process, Program, Scratch};

use crate::{
    admin_cli::POISON,
    mesh::{ADMIN_TOKEN, EMBEDDED, Mesh},
    reconciliation::{LOSE, often},
};

/// Another cause than [`POISON`], for another user.
const VENOM: &str = "CREATE TRIGGER hinder_others BEFORE INSERT ON payments WHEN NEW.user_id = 'venom'
        BEGIN SELECT RAISE(ABORT, 'the venom works'); END";

fn root() -> Result<PathBuf> {
    Ok(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?)
}

/// Every file below a folder, by its path from there.
fn files(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).with_context(|| at.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder)?.to_owned(), fs::read(&path)?);
            }
        }
    }
    Ok(found)
}

/// `scripts/pages` with these arguments.
async fn pages(arguments: &[&str]) -> Result<()> {
    let output =
        Command::new(root()?.join("scripts/pages")).args(arguments).kill_on_drop(true).output().await?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    ensure!(output.status.success(), "{}", said.concat());
    Ok(())
}

#[track_caller]
fn are_the_same(checked_in: &Path, made: &Path) -> Result<()> {
    let (checked_in, made) = (files(checked_in)?, files(made)?);
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    ensure!(names(&checked_in) == names(&made), "{:?}, made were {:?}", names(&checked_in), names(&made));
    let differ: Vec<_> = checked_in.iter().filter(|(name, bytes)| made[*name] != **bytes).collect();
    let differ: Vec<_> = differ.iter().map(|(name, _)| name).collect();
    ensure!(differ.is_empty(), "{differ:?} are not what scripts/pages makes");
    Ok(())
}

/// What the binary holds is what its sources make, and types are those of the documents that are served.
#[tokio::test]
async fn pages_and_types_are_made_of_what_is_there() -> Result<()> {
    let (mesh, scratch) = (Mesh::start(EMBEDDED).await?, Scratch::new("pages")?);
    let (dist, types) = (scratch.path().join("dist"), scratch.path().join("api"));
    fs::create_dir(&types)?;
    let text = |path: &Path| path.to_str().map(str::to_owned).context("a path is UTF-8");
    pages(&["--types", mesh.api.base(), mesh.admin("orders")?.base(), &text(&types)?]).await?;
    are_the_same(&root()?.join("console/web/api"), &types)?;
    pages(&[&text(&dist)?]).await?;
    are_the_same(&root()?.join("console/dist"), &dist)
}

/// What a page sends again by itself is what the catalogue of errors lets be repeated, and nothing else.
#[test]
fn pages_repeat_what_the_catalogue_says() -> Result<()> {
    let source = fs::read_to_string(root()?.join("console/web/parts/fault.ts"))?;
    let list = source.split_once("const REPEATABLE").and_then(|(_, behind)| behind.split_once("];"));
    let (list, _) = list.context("a list of reasons")?;
    let repeated: BTreeSet<&str> = list.split('\'').skip(1).step_by(2).collect();
    let all = Reason::ALL.iter().filter(|reason| reason.repetition() != Repetition::Never);
    let repeatable: BTreeSet<&str> = all.map(|reason| reason.as_str()).collect();
    ensure!(repeated == repeatable, "{repeated:?} and not {repeatable:?}");
    Ok(())
}

/// What a script of `console/browser` asks for while it runs.
trait Hands {
    /// Does it, and returns what the script gets.
    async fn does(&mut self, what: &str) -> Result<String>;
}

/// Runs a script of `console/browser` with these variables.
async fn browses(script: &str, env: &[(&str, &str)], hands: &mut impl Hands) -> Result<()> {
    let root = root()?;
    let packages = root.join("target/tools/console");
    ensure!(packages.join("node_modules").is_dir(), "{} is missing: run scripts/setup", packages.display());
    let home = Scratch::new("browser")?;
    let python = root.join("target/tools/python/bin/python");
    let grpcurl = format!("'{}' '{}'", python.display(), root.join("tests/e2e/grpcurl.py").display());
    let mut node = Command::new("node")
        .arg(root.join("console/browser").join(script))
        .envs(env.iter().copied())
        .env("PACKAGES", packages)
        .env("GRPCURL", grpcurl)
        // The browser writes there.
        .env("HOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut answers = node.stdin.take().context("it has an input")?;
    let mut lines = BufReader::new(node.stdout.take().context("it has an output")?).lines();
    let mut errors = node.stderr.take().context("it has another one")?;
    let errors = tokio::spawn(async move {
        let mut text = String::new();
        errors.read_to_string(&mut text).await.map(|_| text)
    });
    while let Some(line) = lines.next_line().await? {
        match line.strip_prefix("ask ") {
            Some(what) => {
                let answer = hands.does(what).await.with_context(|| what.to_owned())?;
                answers.write_all(format!("{answer}\n").as_bytes()).await?;
            }
            None => eprintln!("{line}"),
        }
    }
    let status = node.wait().await?;
    ensure!(status.success(), "{script}: {}", errors.await??);
    Ok(())
}

/// An edge of its own in front of a mesh, that can be killed and started again where it was.
struct Edge {
    program: Program,
    process: Option<Process>,
}

impl Edge {
    async fn up(&mut self) -> Result<()> {
        let mut process = self.program.start()?;
        process.address("http").await?;
        self.process = Some(process);
        Ok(())
    }
}

impl Hands for Edge {
    async fn does(&mut self, what: &str) -> Result<String> {
        match what {
            "edge down" => drop(self.process.take().context("it runs")?.kill9().await?),
            "edge up" => self.up().await?,
            _ => anyhow::bail!("nobody does {what:?}"),
        }
        Ok("done".to_owned())
    }
}

/// The edge has the shop and nothing of the operator's, and the admin listener the other way round. Who is no browser gets JSON at `/`.
async fn each_listener_has_its_own(mesh: &Mesh) -> Result<()> {
    let admin = mesh.admin("orders")?;
    let start = mesh.api.get("/").await?;
    ensure!(start.body["name"] == "ordermesh" && start.body["shop"] == "shop/", "{}", start.text);
    for (listener, path, status) in [
        (&mesh.api, "/shop/", 200),
        (&mesh.api, "/console/", 404),
        (admin, "/console/", 200),
        (admin, "/shop/", 404),
        (admin, "/", 404),
    ] {
        let answer = listener.get(path).await?;
        ensure!(answer.status == status, "{path} of {}: {}", listener.base(), answer.text);
    }
    // What is not there is answered as all that is not there.
    let missing = mesh.api.get("/shop/nothing.js").await?;
    ensure!(missing.body["error"]["details"][0]["reason"] == "ROUTE_NOT_FOUND", "{}", missing.text);
    Ok(())
}

#[tokio::test]
async fn the_shop_in_a_browser() -> Result<()> {
    let (mesh, port) = (Mesh::start(EMBEDDED).await?, Port::reserve()?);
    let program = Program::named("gateway")?
        .args(["--listen".to_owned(), port.address().to_string()])
        .args(["--admin", "127.0.0.1:0"])
        .args(["--orders-url".to_owned(), format!("http://{}", mesh.orders)])
        .args(["--payments-url".to_owned(), format!("http://{}", mesh.payments)]);
    let mut edge = Edge { program, process: None };
    edge.up().await?;
    each_listener_has_its_own(&mesh).await?;
    let url = format!("http://{}", port.address());
    let env = [("EDGE", url.as_str()), ("ADMIN", mesh.admin("orders")?.base()), ("ADMIN_TOKEN", ADMIN_TOKEN)];
    browses("shop.mjs", &env, &mut edge).await?;
    mesh.at_rest().await
}

/// Makes tokens of the mesh with this data directory.
struct Mint(PathBuf);

impl Hands for Mint {
    async fn does(&mut self, what: &str) -> Result<String> {
        let words: Vec<&str> = what.split(' ').collect();
        let ["token", user, lasts, ref scopes @ ..] = words[..] else {
            anyhow::bail!("nobody does {what:?}")
        };
        let program = Program::named("ordermesh")?;
        let mut command = Command::new(program.binary());
        command.env("DATA_DIR", &self.0).args(["token", "--user", user, "--for", lasts]);
        command.args(scopes.iter().flat_map(|scope| ["--scope", scope]));
        let output = command.output().await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

#[tokio::test]
async fn both_pages_with_tokens_in_a_browser() -> Result<()> {
    let data = Scratch::new("shop")?;
    let env = [("AUTH", "dev".to_owned()), ("DATA_DIR", data.path().display().to_string())];
    let mesh = Mesh::start_with(EMBEDDED, &env).await?;
    let env = [("EDGE", mesh.api.base()), ("ADMIN", mesh.admin("orders")?.base())];
    browses("tokens.mjs", &env, &mut Mint(data.path().to_owned())).await?;
    mesh.at_rest().await
}

#[tokio::test]
async fn swagger_ui_takes_a_token_in_a_browser() -> Result<()> {
    let data = Scratch::new("swagger")?;
    let env = [("AUTH", "dev".to_owned()), ("DATA_DIR", data.path().display().to_string())];
    let (mesh, open) = (Mesh::start_with(EMBEDDED, &env).await?, Mesh::start(EMBEDDED).await?);
    let env = [("EDGE", mesh.api.base()), ("OPEN", open.api.base())];
    browses("swagger.mjs", &env, &mut Mint(data.path().to_owned())).await
}

/// Somebody who breaks the database of payments, and mends it.
struct Breaker<'m>(&'m Mesh);

impl Hands for Breaker<'_> {
    async fn does(&mut self, what: &str) -> Result<String> {
        match what {
            "poison" => self.0.tamper("payments", POISON).await?,
            "venom" => self.0.tamper("payments", VENOM).await?,
            "cure" => self.0.tamper("payments", "DROP TRIGGER hinder").await?,
            "cure venom" => self.0.tamper("payments", "DROP TRIGGER hinder_others").await?,
            "lose" => self.0.tamper("payments", LOSE).await?,
            "keep" => self.0.tamper("payments", "DROP TRIGGER lose").await?,
            _ => anyhow::bail!("nobody does {what:?}"),
        }
        Ok("done".to_owned())
    }
}

impl Hands for (Mint, Breaker<'_>) {
    async fn does(&mut self, what: &str) -> Result<String> {
        let (mint, breaker) = self;
        if what.starts_with("token ") { mint.does(what).await } else { breaker.does(what).await }
    }
}

/// Something is parked, paused, redriven and different while somebody looks who may not act.
#[tokio::test]
async fn who_only_reads_in_a_browser() -> Result<()> {
    let data = Scratch::new("readers")?;
    let mut env: Vec<_> = often().into_iter().filter(|(name, _)| *name != "ADMIN_TOKEN").collect();
    env.extend([("AUTH", "dev".to_owned()), ("DATA_DIR", data.path().display().to_string())]);
    let mesh = Mesh::start_with(EMBEDDED, &env).await?;
    let env = [("EDGE", mesh.api.base()), ("ADMIN", mesh.admin("orders")?.base())];
    let mut hands = (Mint(data.path().to_owned()), Breaker(&mesh));
    browses("readonly.mjs", &env, &mut hands).await?;
    mesh.at_rest().await
}

/// Runs a script in front of a mesh of its own, with these settings.
async fn browses_a_mesh(script: &str, settings: &[(&'static str, String)]) -> Result<()> {
    let mesh = Mesh::start_with(EMBEDDED, settings).await?;
    let (edge, admin) = (mesh.api.base(), mesh.admin("orders")?.base());
    let env = [("EDGE", edge), ("ADMIN", admin), ("ADMIN_TOKEN", ADMIN_TOKEN)];
    browses(script, &env, &mut Breaker(&mesh)).await?;
    mesh.at_rest().await
}

#[tokio::test]
async fn the_lists_of_the_shop_in_a_browser() -> Result<()> {
    browses_a_mesh("lists.mjs", &[]).await
}

/// Runs with nothing else beside it (`.config/nextest.toml`): a processor that is shared makes processor time longer, too.
#[tokio::test]
async fn the_frames_of_the_shop_in_a_browser() -> Result<()> {
    browses_a_mesh("frames.mjs", &[]).await
}

#[tokio::test]
async fn both_pages_by_keyboard_and_screen_reader() -> Result<()> {
    browses_a_mesh("reader.mjs", &[("ORDER_TTL", "1h".to_owned())]).await
}

#[tokio::test]
async fn the_shop_for_everybody_in_a_browser() -> Result<()> {
    browses_a_mesh("people.mjs", &[]).await
}

#[tokio::test]
async fn the_operations_room_in_a_browser() -> Result<()> {
    // Orders asks about none again by itself within the time of the test: what was discarded would be there again.
    browses_a_mesh("operations.mjs", &[("ORDER_TTL", "1h".to_owned())]).await
}

#[tokio::test]
async fn one_and_some_are_redriven_in_a_browser() -> Result<()> {
    browses_a_mesh("redrive.mjs", &[("ORDER_TTL", "1h".to_owned())]).await
}

#[tokio::test]
async fn the_lines_that_the_pages_show_do_what_is_shown() -> Result<()> {
    browses_a_mesh("commands.mjs", &[]).await
}

#[tokio::test]
async fn the_records_of_the_operations_room_in_a_browser() -> Result<()> {
    browses_a_mesh("records.mjs", &often()).await
}
