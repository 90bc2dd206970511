//! Faults as statuses of gRPC, and back.

use super::*;

#[test]
fn a_fault_survives_the_wire() {
    for reason in Reason::ALL {
        let mut fault = Fault::new(*reason, "what happened").with("scope", "orders:write");
        fault
            .violations
            .push(Violation { field: "order.amount".into(), description: "must be positive".into() });
        let status = Status::from(fault.clone());
        assert_eq!(status.code(), reason.code());
        assert_eq!(Fault::from_status(&status), Some(fault));
        assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        assert!(reason.http().is_client_error() || reason.http().is_server_error());
    }
}

#[test]
fn a_foreign_status_has_no_reason_of_ours() {
    assert_eq!(Fault::from_status(&Status::not_found("nothing")), None);
}
