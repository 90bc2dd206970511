//! What the database refuses to park is not said to be parked, and the log says what to do.

use anyhow::{Context as _, Result, ensure};
use messaging::health::Condition;
use metrics_exporter_prometheus::PrometheusBuilder;
use sea_orm::ConnectionTrait as _;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects},
    place::Place,
    running::Running,
};

const POISON: i64 = 3;

fn refusing() -> Effects {
    Effects::unless(|number| if number == POISON { Answer::Refuse } else { Answer::Apply })
}

async fn refuse(place: &Place, condition: &'static str) -> Result<()> {
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON parked WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no room'); END"
    );
    run(place, trigger).await
}

async fn run(place: &Place, sql: String) -> Result<()> {
    let ran = place.database.transact(move |transaction| {
        let sql = sql.clone();
        Box::pin(async move { transaction.execute_unprepared(&sql).await.map(drop) })
    });
    Ok(ran.await?)
}

#[tokio::test]
async fn what_is_not_parked_is_not_said_to_be() -> Result<()> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let place = Place::embedded().await?;
    refuse(&place, "true").await?;
    let running = Running::default().consumer(&place, refusing()).relay(&place);
    place.write(0..10).await?;
    let state = eventually("a state that says so", PATIENCE, async || {
        let parts = running.health.parts();
        let state = parts.into_iter().find(|(name, _)| name == "consumer.0").context("no such part")?.1;
        ensure!(matches!(state, Condition::Failed { .. }), "{state:?}");
        Ok(state)
    });
    let Condition::Failed { reason, .. } = state.await? else { unreachable!("it was just looked at") };
    ensure!(reason.contains("no room") && reason.contains("parked"), "{reason}");
    let counted = || {
        metrics.render().lines().find(|line| line.starts_with("messaging_parked_total")).map(str::to_owned)
    };
    ensure!(counted().context("it is there from the start")?.ends_with(" 0"), "{:?}", counted());
    ensure!(place.parked().await?.is_empty());

    run(&place, "DROP TRIGGER refuse".to_owned()).await?;
    place.has_effects(9).await?;
    place.has_parked(1).await?;
    eventually("one that is counted", PATIENCE, async || {
        ensure!(counted().is_some_and(|line| line.ends_with(" 1")), "{:?}", counted());
        let parts = running.health.parts();
        let works = parts.iter().any(|(name, state)| name == "consumer.0" && *state == Condition::Ok);
        ensure!(works, "{parts:?}");
        Ok(())
    })
    .await?;
    running.stop().await
}
