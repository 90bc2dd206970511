//! What every broker promises, run against both, and what only one of them can be asked.

mod support {
    pub(crate) mod ground;
    pub(crate) mod given;
    pub(crate) mod contract;
    pub(crate) mod memory;
    pub(crate) mod rabbit;
    pub(crate) mod forms;
    pub(crate) mod faults;
    pub(crate) mod topology;
    pub(crate) mod letters;
    pub(crate) mod tls;
}

use support::{contract, faults, forms, ground::Ground, letters, memory, rabbit, tls, topology};

/// One test per promise and broker.
macro_rules! promises {
    ($($promise:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $promise() -> anyhow::Result<()> {
                super::contract::$promise(&super::Ground::Memory).await
            })+
        }
        mod on_rabbitmq {
            $(#[tokio::test]
            async fn $promise() -> anyhow::Result<()> {
                super::contract::$promise(&super::Ground::rabbit().await?).await
            })+
        }
    };
}

promises! {
    an_envelope_arrives_as_it_was_sent,
    the_order_of_a_key_is_kept,
    a_message_without_a_queue_is_unroutable_until_there_is_one,
    every_consumer_gets_its_copy,
    a_message_is_in_the_queue_of_its_partition_only,
    the_unacknowledged_are_delivered_again_in_order,
    an_acknowledgement_covers_everything_before,
    what_is_acknowledged_alone_leaves_the_others,
    no_more_than_the_prefetch_is_unanswered,
    one_of_two_subscribers_is_active_until_it_goes,
    a_dropped_receive_loses_nothing,
    a_cancelled_inflow_gives_what_was_delivered_and_nothing_more,
}

/// The same for what is special about one broker.
macro_rules! specials {
    ($module:ident: $($special:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $special() -> anyhow::Result<()> {
            $module::$special().await
        })+
    };
}

specials! {
    memory:
    the_queues_of_known_subscriptions_exist_from_the_start,
    a_message_is_confirmed_when_the_last_consumer_has_acknowledged_it,
    what_nobody_acknowledges_in_time_is_unknown_and_withdrawn,
    a_dropped_publish_is_withdrawn,
    an_abandoned_copy_does_not_return_to_the_queue,
    a_held_queue_gives_back_what_comes_and_keeps_its_order,
}

specials! {
    rabbit:
    a_foreign_message_arrives_with_its_body_and_headers,
    a_subject_that_nobody_can_store_is_left_out,
    whoever_has_caused_a_message_arrives_as_written,
    an_impossible_message_is_refused_alone,
    a_channel_that_refuses_is_left,
    another_declaration_is_refused_with_the_reason,
    a_deleted_queue_ends_its_inflow,
    what_is_never_acknowledged_becomes_a_dead_letter,
    a_url_is_checked_and_its_password_kept_back,
    a_queue_bound_in_the_middle_of_a_window_keeps_the_order,
}

specials! {
    forms:
    binary_mode_with_either_prefix_and_json_are_read,
    what_no_form_allows_is_kept_with_the_reason,
}

specials! {
    topology:
    what_is_published_before_its_consumer_ever_came_waits_for_it,
    whatever_is_deleted_is_found_and_declared_again,
    a_strangers_queue_keeps_nobody_from_the_others,
    an_exclusive_queue_of_a_stranger_keeps_nobody_from_the_others,
    fewer_partitions_are_refused_until_the_queues_beyond_are_empty,
    a_message_for_which_the_broker_closes_the_channel_is_refused_alone,
    a_declared_topology_needs_no_permission_to_declare,
    what_is_denied_lets_nothing_else_pass,
}

specials! {
    letters:
    a_letter_that_cannot_be_moved_is_kept_and_holds_up_no_other,
    what_versions_before_left_is_moved,
}

specials! {
    tls:
    messages_travel_over_tls_with_a_private_authority,
}

specials! {
    faults:
    a_killed_broker_keeps_what_it_confirmed,
    an_alarm_ends_in_unknown_and_passes,
    nobody_listens,
    nodes_that_do_not_answer_are_passed_over,
    a_broker_that_never_answers_is_left_alone,
    a_connection_that_falls_silent_is_given_up,
}
