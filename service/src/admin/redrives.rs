//! Redrives in the background: started, watched and stopped.

use chassis::{
    clock::timestamp,
    status::{Fault, Reason as Because},
};
use messaging::{
    consumer::Operated,
    parked::jobs::{self, Progress, Started},
};
use ordermesh::messaging::v1::{
    ListRedrivesRequest, ListRedrivesResponse, Redrive, StartRedriveRequest, StopRedriveRequest,
    redrive::State,
};
use tonic::Request;

use super::{
    MessagingAdmin,
    selection::{self, Reason},
};
use crate::{fault, page, request::Checks};

/// Messages a second at most: beyond, the handling of each is what limits them.
const MOST_PER_SECOND: i32 = 1_000;
/// What a page token of the list belongs to.
const QUERY: &[u8] = b"ListRedrives";

impl MessagingAdmin {
    pub(super) async fn start(&self, request: Request<StartRedriveRequest>) -> Result<Redrive, Fault> {
        let mut checks = Checks::default();
        let given = request.get_ref();
        let mut filter = selection::filter(given.filter.clone(), "filter.", &mut checks);
        filter.first = selection::first(given.max_messages, &mut checks);
        let is_rate = (0..=MOST_PER_SECOND).contains(&given.per_second);
        checks.field("per_second", is_rate.then_some(()).ok_or("must be 0 to 1,000"));
        let operator =
            selection::operator(&request, &given.operator, &given.reason, Reason::Required, &mut checks);
        checks.finish()?;
        let started = jobs::start(&self.database, &filter, given.per_second, operator).await;
        match started.map_err(fault)? {
            Started::Job(progress) => {
                let runner = self.consumers.iter().find(|operated| operated.name() == progress.job.consumer);
                if let Some(runner) = runner {
                    runner.wake_jobs();
                }
                Ok(self.redrive_of(*progress))
            }
            Started::SeveralConsumers => Err(Fault::of_field(
                Because::InvalidField,
                "filter.consumer",
                "must be given: the messages are of several consumers",
            )),
        }
    }

    pub(super) async fn stop(&self, request: Request<StopRedriveRequest>) -> Result<Redrive, Fault> {
        let mut checks = Checks::default();
        let given = request.get_ref();
        let operator =
            selection::operator(&request, &given.operator, &given.reason, Reason::Optional, &mut checks);
        checks.finish()?;
        let stopped = jobs::stop(&self.database, given.redrive_id, operator).await.map_err(fault)?;
        self.found(given.redrive_id, stopped)
    }

    pub(super) async fn progress(&self, id: i64) -> Result<Redrive, Fault> {
        self.found(id, jobs::find(self.database.read(), id).await.map_err(fault)?)
    }

    pub(super) async fn redrives(&self, request: ListRedrivesRequest) -> Result<ListRedrivesResponse, Fault> {
        let mut checks = Checks::default();
        let size = page::size(request.page_size, &mut checks);
        checks.finish()?;
        let before = |id: &[u8]| Some(i64::from_be_bytes(id.try_into().ok()?));
        let before = self.pages.resume(QUERY, &request.page_token, before)?.unwrap_or(i64::MAX);
        let listed = jobs::list(self.database.read(), before, size + 1).await;
        let mut listed = listed.map_err(fault)?;
        let next_page_token = self.pages.cut(QUERY, size, &mut listed, |last| last.job.id.to_be_bytes());
        Ok(ListRedrivesResponse {
            redrives: listed.into_iter().map(|job| self.redrive_of(job)).collect(),
            next_page_token,
        })
    }

    fn found(&self, id: i64, progress: Option<Progress>) -> Result<Redrive, Fault> {
        let missing = || Fault::new(Because::RedriveNotFound, format!("there is no redrive {id}"));
        progress.map(|progress| self.redrive_of(progress)).ok_or_else(missing)
    }

    fn redrive_of(&self, Progress { job, left }: Progress) -> Redrive {
        let state = match job.state {
            jobs::State::Running => State::Running,
            jobs::State::Stopped => State::Stopped,
            jobs::State::Finished => State::Finished,
        };
        let consumer = self.consumers.iter().find(|operated| operated.name() == job.consumer);
        let paused = consumer.filter(|_| state == State::Running).and_then(Operated::paused);
        Redrive {
            redrive_id: job.id,
            consumer: job.consumer,
            state: state.into(),
            total: job.total,
            done: job.done,
            failed: job.failed,
            left,
            per_second: job.per_second,
            start_time: Some(timestamp(job.start_time)),
            end_time: job.end_time.map(timestamp),
            operator: job.operator,
            reason: job.reason,
            filter: job.filter,
            left_reason: job.left_reason.or(paused).unwrap_or_default(),
        }
    }
}
