//! The query gateway as its readers find it, on each kind of store: one suite, run as
//! `embedded::…` and `mongo::…`.
//!
//! A test gets a gateway of its own on a port of its own, in front of a store that it writes to as
//! a projection does. MongoDB is the replica set that `PROJECTIONIST_TEST_MONGODB` names.

#[path = "gateway/abandoned.rs"]
mod abandoned;
#[path = "gateway/access.rs"]
mod access;
#[path = "gateway/client.rs"]
mod client;
#[path = "gateway/clients.rs"]
mod clients;
#[path = "gateway/connections.rs"]
mod connections;
#[path = "gateway/copies.rs"]
mod copies;
#[path = "gateway/documents.rs"]
mod documents;
#[path = "gateway/events.rs"]
mod events;
#[path = "gateway/freshness.rs"]
mod freshness;
#[path = "gateway/hosts.rs"]
mod hosts;
#[path = "gateway/lists.rs"]
mod lists;
#[path = "gateway/names.rs"]
mod names;
#[path = "gateway/outages.rs"]
mod outages;
#[path = "gateway/site.rs"]
mod site;
#[path = "gateway/wire.rs"]
mod wire;

/// Makes each behaviour a test on each store.
macro_rules! on_each_store {
    ($($module:ident: $($test:ident),+;)+) => {
        mod embedded {
            $($(#[test] fn $test() {
                crate::site::run(crate::site::Kind::Embedded, crate::$module::$test);
            })+)+
        }
        mod mongo {
            $($(#[test] fn $test() {
                crate::site::run(crate::site::Kind::Mongo, crate::$module::$test);
            })+)+
        }
    };
}

on_each_store! {
    documents:
        a_document_is_read_by_its_id,
        what_is_not_there_is_told_so,
        a_version_that_is_known_is_not_sent_again,
        fields_are_chosen,
        a_query_that_is_not_understood_is_refused;
    freshness:
        an_answer_names_its_position,
        a_position_that_is_not_reached_is_told_with_its_lag,
        whoever_waits_is_answered_when_the_position_is_reached,
        a_token_that_names_nothing_is_refused,
        a_parked_key_ends_the_wait,
        no_reader_sees_less_than_was_written_before;
    lists:
        documents_are_filtered_and_sorted_by_indexes,
        values_are_told_apart_by_their_types,
        pages_make_up_the_whole_in_either_order,
        documents_without_the_field_are_listed_too,
        a_list_may_wait_for_a_position,
        what_no_index_serves_is_refused,
        a_cursor_of_another_list_is_refused;
    events:
        a_stream_tells_of_each_change,
        a_stream_goes_on_after_the_last_event,
        there_are_so_many_streams_and_no_more;
}
