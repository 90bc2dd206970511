//! Writes to the disk that fail, at any moment of a commit or a checkpoint: what was acknowledged is kept, also after a crash.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::StatusCode;
use serde_json::json;
use world::{PATIENCE, Scratch, eventually};

use crate::mesh::Mesh;

const USERS: usize = 8;
const ROUNDS: u64 = 12;
/// In bytes: nothing can be written, or only the first parts of a file.
const LIMITS: [u64; 4] = [0, 6_000, 40_000, 200_000];

/// What clients were answered.
#[derive(Debug, Default)]
struct Journal {
    orders: Mutex<Vec<String>>,
    /// By each top-up's key: its user, and the answer.
    top_ups: Mutex<BTreeMap<String, (String, String)>>,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

#[tokio::test]
async fn what_is_acknowledged_under_failing_writes_survives_a_crash() -> Result<()> {
    let data = Scratch::new("disk-errors")?;
    let mut mesh = Mesh::start_limitable(data.path()).await?;
    for user in 0..USERS {
        mesh.account(&format!("user-{user}"), 1_000_000).await?;
    }
    let (journal, over) = (Journal::default(), AtomicBool::new(false));
    let clients = try_join_all((0..USERS).map(|user| client(&mesh, user, &journal, &over)));
    let faults = async {
        for round in 0..ROUNDS {
            let limit = LIMITS[usize::try_from(round)? % LIMITS.len()];
            mesh.processes[0].limit_files(Some(limit))?;
            counts_on("a write to be refused", &journal.refused, 20).await?;
            mesh.processes[0].limit_files(None)?;
            counts_on("writes to be accepted again", &journal.accepted, 100).await?;
        }
        over.store(true, Relaxed);
        anyhow::Ok(())
    };
    let (made, faulted) = tokio::join!(clients, faults);
    faulted?;
    made?;

    mesh.processes[0].kill9().await?;
    mesh.start_again().await?;
    let orders = journal.orders.into_inner().unwrap_or_else(PoisonError::into_inner);
    for id in &orders {
        let order = mesh.ended(id).await?;
        ensure!(order["status"] == "FINISHED", "{order}");
    }
    for (key, (user, answer)) in &journal.top_ups.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let again = mesh.api.post_with_key(&path(user), key, &json!({ "amount": 1 })).await?;
        ensure!(again.header("idempotency-replayed") == Some("true"), "{key} was lost: {}", again.text);
        ensure!(again.text == *answer, "{key}: {answer} has become {}", again.text);
    }
    mesh.at_rest().await?;
    let (succeeded, broken) = crate::check::check(&mesh).await?;
    ensure!(succeeded && broken.is_empty(), "{broken:?}");
    Ok(())
}

/// Waits until so many more are counted.
async fn counts_on(what: &str, count: &AtomicUsize, more: usize) -> Result<()> {
    let before = count.load(Relaxed);
    eventually(what, PATIENCE, async || {
        let now = count.load(Relaxed);
        ensure!(now >= before + more, "{} so far", now - before);
        anyhow::Ok(())
    })
    .await
}

/// Places an order and tops up, in turns, until it is over.
async fn client(mesh: &Mesh, user: usize, journal: &Journal, over: &AtomicBool) -> Result<()> {
    let user = format!("user-{user}");
    let mut turn = 0;
    while !over.load(Relaxed) {
        turn += 1;
        let placed = mesh.api.post("/gateway/orders", &json!({ "userId": user, "amount": 1 })).await?;
        if accepted(journal, placed.status)? {
            let id = placed.body["id"].as_str().context("an order has an id")?.to_owned();
            journal.orders.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        }
        let key = format!("{user}-{turn}");
        let topped_up = mesh.api.post_with_key(&path(&user), &key, &json!({ "amount": 1 })).await?;
        if accepted(journal, topped_up.status)? {
            let answered = (user.clone(), topped_up.text);
            journal.top_ups.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answered);
        }
    }
    Ok(())
}

fn accepted(journal: &Journal, status: StatusCode) -> Result<bool> {
    ensure!([200, 503, 504].contains(&status.as_u16()), "answered with {status}");
    let accepted = status == StatusCode::OK;
    let count = if accepted { &journal.accepted } else { &journal.refused };
    count.fetch_add(1, Relaxed);
    Ok(accepted)
}

fn path(user: &str) -> String {
    format!("/gateway/payments/{user}/top-up")
}
