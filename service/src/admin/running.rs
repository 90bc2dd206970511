//! The processes of the service, of which this one answers.

use chassis::clock::timestamp;
use messaging::processes::{self, Process};
use ordermesh::messaging::v1::ProcessState;
use sea_orm::DbErr;

use super::MessagingAdmin;

impl MessagingAdmin {
    pub(super) async fn processes(&self) -> Result<Vec<ProcessState>, DbErr> {
        let running = processes::list(&self.database, &self.process).await?;
        Ok(running.into_iter().map(|process| state(process, &self.process)).collect())
    }
}

fn state(process: Process, this: &Process) -> ProcessState {
    let Process { id, version, build, host, start_time, seen_time } = process;
    ProcessState {
        answers: id == this.id,
        process_id: id,
        version,
        build,
        host,
        start_time: Some(timestamp(start_time)),
        seen_time: Some(timestamp(seen_time)),
    }
}
