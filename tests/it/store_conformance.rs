//! What every store guarantees, tried on each: one suite, run as `embedded::…` and `mongo::…`.
//!
//! A test gets a [`Site`] of its own, opens it as often as there are hosts in its story, and
//! reads the outcome through another host than the one that wrote. MongoDB is the replica set
//! that `PROJECTIONIST_TEST_MONGODB` names; without it, the tests that need it fail.

#[path = "store_conformance/changes.rs"]
mod changes;
#[path = "store_conformance/claims.rs"]
mod claims;
#[path = "store_conformance/commits.rs"]
mod commits;
#[path = "store_conformance/documents.rs"]
mod documents;
#[path = "store_conformance/entries.rs"]
mod entries;
#[path = "store_conformance/fencing.rs"]
mod fencing;
#[path = "store_conformance/fixtures.rs"]
mod fixtures;
#[path = "store_conformance/model.rs"]
mod model;
#[path = "store_conformance/races.rs"]
mod races;
#[path = "store_conformance/reading.rs"]
mod reading;
#[path = "store_conformance/registry.rs"]
mod registry;
#[path = "store_conformance/rejections.rs"]
mod rejections;
#[path = "store_conformance/repairs.rs"]
mod repairs;
#[path = "store_conformance/scans.rs"]
mod scans;
#[path = "store_conformance/shared_keys.rs"]
mod shared_keys;
#[path = "store_conformance/site.rs"]
mod site;

use site::{Site, run};

/// Makes each behaviour a test of each store.
macro_rules! conformance {
    ($($module:ident: $($test:ident),+;)+) => {
        mod embedded {
            $($(#[test] fn $test() {
                super::run(super::Site::embedded(), super::$module::$test);
            })+)+
        }
        mod mongo {
            $($(#[test] fn $test() {
                super::run(super::Site::mongo(), super::$module::$test);
            })+)+
        }
    };
}

conformance! {
    changes:
        changes_come_back_on_every_host_from_the_newest_on,
        changes_are_read_in_pages,
        a_long_text_of_a_change_is_cut;
    claims:
        a_first_claim_starts_at_offset_0,
        a_first_claim_starts_where_it_says_and_later_ones_where_it_stands,
        a_checkpoint_tells_which_log_it_is_of,
        each_claim_counts_the_epoch_up_and_keeps_the_position,
        a_partition_that_nobody_claimed_has_no_checkpoint,
        claims_of_different_checkpoints_are_apart,
        concurrent_claims_get_different_epochs;
    commits:
        documents_and_checkpoint_move_together,
        a_commit_without_writes_moves_the_checkpoint,
        updates_and_deletes_change_what_exists,
        a_deleted_document_may_come_back,
        a_write_that_does_not_find_what_it_expects_changes_nothing,
        a_guard_holds_the_whole_provenance,
        views_and_their_versions_are_apart,
        several_partitions_move_in_one_commit,
        a_repeated_commit_is_recognised_and_writes_once,
        thousands_of_documents_fit_one_commit;
    fencing:
        a_fenced_host_stores_nothing,
        a_fenced_host_is_told_so_whatever_its_documents_are,
        a_commit_from_another_position_stores_nothing,
        a_partition_that_nobody_claimed_takes_no_commit,
        one_fenced_partition_of_several_stops_the_commit_and_is_named,
        a_commit_of_which_a_part_was_stored_before_is_fenced,
        a_stored_commit_is_not_recognised_under_another_epoch;
    documents:
        documents_come_in_the_order_of_the_ids,
        documents_that_are_too_large_together_are_given_up,
        any_string_is_an_id,
        thousands_of_ids_load_at_once,
        large_documents_survive,
        a_read_that_ends_early_says_what_it_left,
        every_bson_type_survives,
        provenance_survives,
        a_host_sees_what_another_has_stored,
        a_view_that_nobody_prepared_is_empty,
        preparing_again_keeps_the_documents,
        a_view_has_one_writer_and_refuses_others,
        a_writer_keeps_the_views_that_it_began_with,
        a_store_in_order_answers_a_ping;
    entries:
        entries_change_with_documents_and_checkpoint,
        a_fenced_host_changes_no_entry,
        an_entry_that_is_not_as_expected_stops_the_whole_commit,
        a_repeated_commit_of_entries_is_recognised,
        pages_go_by_the_ids_within_a_prefix,
        pages_of_a_table_make_up_the_whole,
        large_entries_come_in_several_pages,
        an_entry_that_is_too_large_is_told_so,
        every_bson_type_survives_in_an_entry,
        entries_are_found_by_their_ids,
        of_those_who_add_an_entry_at_once_one_has_added_it,
        entries_are_put_and_removed_outside_of_commits,
        tables_are_apart,
        tables_that_nobody_wrote_to_are_empty;
    rejections:
        a_document_that_a_users_index_forbids_is_named_and_nothing_is_stored,
        an_update_that_a_users_index_forbids_is_named_too,
        an_entry_that_a_users_index_forbids_is_named_and_nothing_is_stored,
        a_value_of_a_users_index_passes_from_one_document_to_another;
    repairs:
        a_repair_leaves_the_position_and_is_counted,
        a_repeated_repair_is_recognised_and_done_once,
        a_commit_that_missed_a_repair_stores_nothing,
        a_repair_may_move_the_position_too;
    registry:
        a_plugin_comes_back_on_every_host_as_it_was,
        a_plugin_that_is_saved_again_stays_as_it_is,
        an_upload_that_ended_half_way_is_not_seen,
        a_plugin_is_found_by_the_start_of_its_hash,
        a_damaged_plugin_is_not_handed_out;
    reading:
        a_reader_sees_documents_as_they_are_stored,
        a_reader_sees_how_far_each_partition_is_stored,
        what_is_read_after_a_position_is_at_least_as_new;
    scans:
        a_scan_goes_by_the_bytes_of_the_ids,
        a_scan_starts_after_an_id_and_ends_at_its_limit,
        pages_of_a_scan_make_up_the_whole;
    shared_keys:
        to_share_keys_fences_all_owners_of_one_writer;
    races:
        concurrent_commits_of_different_partitions_all_land,
        a_claim_and_a_commit_never_cross,
        of_racing_owners_each_event_is_counted_once,
        of_concurrent_inserts_of_an_entry_exactly_one_is_stored;
    model:
        a_random_history_ends_as_the_model_says;
}
