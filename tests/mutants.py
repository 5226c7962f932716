"""Machines that are broken on purpose, one promise each, and the test that must notice.

`docs/testing.md` shows the same list; `tests/test_mutants.py` proves both.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """In `module` of dafka/core, `sound` is replaced by `broken`; `test` then fails."""

    promise: str
    module: str
    sound: str
    broken: str
    test: str


MUTANTS = (
    Mutant(
        "a store acknowledges only what is durable",
        "store_writer",
        "return [self._ack(key)] if run.next <= self._durable.get(key, 0) else []",
        "self._durable[key] = run.next; return [self._ack(key)]",
        "core/test_core_store_writer.py::test_duplicate_of_records_on_their_way_to_disk_is_not_acknowledged",
    ),
    Mutant(
        "a store acknowledges a duplicate again: the first ACK may be lost",
        "store_writer",
        "return [self._ack(key)] if run.next <= self._durable.get(key, 0) else []",
        "return []",
        "core/test_core_store_writer.py::test_duplicate_of_durable_records_is_acknowledged_again_and_not_written",
    ),
    Mutant(
        "a deleted topic is deleted at a store that was away, too",
        "store_writer",
        "actions.append(Drop(*key, before, deleted=True))",
        "pass",
        "simulation/test_scenarios.py::test_a_deleted_topic_stays_deleted_also_at_a_store_that_was_away",
    ),
    Mutant(
        "nothing is delivered or stored twice",
        "intake",
        "if run.next <= self.next:\n            return []",
        "if run.next <= self.next:\n            return [run]",
        "core/test_core_intake.py::test_records_are_handed_on_in_order_once_and_whatever_else_is_held",
    ),
    Mutant(
        "what waits for a gap stays within its bound",
        "intake",
        "if run.contents and self.waiting_bytes + size <= room:",
        "if run.contents:",
        "core/test_core_intake.py::test_held_records_stay_within_the_room",
    ),
    Mutant(
        "silence makes requests rare",
        "fetcher",
        "self._pause * 2 ** min(self.attempts, 16)",
        "self._pause",
        "core/test_core_fetcher.py::test_silence_never_makes_a_request_storm",
    ),
    Mutant(
        "a C producer is not believed where it can be wrong",
        "sources",
        "return run if fresh and run.contents else None",
        "return arrival.run",
        "core/test_core_consumer.py::test_c_producer_is_not_believed_once_it_was_asked_for_anything_but_0",
    ),
    Mutant(
        "a consumer gets its topic, and none that begins like it",
        "consumer",
        "return self._listen(topic, now, exact=True)",
        "return self._listen(topic, now, exact=False)",
        "core/test_core_consumer.py::test_subscription_ends_the_topic_so_that_longer_names_stay_out",
    ),
    Mutant(
        'a partition that is new is "latest" from its first record on',
        "start",
        'return 0 if start == "earliest" or is_new else latest',
        'return 0 if start == "earliest" else latest',
        "simulation/test_scenarios.py::test_latest_consumer_gets_a_suffix_without_history",
    ),
    Mutant(
        "what has expired is skipped only if no store keeps it",
        "partition",
        "return None if attempts < patience else min(above)",
        "return min(above)",
        "simulation/test_scenarios.py::test_what_one_store_still_keeps_is_never_skipped",
    ),
    Mutant(
        "a producer keeps a record until enough distinct stores have it",
        "producer",
        "enough = sorted(self._acks.values(), reverse=True)[wanted - 1]",
        "enough = max(self._acks.values())",
        "core/test_core_producer.py::test_records_are_kept_until_enough_distinct_stores_have_them",
    ),
    Mutant(
        "an acknowledgement that was lost is asked for",
        "producer",
        "actions.append(Send(GetHeads(self.topic, self.address)))",
        "pass",
        "core/test_core_producer.py::test_a_stalled_producer_asks_the_stores_where_they_are",
    ),
    Mutant(
        "one long answer does not starve others",
        "answers",
        "self._answers.move_to_end(key)",
        "pass",
        "core/test_core_producer.py::test_an_answer_is_cut_into_slices_and_requesters_take_turns",
    ),
    Mutant(
        "who does not welcome runs is answered record by record",
        "answers",
        "answer.runs = runs",
        "answer.runs = True",
        "core/test_core_store_reader.py::test_form_of_an_answer_is_what_was_welcome_last",
    ),
    Mutant(
        "a peer that publishes in runs is listened to where it does",
        "beacon",
        "Connect(address, endpoint, born, runs)",
        "Connect(address, endpoint, born)",
        "core/test_core_beacon.py::test_where_a_peer_publishes_runs_is_another_port_of_its_host",
    ),
    Mutant(
        "losing every tower disconnects nobody",
        "beacon",
        "if self.caught_up and self._towers_speak(now):",
        "if self.caught_up:",
        "core/test_core_beacon.py::test_losing_every_tower_disconnects_nobody",
    ),
    Mutant(
        "a local node is called by an address that a remote one can reach",
        "tower",
        "return self._own_host() if remote else _LOOPBACK",
        "return _LOOPBACK",
        "core/test_core_tower.py::test_local_node_has_the_machines_address_while_a_remote_node_is_there",
    ),
    Mutant(
        "retention by number never keeps fewer than it says",
        "retention",
        "many = rule.records is not None and left >= rule.records",
        "many = rule.records is not None and records > rule.records",
        "core/test_core_retention.py::test_by_records_there_are_never_fewer_left",
    ),
    Mutant(
        "what came while a named consumer was away comes from its first record on",
        "start",
        "return Place(0, sought=True)",
        "return Place(latest, sought=True)",
        "core/test_core_positions.py::test_partition_that_came_since_begins_with_its_first_record_also_if_it_is_heard_live",
    ),
    Mutant(
        "what is paused keeps nothing and asks for nothing",
        "standing",
        "return key in self._pauses.keys or key in self._lookups",
        "return key in self._lookups",
        "core/test_core_positions.py::test_paused_partition_delivers_nothing_keeps_nothing_and_asks_for_nothing",
    ),
    Mutant(
        "of stores that tell where a partition was at a time, the latest place counts",
        "lookups",
        "max(lookup.answers.values(), default=None)",
        "min(lookup.answers.values(), default=None)",
        "core/test_core_positions.py::test_largest_answer_counts_once_all_stores_have_answered",
    ),
)
