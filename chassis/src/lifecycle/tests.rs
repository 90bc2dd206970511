//! The stop, stage by stage, on a clock that passes as soon as everyone waits.

use std::{
    future::ready,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn a_dead_task_ends_the_process() {
    let mut life = Lifecycle::new();
    life.spawn(Stage::Edge, "healthy", |stop| async move {
        stop.cancelled().await;
        Ok(())
    });
    life.spawn(Stage::Last, "sick", |_| async { Err(anyhow!("no pulse")) });
    let error = life.run_until(pending(), pending()).await.expect_err("the process must end");
    assert_eq!(format!("{error:#}"), "task sick died: no pulse");
}

#[tokio::test]
async fn a_task_that_panics_ends_the_process_by_its_name() {
    let mut life = Lifecycle::new();
    life.spawn(Stage::Last, "sick", |_| async { panic!("planted") });
    let error = life.run_until(pending(), pending()).await.expect_err("the process must end");
    assert_eq!(format!("{error:#}"), "task sick died: it panicked");
}

/// A process with a task in each stage, and what its tasks note when they end.
fn staged() -> (Lifecycle, Arc<Mutex<Vec<Stage>>>) {
    let mut life = Lifecycle::new();
    let ended = Arc::new(Mutex::new(Vec::new()));
    for stage in Stage::ALL.into_iter().rev() {
        let ended = Arc::clone(&ended);
        life.spawn(stage, "orderly", |stop| async move {
            stop.cancelled().await;
            // Whoever stops too early overtakes the others while this one yields.
            tokio::task::yield_now().await;
            ended.lock().expect("no task panics").push(stage);
            Ok(())
        });
    }
    (life, ended)
}

#[tokio::test]
async fn stages_stop_one_after_the_other() {
    let (life, ended) = staged();
    life.run_until(ready(()), pending()).await.expect("every task finished");
    assert_eq!(*ended.lock().expect("no task panics"), Stage::ALL);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_cut_and_every_later_stage_has_its_own_time() {
    let (mut life, ended) = staged();
    for stage in Stage::ALL {
        life.spawn(stage, "stuck", |_| pending());
    }
    let (stopping, began) = (life.stopping(), Instant::now());
    life.run_until(ready(()), pending()).await.expect("a cut is no failure");
    assert_eq!(*ended.lock().expect("no task panics"), Stage::ALL);
    assert!(stopping.is_cancelled() && began.elapsed() < GRACE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_failure_while_stopping_holds_back_no_later_stage() {
    let (mut life, ended) = staged();
    life.spawn(Stage::Edge, "sick", |stop| async move {
        stop.cancelled().await;
        Err(anyhow!("no pulse"))
    });
    let error = life.run_until(ready(()), pending()).await.expect_err("a task failed");
    assert_eq!(format!("{error:#}"), "task sick failed while stopping: no pulse");
    assert_eq!(*ended.lock().expect("no task panics"), Stage::ALL);
}

#[tokio::test(start_paused = true)]
async fn a_second_request_does_not_wait() {
    let (mut life, ended) = staged();
    life.spawn(Stage::Edge, "stuck", |_| pending());
    let began = Instant::now();
    life.run_until(ready(()), ready(())).await.expect_err("the task is still stuck");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // Each has its moment all the same: a lease is given back.
    assert_eq!(*ended.lock().expect("no task panics"), Stage::ALL);
}
