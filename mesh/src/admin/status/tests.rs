//! What `ordermesh admin status` shows, and what its exit status says.

use chassis::clock::{Clock as _, SystemClock, timestamp};
use ordermesh::messaging::v1::RelayState;

use super::*;
use crate::admin::service::Service;

fn said(relay: PartState, oldest: Micros) -> Said {
    let ago = |age| (age > 0).then(|| timestamp(SystemClock.now() - age));
    let relay = RelayState { state: Some(relay), ..RelayState::default() };
    let status =
        MessagingStatus { relay: Some(relay), outbox_oldest_time: ago(oldest), ..MessagingStatus::default() };
    Said { status: Ok(status), pauses: Ok(Vec::new()), redrives: Ok(Vec::new()), differences: Ok(0) }
}

fn state(condition: Condition, age: Micros) -> PartState {
    let since = Some(timestamp(SystemClock.now() - age));
    PartState { condition: condition.into(), since, ..PartState::default() }
}

#[test]
fn somebody_has_to_look_at_what_does_not_work() {
    assert!(is_fine(&said(state(Condition::Ok, 0), 0)));
    assert!(!is_fine(&said(state(Condition::Failed, 0), 0)), "the broker refuses");
    assert!(is_fine(&said(state(Condition::Degraded, LATE / 2), 0)), "it may pass");
    assert!(!is_fine(&said(state(Condition::Degraded, LATE * 2), 0)), "it lasts");
    assert!(!is_fine(&said(state(Condition::Ok, 0), LATE * 2)), "nothing leaves");
    assert!(is_fine(&said(state(Condition::Ok, 0), LATE / 2)), "it has just been written");
    assert!(is_fine(&said(state(Condition::Paused, 0), LATE * 2)), "somebody has paused it");
    let differ = Said { differences: Ok(1), ..said(state(Condition::Ok, 0), 0) };
    assert!(!is_fine(&differ), "an order differs");
    assert!(lines(&[(Service::Orders, Ok(differ))]).concat().contains("1 orders differ"));
}

/// A version before does not know every question.
#[test]
fn a_question_without_an_answer_hides_no_other() {
    let unknown = || Err(tonic::Status::unimplemented("no such method").into());
    let status =
        said(state(Condition::Ok, 0), 0).status.map(|status| MessagingStatus { parked: 7, ..status });
    let said = Said { status, pauses: unknown(), redrives: Ok(Vec::new()), differences: Ok(2) };
    let asked = [(Service::Orders, Ok(said))];
    let shown = lines(&asked).join("\n");
    for text in ["7", "2 orders differ", "orders: pauses: no such method"] {
        assert!(shown.contains(text), "{text:?} is not in {shown}");
    }
    let json = json(&asked).expect("JSON");
    let orders = &json["orders"];
    assert_eq!((&orders["parked"], &orders["differences"]), (&json!("7"), &json!(2)), "{json}");
    assert!(
        orders["errors"] == json!({ "pauses": "no such method" }) && orders["pauses"].is_null(),
        "{json}"
    );
    let unfit = whether_fine(&asked).expect_err("not all was said");
    assert_eq!(unfit.to_string(), "pauses of orders cannot be asked for");
}

#[test]
fn what_is_to_be_done_is_not_cut_off() {
    let refused = format!("{}(create the virtual host /mesh)", "refused: ".repeat(20));
    let failed = PartState { reason: refused, ..state(Condition::Failed, 0) };
    let shown = lines(&[(Service::Orders, Ok(said(failed, 0)))]).join("\n");
    assert!(shown.contains("(create the virtual host /mesh)"), "{shown}");
}
