//! A rolling upgrade and back under load: an older version migrates and serves, and one process after the other is replaced by one of this version,
//! which migrates beside it; then back again. `just matrix upgrade`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;
use world::eventually;

use super::{
    CLIENTS, binaries, clients, judged, random,
    stage::{Member, REST, Stage},
    timeline::Timeline,
    variable, watched,
};
use crate::journal::{Journal, Way};

/// So many answers come between two replacements, of which each gateway and each process of a service gives some.
const ANSWERS: u64 = 60;

/// `UPGRADE_FROM` is the folder with the binaries of the older version, `UPGRADE_ROUNDS` how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the binaries of another version"]
async fn for_rounds() -> Result<()> {
    let older: PathBuf = variable("UPGRADE_FROM")?.context("UPGRADE_FROM names no folder of binaries")?;
    let rounds = variable("UPGRADE_ROUNDS")?.unwrap_or(1);
    let upgrades = async |stage: &mut Stage, journals: &mut [Journal], timeline: &Timeline| {
        act(stage, journals, timeline, &older, rounds).await
    };
    watched("upgrade", &older, upgrades).await
}

async fn act(
    stage: &mut Stage,
    journals: &mut [Journal],
    timeline: &Timeline,
    older: &Path,
    rounds: usize,
) -> Result<()> {
    let (ways, newer) = (stage.ways()?, binaries()?);
    let there_and_back = async {
        for round in 1..=rounds {
            forward(&mut stage.members, &newer, timeline).await?;
            back(&mut stage.members, older, timeline).await?;
            timeline.say(&format!("round {round} of {rounds}: upgraded and back"));
        }
        Ok(())
    };
    under_load(journals, &ways, timeline, 0, there_and_back).await?;
    judged(stage, journals, timeline, "back on the older version").await?;
    under_load(journals, &ways, timeline, CLIENTS, forward(&mut stage.members, &newer, timeline)).await?;
    stage.run().await?;
    judged(stage, journals, timeline, "on the newer version").await
}

/// Lets all clients call for as long as something takes.
async fn under_load(
    journals: &mut [Journal],
    ways: &[Way; 4],
    timeline: &Timeline,
    seed: u64,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let enough = CancellationToken::new();
    let working = async {
        work.await?;
        enough.cancel();
        anyhow::Ok(())
    };
    let calling = journals.iter_mut().zip(0..CLIENTS);
    let calling =
        calling.map(|(journal, who)| clients::call(journal, ways, random(seed, who), timeline, &enough));
    tokio::try_join!(working, try_join_all(calling))?;
    Ok(())
}

/// The services before the gateways, so that no gateway calls what its services do not have.
async fn forward(members: &mut [Member], newer: &Path, timeline: &Timeline) -> Result<()> {
    for member in members {
        replace(member, newer, "upgraded", timeline).await?;
    }
    Ok(())
}

async fn back(members: &mut [Member], older: &Path, timeline: &Timeline) -> Result<()> {
    for member in members.iter_mut().rev() {
        replace(member, older, "taken back", timeline).await?;
    }
    Ok(())
}

/// Both versions answer for a while before and after.
async fn replace(
    member: &mut Member,
    binaries: &Path,
    what: &'static str,
    timeline: &Timeline,
) -> Result<()> {
    let bar = timeline.begin("processes", what, &member.name);
    member.replace(binaries).await?;
    timeline.end(bar);
    let answered = timeline.counts().answered;
    eventually(&format!("answers after {} was {what}", member.name), REST, async || {
        let since = timeline.counts().answered - answered;
        ensure!(since >= ANSWERS, "{since} answers");
        Ok(())
    })
    .await
}
