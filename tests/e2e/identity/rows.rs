//! The table of calls: every method of the contracts, how it is called, and what becomes of a call by whose data it names. Written by
//! hand: nothing of it is derived from the rules.

use serde_json::{Value, json};

/// A method, and what is expected of its calls. `$USER` and `$ORDER` stand for those whose data is meant.
pub(crate) struct Row {
    /// The path of the method without its first slash.
    pub(crate) method: &'static str,
    /// The scope that it needs.
    pub(crate) scope: &'static str,
    /// The request as JSON.
    pub(crate) request: Value,
    /// Its route: the method and the path, and the body as JSON.
    pub(crate) route: Option<(&'static str, &'static str, Option<Value>)>,
    /// Its route at the operator's listener of each service that has it, whose name stands for `$SERVICE`; the body is the request.
    pub(crate) admin: Option<(&'static str, &'static str)>,
    /// Whether it can be a WebSocket.
    pub(crate) streams: bool,
    /// The reason of the answer to who has the scope and means what is theirs; empty for OK.
    pub(crate) own: &'static str,
    /// The same, where it is another user's; `None` where nothing belongs to a user.
    pub(crate) other: Option<&'static str>,
    /// The same for an operator, who has no scope of users.
    pub(crate) operator: &'static str,
}

impl Row {
    /// The service that answers it: `orders`, `payments` or `shipping`; `None` where each has it.
    pub(crate) fn service(&self) -> Option<&'static str> {
        ["orders", "payments", "shipping"]
            .into_iter()
            .find(|name| self.method.contains(&format!("{name}.v1")))
    }
}

fn row(method: &'static str, scope: &'static str, request: Value) -> Row {
    Row {
        method,
        scope,
        request,
        route: None,
        admin: None,
        streams: false,
        own: "",
        other: None,
        operator: "SCOPE_MISSING",
    }
}

fn get(path: &'static str) -> Option<(&'static str, &'static str, Option<Value>)> {
    Some(("GET", path, None))
}

/// Every method of every contract.
pub(crate) fn rows() -> Vec<Row> {
    orders().into_iter().chain(payments()).chain(operators()).collect()
}

/// What the edge answers itself over gRPC, with a request for each: all services, and the state of the whole.
pub(crate) fn own() -> [(Row, &'static [u8]); 4] {
    let (list, whole): (&[u8], &[u8]) = (&[0x3a, 0], &[]);
    let own = |method, streams| Row { streams, ..row(method, "", json!({})) };
    [
        (own("grpc.health.v1.Health/Check", false), whole),
        (own("grpc.health.v1.Health/Watch", true), whole),
        (own("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true), list),
        (own("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true), list),
    ]
}

fn orders() -> Vec<Row> {
    let order = || json!({ "orderId": "$ORDER" });
    let user = || json!({ "userId": "$USER" });
    let placed = json!({ "userId": "$USER", "amount": "1" });
    vec![
        Row {
            route: Some(("POST", "/gateway/orders", Some(placed.clone()))),
            other: Some("NOT_OWNER"),
            ..row("ordermesh.orders.v1.OrdersService/CreateOrder", "orders:write", json!({ "order": placed }))
        },
        Row {
            route: get("/gateway/orders/$ORDER"),
            other: Some("ORDER_NOT_FOUND"),
            operator: "",
            ..row("ordermesh.orders.v1.OrdersService/GetOrder", "orders:read", order())
        },
        Row {
            route: get("/gateway/orders?userId=$USER"),
            other: Some("NOT_OWNER"),
            operator: "",
            ..row("ordermesh.orders.v1.OrdersService/ListOrders", "orders:read", user())
        },
        Row {
            route: Some(("POST", "/gateway/orders/$ORDER:cancel", Some(json!({})))),
            own: "ORDER_NOT_CANCELLABLE",
            other: Some("ORDER_NOT_FOUND"),
            ..row("ordermesh.orders.v1.OrdersService/CancelOrder", "orders:write", order())
        },
        Row {
            route: get("/gateway/orders/$ORDER/events"),
            other: Some("ORDER_NOT_FOUND"),
            operator: "",
            ..row("ordermesh.orders.v1.OrdersService/ListOrderEvents", "orders:read", order())
        },
        Row {
            route: get("/gateway/orders/$ORDER:watch"),
            streams: true,
            other: Some("ORDER_NOT_FOUND"),
            operator: "",
            ..row("ordermesh.orders.v1.OrdersService/WatchOrder", "orders:read", order())
        },
        Row {
            route: get("/gateway/orders:watch?userId=$USER"),
            streams: true,
            other: Some("NOT_OWNER"),
            operator: "",
            ..row("ordermesh.orders.v1.OrdersService/WatchOrders", "orders:read", user())
        },
    ]
}

fn payments() -> Vec<Row> {
    let user = || json!({ "userId": "$USER" });
    vec![
        Row {
            route: Some(("POST", "/gateway/payments", Some(user()))),
            own: "ACCOUNT_ALREADY_EXISTS",
            other: Some("NOT_OWNER"),
            ..row(
                "ordermesh.payments.v1.PaymentsService/CreateAccount",
                "payments:write",
                json!({ "account": user() }),
            )
        },
        Row {
            route: Some(("POST", "/gateway/payments/$USER/top-up", Some(json!({ "amount": "1" })))),
            other: Some("NOT_OWNER"),
            ..row(
                "ordermesh.payments.v1.PaymentsService/TopUpAccount",
                "payments:write",
                json!({ "userId": "$USER", "amount": "1" }),
            )
        },
        Row {
            route: get("/gateway/payments/$USER"),
            other: Some("NOT_OWNER"),
            operator: "",
            ..row("ordermesh.payments.v1.PaymentsService/GetAccount", "payments:read", user())
        },
        Row {
            route: get("/gateway/payments/$USER/entries"),
            other: Some("NOT_OWNER"),
            operator: "",
            ..row("ordermesh.payments.v1.PaymentsService/ListLedgerEntries", "payments:read", user())
        },
        Row {
            route: get("/gateway/orders/$ORDER/payment"),
            other: Some("PAYMENT_NOT_FOUND"),
            operator: "",
            ..row(
                "ordermesh.payments.v1.PaymentsService/GetPayment",
                "payments:read",
                json!({ "orderId": "$ORDER" }),
            )
        },
        Row {
            other: Some("ORDER_NOT_FOUND"),
            operator: "",
            ..row("shipping.v1.ShippingService/GetShipment", "shipping:read", json!({ "orderId": "$ORDER" }))
        },
    ]
}

fn operators() -> Vec<Row> {
    let read = |method, path| Row {
        admin: Some(("GET", path)),
        operator: "",
        ..row(method, "admin:read", json!({}))
    };
    let write = |method, path, request| Row {
        admin: Some(("POST", path)),
        operator: "",
        ..row(method, "admin:write", request)
    };
    vec![
        read("ordermesh.payments.v1.PaymentsAdminService/ListAccounts", "/admin/v1/$SERVICE/accounts"),
        read(
            "ordermesh.payments.v1.PaymentsAdminService/GetReconciliationReport",
            "/admin/v1/$SERVICE/reconciliation",
        ),
        read("ordermesh.messaging.v1.MessagingAdminService/GetMessagingStatus", "/admin/v1/$SERVICE/status"),
        read("ordermesh.messaging.v1.MessagingAdminService/ListParkedMessages", "/admin/v1/$SERVICE/parked"),
        read("ordermesh.audit.v1.AuditService/ListAuditEvents", "/admin/v1/$SERVICE/audit"),
        Row {
            request: json!({ "orderId": "$ORDER" }),
            ..read("ordermesh.orders.v1.OrdersAdminService/ExplainOrder", "/admin/v1/$SERVICE/$ORDER:explain")
        },
        Row {
            request: json!({ "orderId": "$ORDER", "userId": "$USER" }),
            ..read(
                "ordermesh.payments.v1.PaymentsAdminService/ExplainPayment",
                "/admin/v1/$SERVICE/orders/$ORDER:explain?userId=$USER",
            )
        },
        write(
            "ordermesh.messaging.v1.MessagingAdminService/RedriveParkedMessages",
            "/admin/v1/$SERVICE/parked:redrive",
            json!({ "operator": "olga" }),
        ),
        read(
            "ordermesh.messaging.v1.MessagingAdminService/ListParkedMessageGroups",
            "/admin/v1/$SERVICE/parked:groups",
        ),
        read("ordermesh.messaging.v1.MessagingAdminService/ListRedrives", "/admin/v1/$SERVICE/redrives"),
        read("ordermesh.messaging.v1.PausesService/ListPauses", "/admin/v1/$SERVICE/pauses"),
    ]
    .into_iter()
    .chain(pauses())
    .chain(reconciliation())
    .chain(operators_of_parked_messages())
    .collect()
}

/// Nothing is parked, and no redrive was started before.
fn operators_of_parked_messages() -> Vec<Row> {
    let act = |mut request: Value| {
        request["operator"] = "olga".into();
        request["reason"] = "a test".into();
        request
    };
    let missing = json!({ "redriveId": "1000000" });
    let any = json!({ "filter": { "kind": "none" } });
    let rows = [
        (
            "ordermesh.messaging.v1.MessagingAdminService/PreviewParkedMessages",
            ("POST", "/admin/v1/$SERVICE/parked:preview"),
            "admin:write",
            json!({}),
            "",
        ),
        (
            "ordermesh.messaging.v1.MessagingAdminService/DiscardParkedMessages",
            ("POST", "/admin/v1/$SERVICE/parked:discard"),
            "admin:write",
            act(any.clone()),
            "",
        ),
        (
            "ordermesh.messaging.v1.MessagingAdminService/StartRedrive",
            ("POST", "/admin/v1/$SERVICE/redrives"),
            "admin:write",
            act(any),
            "",
        ),
        (
            "ordermesh.messaging.v1.MessagingAdminService/StopRedrive",
            ("POST", "/admin/v1/$SERVICE/redrives/1000000:stop"),
            "admin:write",
            act(missing.clone()),
            "REDRIVE_NOT_FOUND",
        ),
        (
            "ordermesh.messaging.v1.MessagingAdminService/GetRedrive",
            ("GET", "/admin/v1/$SERVICE/redrives/1000000"),
            "admin:read",
            missing,
            "REDRIVE_NOT_FOUND",
        ),
        (
            "ordermesh.messaging.v1.MessagingAdminService/EditParkedMessage",
            ("POST", "/admin/v1/$SERVICE/parked/1000000:edit"),
            "admin:write",
            act(json!({ "sequence": "1000000", "patch": {} })),
            "PARKED_MESSAGE_NOT_FOUND",
        ),
    ];
    let methods = rows.map(|(method, admin, scope, request, outcome)| Row {
        admin: Some(admin),
        operator: outcome,
        own: outcome,
        ..row(method, scope, request)
    });
    methods.into()
}

/// Nothing is paused while others are at it: the service has no such partition, and there is no such pause.
fn pauses() -> [Row; 2] {
    let pause =
        json!({ "pause": { "part": "CONSUMER", "partition": 9, "reason": "none", "operator": "olga" } });
    let pause = Row {
        admin: Some(("POST", "/admin/v1/$SERVICE/pauses")),
        own: "INVALID_FIELD",
        ..row("ordermesh.messaging.v1.PausesService/CreatePause", "admin:write", pause)
    };
    let resume = json!({ "sequence": "1000", "operator": "olga" });
    let resume = Row {
        admin: Some(("POST", "/admin/v1/$SERVICE/pauses/1000:resume")),
        own: "PAUSE_NOT_FOUND",
        ..row("ordermesh.messaging.v1.PausesService/DeletePause", "admin:write", resume)
    };
    [pause, resume]
}

/// Nothing differs, and nothing is placed in the range.
fn reconciliation() -> Vec<Row> {
    let range = json!({ "from": "2026-01-31T00:00:00Z", "until": "2026-01-31T00:01:00Z" });
    let read = |method, path, request: &Value| Row {
        admin: Some(("GET", path)),
        operator: "",
        ..row(method, "admin:read", request.clone())
    };
    let digests = "/admin/v1/$SERVICE/decisions:digest?from=2026-01-31T00:00:00Z&until=2026-01-31T00:01:00Z";
    let lists = "/admin/v1/$SERVICE/decisions?from=2026-01-31T00:00:00Z&until=2026-01-31T00:01:00Z";
    vec![
        read("ordermesh.orders.v1.OrdersAdminService/DigestDecisions", digests, &range),
        read("ordermesh.payments.v1.PaymentsAdminService/DigestDecisions", digests, &range),
        read("ordermesh.orders.v1.OrdersAdminService/ListDecisions", lists, &range),
        read("ordermesh.payments.v1.PaymentsAdminService/ListDecisions", lists, &range),
        read(
            "ordermesh.orders.v1.OrdersAdminService/GetReconciliation",
            "/admin/v1/$SERVICE/reconciliation",
            &json!({}),
        ),
        Row {
            admin: Some(("POST", "/admin/v1/$SERVICE/reconciliation:heal")),
            operator: "",
            ..row(
                "ordermesh.orders.v1.OrdersAdminService/HealDifferences",
                "admin:write",
                json!({ "operator": "olga" }),
            )
        },
    ]
}
