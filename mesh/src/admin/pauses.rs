//! `ordermesh admin pauses`: what is stopped for a time.

use chassis::metadata::IDEMPOTENCY_REPLAYED;
use ordermesh::messaging::v1::{
    CreatePauseRequest, DeletePauseRequest, ListPausesRequest, ListPausesResponse, Pause,
    pause::Part as WirePart, pauses_service_client::PausesServiceClient,
};

use super::{answers::Answers, kinds, service::Service, show, which::Who};
use crate::services::{Caller, Services};

/// What is done about pauses.
#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Pauses {
    /// Lists what is paused
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<Service>,
    },
    /// Pauses the relay or the consumers of a service
    Create {
        /// Of which service
        #[arg(long)]
        service: Service,
        /// What
        part: Part,
        /// Only messages of this kind, such as `OrderPlaced` or `ordermesh.orders.v1.OrderPlaced`
        #[arg(long, default_value = "", hide_default_value = true)]
        kind: String,
        /// Only this partition
        #[arg(long)]
        partition: Option<i32>,
        /// A key by which the command can be repeated: it pauses once
        #[arg(long, default_value = "", hide_default_value = true)]
        request_id: String,
        #[command(flatten)]
        who: Who,
    },
    /// Ends a pause
    Remove {
        /// Of which service
        #[arg(long)]
        service: Service,
        /// Its number
        sequence: i64,
        /// Who does it; it is noted beside the subject of the token
        #[arg(long, env = "USER")]
        operator: String,
    },
}

/// What can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// The consumers.
    Consumer,
    /// The relay.
    Relay,
}

/// Lists, begins or ends pauses.
///
/// # Errors
/// When a service cannot be asked, or refuses.
pub(super) async fn run(services: &Services, pauses: Pauses, as_json: bool) -> anyhow::Result<bool> {
    match pauses {
        Pauses::List { service } => list(services, service, as_json).await.map(|()| true),
        Pauses::Create { service, part, kind, partition, request_id, who } => {
            let kind = kinds::named(&kind)?;
            let part = match part {
                Part::Consumer => WirePart::Consumer,
                Part::Relay => WirePart::Relay,
            };
            let Who { operator, reason } = who;
            let pause = Pause { part: part.into(), kind, partition, reason, operator, ..Pause::default() };
            let mut client = PausesServiceClient::new(service.of(services).await?);
            let request = CreatePauseRequest { pause: Some(pause), request_id };
            create(&mut client, service, request, as_json).await
        }
        Pauses::Remove { service, sequence, operator } => {
            let mut client = PausesServiceClient::new(service.of(services).await?);
            client.delete_pause(DeletePauseRequest { sequence, operator }).await?;
            if as_json {
                show::answer(service, &serde_json::json!({}))?;
            } else {
                show::lines(&[format!("pause {sequence} of {} is over", service.name())])?;
            }
            Ok(true)
        }
    }
}

/// Begins a pause, and whether something is paused then: the answer to a request id that was used before may be of a pause that is over.
async fn create(
    client: &mut PausesServiceClient<Caller>,
    service: Service,
    request: CreatePauseRequest,
    as_json: bool,
) -> anyhow::Result<bool> {
    let answer = client.create_pause(request).await?;
    let is_replayed = answer.metadata().get(IDEMPOTENCY_REPLAYED).is_some_and(|value| value == "true");
    let begun = answer.into_inner();
    let is_paused = if is_replayed {
        let there = client.list_pauses(ListPausesRequest {}).await?.into_inner().pauses;
        there.iter().any(|pause| pause.sequence == begun.sequence)
    } else {
        true
    };
    if as_json {
        let mut json = show::json_of(&begun)?;
        json["replayed"] = is_replayed.into();
        json["paused"] = is_paused.into();
        show::answer(service, &json)?;
    } else {
        let what = match (is_replayed, is_paused) {
            (false, _) => "has begun",
            (true, true) => "had begun with this --request-id, and goes on",
            (true, false) => {
                "had begun with this --request-id and is over: nothing was paused. Another one pauses again"
            }
        };
        show::lines(&[format!("pause {} of {} {what}", begun.sequence, service.name())])?;
    }
    Ok(is_paused)
}

async fn list(services: &Services, service: Option<Service>, as_json: bool) -> anyhow::Result<()> {
    let answers = Answers::of(service, async |service: Service| {
        let mut client = PausesServiceClient::new(service.of(services).await?);
        Ok(client.list_pauses(ListPausesRequest {}).await?.into_inner())
    });
    answers.await.show(
        as_json,
        |listed| show::list_of("pauses", listed),
        |listed| {
            let rows = |(service, listed): &(Service, ListPausesResponse)| {
                listed.pauses.iter().map(|pause| (*service, pause.clone())).collect::<Vec<_>>()
            };
            table(&listed.iter().flat_map(rows).collect::<Vec<_>>())
        },
    )?;
    Ok(())
}

/// What is paused, for a person.
pub(super) fn table(paused: &[(Service, Pause)]) -> Vec<String> {
    let rows: Vec<_> = paused.iter().map(|(service, pause)| row(*service, pause)).collect();
    let heads = ["service", "number", "part", "kind", "partition", "since", "operator", "reason"];
    show::table(heads, &rows)
}

fn row(service: Service, pause: &Pause) -> [String; 8] {
    [
        service.name().to_owned(),
        pause.sequence.to_string(),
        pause.part().as_str_name().to_lowercase(),
        show::or_dash(&pause.kind),
        pause.partition.map_or_else(|| "-".to_owned(), |number| number.to_string()),
        show::ago(pause.create_time.as_ref()),
        show::or_dash(&pause.operator),
        show::short(&pause.reason, 100),
    ]
}
