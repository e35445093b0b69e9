//! The store's promises, checked on both databases.
//!
//! `conformance/` holds public async functions named after what they promise; the macro below lists each of them once per
//! database, so a promise cannot hold on one of them only. `crash.rs` kills a process in the middle of its commits.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod conformance;
mod crash;
mod fixture;
mod layout;
mod size;
mod works;

/// One test per database for each conformance function.
macro_rules! on_both {
    ($($module:ident::{$($name:ident),* $(,)?};)*) => {
        mod sqlite {
            $(mod $module {
                $(#[test]
                fn $name() {
                    crate::fixture::on_sqlite(crate::conformance::$module::$name);
                })*
            })*
        }
        mod postgres {
            $(mod $module {
                $(#[test]
                fn $name() {
                    crate::fixture::on_postgres(crate::conformance::$module::$name);
                })*
            })*
        }
    };
}

on_both! {
    log::{
        an_empty_store_has_no_logs,
        events_come_back_as_they_were_written,
        positions_are_dense_and_logs_are_separate,
        the_chain_verifies_and_names_a_flipped_byte,
        time_in_a_log_never_runs_backwards,
        a_snapshot_reload_equals_a_full_replay,
        a_snapshot_that_does_not_fit_is_ignored,
        a_snapshot_of_another_mark_is_no_baseline,
        a_broken_stream_fails_its_own_commands_only,
        a_stream_with_a_newer_event_says_which_and_fails_its_own_commands_only,
    };
    receipts::{
        a_repeated_command_gets_its_stored_answer,
        another_body_is_refused,
        repetitions_inside_one_batch_are_one_command,
        receipts_outlive_a_restart_and_refusals_leave_none,
        a_receipt_that_nobody_remembers_is_found_by_the_write,
        a_repetition_that_would_be_refused_gets_its_stored_answer,
    };
    decisions::{
        a_command_sees_what_earlier_ones_of_its_batch_did,
        streams_are_asked_for_twice_so_one_may_lead_to_another,
        a_decision_may_ask_for_more_streams,
        asking_without_end_is_a_fault,
        a_refused_or_panicking_decision_leaves_nothing,
        events_that_cannot_be_stored_are_a_fault_of_their_command,
        a_command_the_database_refuses_fails_alone,
        a_dropped_caller_takes_nothing_back,
        too_many_waiting_commands_are_turned_away,
        a_shutdown_finishes_what_waits,
    };
    vaults::{
        what_is_kept_opens_again,
        nothing_personal_stands_in_the_database,
        another_master_key_opens_nothing,
        hashes_hold_over_a_restart,
        a_secret_reference_is_used_once,
    };
    keys::{
        what_an_earlier_version_kept_opens_and_is_sealed_anew,
        a_master_key_is_replaced_while_nodes_run,
        a_dropped_master_key_is_no_trap_for_a_node_that_runs_with_it,
        a_new_data_key_seals_on_every_node,
        re_sealing_goes_on_where_it_was_stopped,
        re_sealing_leaves_alone_what_others_write_and_delete,
        a_damaged_value_is_reported_and_keeps_the_old_key,
        every_table_with_sealed_values_is_known,
    };
    platforms::{
        the_newest_ticket_of_each_platform_is_kept_over_restarts,
        tickets_are_asked_for_by_one_node_at_a_time,
        an_authorization_is_found_by_state_code_and_request_and_ends_once,
        a_code_that_comes_both_ways_is_one_and_is_carried_out_once,
        old_authorizations_and_codes_are_forgotten,
        an_older_refresh_token_never_takes_the_place_of_a_newer_one,
        a_loss_that_is_older_than_the_authorization_undoes_nothing,
        a_channel_is_called_by_one_platform,
        nothing_of_a_platform_is_stored_in_the_clear,
        what_is_secret_of_platforms_goes_under_a_new_data_key,
    };
    forgetting::{
        what_is_forgotten_goes_with_its_command,
        within_one_batch_the_last_word_counts,
        what_was_deleted_leaves_the_files,
        contents_go_after_their_message_has_ended,
        receipts_go_by_age_in_pieces,
        two_sweeps_at_once_delete_each_row_once,
    };
    queue::{
        due_rows_are_claimed_oldest_first_and_once,
        a_subject_has_one_row_under_way,
        a_doubt_holds_back_its_subject_and_template,
        leases_that_ran_out_are_swept,
        one_batch_may_queue_start_and_end_a_delivery,
        concurrent_claims_never_share_a_row_or_a_subject,
        a_claim_looks_at_few_rows_however_it_was_planned,
        counts_and_the_next_due_time_are_right,
        doubts_are_overdue_by_the_time_in_doubt,
        what_is_held_back_is_not_overdue_but_expires,
        single_deliveries_go_on_while_bulk_is_held,
        a_claim_of_singles_looks_at_little_of_the_bulk,
    };
    quotas::{
        samples_are_kept_for_a_few_days,
        failures_are_counted_until_one_comes_through,
    };
    pushes::{
        a_push_its_events_and_its_receipt_are_one_commit,
        a_command_that_leaves_nothing_leaves_no_push,
        a_second_push_of_a_key_is_not_kept,
        within_one_batch_a_push_may_be_kept_settled_and_forgotten,
        what_cannot_be_kept_is_a_fault_of_its_command,
        a_word_of_wechat_is_kept_short_and_printable,
        bodies_are_sealed_in_their_place,
        lists_run_from_the_newest_and_are_filtered,
        health_tells_counts_and_the_state_of_the_relay,
        what_was_not_acted_on_is_found_oldest_first,
        pushes_go_by_age_unless_they_wait,
        a_person_is_forgotten_with_every_push,
    };
    relays::{
        pushes_of_one_sender_go_one_by_one_in_order,
        those_that_name_nobody_are_one_sender_per_log,
        a_lease_that_ran_out_is_taken_over_and_its_holder_refused,
        what_is_tried_again_holds_its_sender_back,
        what_was_given_up_lets_the_next_go_and_can_be_tried_again,
        what_is_held_back_waits_and_no_attempt_is_counted,
        a_long_line_is_looked_at_once,
        a_log_takes_no_more_than_its_room,
        a_body_that_does_not_open_stops_nobody,
        claims_and_ends_at_once_keep_the_order_and_lose_nothing,
    };
    readers::{
        a_commit_wakes_the_tail_of_this_node_and_of_others,
        readers_by_position_miss_nothing_under_concurrent_writers,
        two_executors_on_one_log_agree,
        an_answer_that_writes_nothing_is_not_older_than_the_log,
        commands_of_one_batch_share_what_another_node_wrote,
        no_executor_refuses_on_old_news,
    };
    leases::{
        a_lease_has_one_holder_until_it_runs_out,
        a_holder_that_lost_its_lease_cannot_renew_it,
        a_released_lease_is_free_at_once,
        many_leases_are_taken_in_one_statement,
        of_many_contenders_one_gets_the_lease,
    };
    tokens::{
        one_fetches_and_all_use_what_was_fetched,
        a_turn_that_ran_out_is_taken_over_and_its_token_refused,
        a_turn_that_is_given_up_is_free_at_once,
        only_the_token_that_was_refused_is_replaced,
        a_token_lives_as_long_as_was_said,
        fetches_are_counted_over_all_nodes,
        forced_fetches_keep_their_distance,
        of_many_askers_one_fetches,
        tokens_are_sealed_in_their_place,
    };
    scans::{
        a_scan_reads_what_pages_read,
        a_scan_that_is_given_up_holds_nothing,
    };
    recovery::{
        executors_go_on_after_their_connections_are_cut,
        two_nodes_may_open_a_new_database_at_once,
    };
    framework::{
        cqrs_es_runs_a_ledger_and_a_binding,
        an_optimistic_commit_on_an_old_version_conflicts,
    };
}
