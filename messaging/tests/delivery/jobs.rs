//! Redrives in the background beside what is in their way: other messages of a key, a pause, an operator who stops them, a process that died.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use messaging::{
    parked::{
        self, Action, Filter, Mode, Model, Park, State,
        jobs::{self, State as JobState},
    },
    pauses::{self, Begun, Part, Pause, Pauses},
    topology::Subscription,
};
use tokio_util::sync::CancellationToken;
use world::{PATIENCE, eventually};

use crate::{
    fact::{Answer, Effects, reader},
    paced::{ended, park, progress, start},
    place::Place,
    running::Running,
};

fn process(place: &Place, effects: Effects, park: Park) -> Running {
    Running::default().with_pauses(place).consumer_as(reader(), place, effects, park, 1)
}

/// Another consumer of the facts, whose jobs take their course meanwhile.
fn other() -> Subscription {
    Subscription { consumer: "other".to_owned(), ..reader() }
}

fn of_consumer(subscription: Subscription) -> Filter {
    Filter { consumer: Some(subscription.consumer), ..Filter::default() }
}

/// Parks all facts at both consumers.
async fn park_at_both(place: &Place, facts: i64) -> Result<()> {
    // So that the other one's queue is there.
    drop(place.broker.subscribe(&other(), 0, 1).await?);
    let refusing = || Effects::unless(|_| Answer::Refuse);
    let running = Running::default().consumer(place, refusing()).consumer_of(other(), place, refusing());
    let running = running.relay(place);
    place.write(0..facts).await?;
    place.has_parked(usize::try_from(2 * facts)?).await?;
    running.stop().await
}

/// The number of what a row is about: they were parked in the order of their numbers.
fn of(rows: &[Model], number: usize) -> Result<&Model> {
    rows.get(number).context("a row of each fact")
}

/// Of ten keys two messages each are parked. The job is not about the first of one key, and one of another fails again.
async fn what_is_behind_others_is_left(place: Place) -> Result<()> {
    park(&place, 20).await?;
    let rows = place.parked().await?;
    let (ahead, behind) = (of(&rows, 3)?.seq, of(&rows, 13)?.seq);
    let seqs = rows.iter().map(|row| row.seq).filter(|seq| *seq != ahead).collect();
    let job = start(&place, &Filter { seqs, ..Filter::default() }, 0).await?.job;
    let later = start(&place, &Filter::default(), 0).await?.job;
    let refusing = Effects::unless(|number| if number == 5 { Answer::Refuse } else { Answer::Apply });
    let running = process(&place, refusing, Park::Key);
    let ended_job = ended(&place, job.id).await?;
    ensure!((ended_job.job.done, ended_job.job.failed, ended_job.left) == (16, 1, 2), "{ended_job:?}");
    let reason = ended_job.job.left_reason.clone().unwrap_or_default();
    ensure!(reason.contains(&format!("{behind}, behind the message {ahead}")), "{reason}");
    // The one behind it goes on, and what was left can be tried by another.
    let later = ended(&place, later.id).await?;
    ensure!((later.job.done, later.left, later.job.left_reason) == (1, 0, None));
    let left = place.has_parked(3).await?;
    ensure!(left.iter().all(|row| row.state == State::Parked && row.redrive_job.is_none()), "{left:?}");
    running.stop().await?;
    let running = process(&place, Effects::always(), Park::Key);
    let last = start(&place, &Filter::default(), 0).await?;
    ensure!(ended(&place, last.job.id).await?.job.done == 3);
    place.each_once(0..20).await?;
    place.in_order().await?;
    running.stop().await
}

#[tokio::test]
async fn what_is_behind_others_is_left_embedded() -> Result<()> {
    what_is_behind_others_is_left(Place::embedded().await?).await
}

#[tokio::test]
async fn what_is_behind_others_is_left_on_postgres() -> Result<()> {
    what_is_behind_others_is_left(Place::postgres().await?).await
}

async fn pause(place: &Place, kind: Option<&str>) -> Result<i64> {
    let (kind, reason) = (kind.map(str::to_owned), "a bad release".to_owned());
    let pause = Pause { part: Part::Consumer, consumer: None, kind, partition: None, reason };
    match pauses::pause(&place.database, pause, "olga".into(), None).await? {
        Begun::Now(begun) => Ok(begun.seq),
        other => anyhow::bail!("{other:?}"),
    }
}

/// As long as its consumer is paused a job marks nothing, so that it can be stopped; and then it goes on at its rate.
async fn waits_for_the_end_of_a_pause(place: Place) -> Result<()> {
    park(&place, 60).await?;
    let paused = pause(&place, None).await?;
    let running = process(&place, Effects::always(), Park::Message);
    let first = start(&place, &Filter::default(), 0).await?.job;
    // Longer than a process needs to find a job.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let rows = place.parked().await?;
    ensure!(rows.len() == 60 && rows.iter().all(|row| row.state == State::Parked), "{rows:?}");
    let stopped = jobs::stop(&place.database, first.id, "olga".into()).await?.context("the job")?;
    ensure!((stopped.job.state, stopped.left) == (JobState::Stopped, 60), "{stopped:?}");
    let second = start(&place, &Filter::default(), 20).await?.job;
    tokio::time::sleep(Duration::from_secs(6)).await;
    pauses::resume(&place.database, paused, "oleg".into()).await?;
    let done = async |many: i64| {
        eventually("messages to leave", PATIENCE, async || {
            let job = progress(&place, second.id).await?.job;
            ensure!(job.done >= many, "{job:?}");
            anyhow::Ok((Instant::now(), job.done))
        })
        .await
    };
    let ((from, first), (to, last)) = (done(5).await?, done(45).await?);
    // Whoever looks late sees more: each takes 50 ms, and a quarter less where what was late is made up for.
    let (took, left) = (to.duration_since(from), u32::try_from(last - first)?);
    ensure!(took > left * Duration::from_micros(37_500), "{left} messages left in {took:?}");
    ensure!(ended(&place, second.id).await?.job.done == 60);
    place.each_once(0..60).await?;
    running.stop().await
}

#[tokio::test]
async fn a_job_waits_for_the_end_of_a_pause() -> Result<()> {
    waits_for_the_end_of_a_pause(Place::embedded().await?).await
}

/// Before a process has read what is paused it begins nothing of a job.
#[tokio::test]
async fn a_job_begins_once_the_pauses_are_read() -> Result<()> {
    let place = Place::embedded().await?;
    park_at_both(&place, 2).await?;
    let job = start(&place, &of_consumer(reader()), 0).await?.job;
    // At a rate, so that it takes longer than the beginning of another one.
    let meanwhile = start(&place, &of_consumer(other()), 1).await?.job;
    let mut running = Running::default();
    running.pauses = Pauses::unread();
    let running = running.consumer_as(reader(), &place, Effects::always(), Park::Message, 1);
    let beside = Running::default().consumer_of(other(), &place, Effects::always());
    ensure!(ended(&place, meanwhile.id).await?.job.done == 2);
    beside.stop().await?;
    let rows = place.parked().await?;
    ensure!(rows.len() == 2 && rows.iter().all(|row| row.state == State::Parked), "something may be paused");
    let stop = CancellationToken::new();
    let following = tokio::spawn(running.pauses.clone().follow(place.database.clone(), stop.clone()));
    ensure!(ended(&place, job.id).await?.job.done == 2);
    stop.cancel();
    following.await?;
    running.stop().await
}

/// Longer than a job waits at first for the end of a pause: the next wait is longer.
const SECOND_WAIT: Duration = Duration::from_secs(7);

/// A pause of a kind that is none of its messages' does not keep a job whose last message another process is at.
#[tokio::test]
async fn a_pause_of_others_delays_no_end_of_a_job() -> Result<()> {
    let place = Place::embedded().await?;
    park(&place, 2).await?;
    pause(&place, Some("tests.v2.Fact")).await?;
    let job = start(&place, &Filter::default(), 0).await?.job;
    let at_it = "UPDATE parked SET state = 2, redrives = 1, redrive_time = 4000000000000000
        WHERE seq = (SELECT MIN(seq) FROM parked)";
    place.database.execute_unflushed(at_it.to_owned()).await?;
    let running = process(&place, Effects::always(), Park::Message);
    place.has_effects(1).await?;
    tokio::time::sleep(SECOND_WAIT).await;
    ensure!(progress(&place, job.id).await?.job.state == JobState::Running, "it is still at one");
    place.database.execute_unflushed("DELETE FROM parked".to_owned()).await?;
    let gone = Instant::now();
    ended(&place, job.id).await?;
    ensure!(gone.elapsed() < Duration::from_secs(3), "it ended {:?} after its last message", gone.elapsed());
    running.stop().await
}

/// Nor does the pause of its own messages keep one of which they were discarded.
#[tokio::test]
async fn a_job_ends_when_what_it_waits_for_is_discarded() -> Result<()> {
    let place = Place::embedded().await?;
    park(&place, 2).await?;
    pause(&place, Some(reader().kinds[0].as_str())).await?;
    let job = start(&place, &Filter::default(), 0).await?.job;
    let running = process(&place, Effects::always(), Park::Message);
    tokio::time::sleep(SECOND_WAIT).await;
    ensure!(progress(&place, job.id).await?.left == 2, "what is paused is left alone");
    parked::operate(&place.database, Action::Discard, &Filter::default(), "olga", Mode::Apply).await?;
    let gone = Instant::now();
    ended(&place, job.id).await?;
    ensure!(gone.elapsed() < Duration::from_secs(6), "it ended {:?} after its last message", gone.elapsed());
    running.stop().await
}

/// With `Park::Key` what is behind a paused one of its key waits for the end of the pause as that one does, and is not marked again and again.
#[tokio::test]
async fn what_is_behind_a_paused_one_of_its_key_waits() -> Result<()> {
    let place = Place::embedded().await?;
    // The first and the last have one key.
    park_at_both(&place, 11).await?;
    let kind = "UPDATE parked SET kind = 'tests.v2.Fact'
        WHERE seq = (SELECT MIN(seq) FROM parked WHERE consumer = 'reader')";
    place.database.execute_unflushed(kind.to_owned()).await?;
    let paused = pause(&place, Some("tests.v2.Fact")).await?;
    let job = start(&place, &of_consumer(reader()), 0).await?.job;
    let first = start(&place, &Filter { first: Some(4), ..of_consumer(other()) }, 4).await?.job;
    let second = start(&place, &of_consumer(other()), 7).await?.job;
    let running = process(&place, Effects::always(), Park::Key);
    place.has_effects(9).await?;
    let beside = Running::default().consumer_of(other(), &place, Effects::always());
    // It may still look once more, meanwhile,
    ended(&place, first.id).await?;
    // and not for as long as this one takes.
    while progress(&place, second.id).await?.job.state == JobState::Running {
        let rows = place.parked().await?;
        let rows: Vec<&Model> = rows.iter().filter(|row| row.consumer == "reader").collect();
        ensure!(rows.len() == 2 && rows.iter().all(|row| row.state == State::Parked), "{rows:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    beside.stop().await?;
    pauses::resume(&place.database, paused, "oleg".into()).await?;
    // Nobody knows the kind of the first one.
    let ended = ended(&place, job.id).await?;
    ensure!((ended.job.done, ended.job.failed, ended.left) == (9, 1, 1), "{ended:?}");
    running.stop().await
}

/// What a process has marked that died before it tried it waits for an operator again once its job is stopped; and what has the number of a job
/// that has ended, however that came, is another one's to take.
#[tokio::test]
async fn what_a_dead_process_has_marked_is_given_back() -> Result<()> {
    for place in [Place::embedded().await?, Place::postgres().await?] {
        park(&place, 10).await?;
        let job = start(&place, &Filter::default(), 1).await?.job;
        let marked = "UPDATE parked SET state = 2, redrives = 1, redrive_time = 1 WHERE seq IN
            (SELECT seq FROM parked ORDER BY seq LIMIT 3)";
        place.database.execute_unflushed(marked.to_owned()).await?;
        let stopped = jobs::stop(&place.database, job.id, "olga".into()).await?.context("the job")?;
        ensure!(stopped.left == 10, "{stopped:?}");
        let rows = place.parked().await?;
        let waits =
            |row: &Model| row.state == State::Parked && row.redrive_job.is_none() && row.redrives == 0;
        ensure!(rows.iter().all(waits), "{rows:?}");
        let left = format!("UPDATE parked SET redrive_job = {}", job.id);
        place.database.execute_unflushed(left).await?;
        ensure!(
            start(&place, &Filter::default(), 1).await?.left == 10,
            "nobody can take what a job has left"
        );
    }
    Ok(())
}

/// What has ended long ago is forgotten by who starts another one, and nothing else is.
#[tokio::test]
async fn old_jobs_are_forgotten() -> Result<()> {
    for place in [Place::embedded().await?, Place::postgres().await?] {
        park(&place, 4).await?;
        let one = Filter { first: Some(1), ..Filter::default() };
        let (old, ended, running) =
            (start(&place, &one, 1).await?, start(&place, &one, 1).await?, start(&place, &one, 1).await?);
        for job in [&old, &ended] {
            jobs::stop(&place.database, job.job.id, "olga".into()).await?;
        }
        let day = 24 * 3_600 * 1_000_000_i64;
        let age = async |id: i64, days: i64| {
            let times = format!("start_time = start_time - {0}, end_time = end_time - {0}", days * day);
            place.database.execute_unflushed(format!("UPDATE redrive_jobs SET {times} WHERE id = {id}")).await
        };
        age(old.job.id, 91).await?;
        age(ended.job.id, 89).await?;
        age(running.job.id, 91).await?;
        let last = start(&place, &one, 1).await?;
        let listed = jobs::list(place.database.read(), i64::MAX, 10).await?;
        let listed: Vec<i64> = listed.iter().map(|progress| progress.job.id).collect();
        ensure!(listed == [last.job.id, running.job.id, ended.job.id], "{listed:?} without {}", old.job.id);
    }
    Ok(())
}

/// Of two operators who mean the same messages one gets all of them, however close together they act.
#[tokio::test]
async fn what_two_operators_mean_is_one_jobs() -> Result<()> {
    let place = Place::postgres().await?;
    park(&place, 200).await?;
    let neighbour = place.neighbour().await?;
    for _ in 0..20 {
        let all = Filter::default();
        let (one, other) = tokio::try_join!(start(&place, &all, 1), start(&neighbour, &all, 1))?;
        let count = "SELECT COUNT(DISTINCT redrive_job) FROM parked";
        ensure!(place.one::<i64>(count).await? == 1, "two jobs have shared them out");
        let (one, other) = (progress(&place, one.job.id).await?, progress(&place, other.job.id).await?);
        ensure!(one.job.total + other.job.total == 200, "{one:?} {other:?}");
        ensure!(one.left == one.job.total && other.left == other.job.total, "{one:?} {other:?}");
        for id in [one.job.id, other.job.id] {
            jobs::stop(&place.database, id, "olga".into()).await?;
        }
    }
    Ok(())
}
