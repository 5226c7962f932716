"""Whom a tool asks what a cluster holds, and when it knows enough."""

from __future__ import annotations

from itertools import count

import pytest
from simulation.world import Faults, Node, World
from support.machines import (
    CONSUMER,
    ENDPOINT,
    OTHER_ENDPOINT,
    OTHER_READER,
    PRODUCER,
    READER,
    WRITER,
    address,
    live,
    only,
    sent,
)

from dafka.core import inspector as module
from dafka.core.actions import Action, Send, Settled, Subscribe
from dafka.core.asked import PATIENCE_S, QUIET_S
from dafka.core.inspector import DISCOVERY_S, HEAD_S, REPEAT_S, Inspector
from dafka.core.role import Role, named_in
from dafka.core.run import Arrival, Origin
from protocol import (
    ConsumerHello,
    DeleteTopic,
    DirectHead,
    DirectRecord,
    Fetch,
    Head,
    Message,
    StoreHello,
    TopicDeleted,
    subscription,
)

TOOL = address(0x70)
REPLY = address(1000)
"""The first reply address that is made up."""
ASKED = 2.0
"""When a machine that was welcomed at 0 asks, for certain."""


def machine(topic: str | None = "") -> Inspector:
    numbers = count(1000)
    inspector = Inspector(TOOL, topic, lambda: address(next(numbers)))
    assert inspector.next_deadline() is None
    inspector.start(0.0)
    assert inspector.welcomed(0.0) == []
    return inspector


def listens(inspector: Inspector, now: float, reader: str = READER) -> list[Action]:
    """A store's reader can hear us."""
    return inspector.subscribed(subscription(ConsumerHello, reader), now)


def hello(reply: str = REPLY, reader: str = READER) -> StoreHello:
    return StoreHello(reply, reader)


def with_store(topic: str = "") -> Inspector:
    """A machine that has asked one store, at `ASKED`."""
    inspector = machine(topic)
    inspector.peer_found(READER, ENDPOINT, 0.1)
    listens(inspector, 0.2)
    inspector.receive(hello(), 0.3)
    inspector.tick(ASKED)
    return inspector


def head(end: int, topic: str = "t", partition: str = PRODUCER, reply: str = REPLY) -> DirectHead:
    return DirectHead(reply, partition, topic, end - 1, 0, address(7))


class TestStart:
    def test_all_heads_are_heard_where_all_topics_are_asked_for(self) -> None:
        prefixes = [a.prefix for a in only(Inspector(TOOL, "", str).start(0.0), Subscribe)]
        assert subscription(Head) in prefixes
        assert subscription(StoreHello, TOOL) in prefixes

    def test_heads_of_one_topic_are_heard_where_that_is_asked_for(self) -> None:
        prefixes = [a.prefix for a in only(Inspector(TOOL, "t", str).start(0.0), Subscribe)]
        assert b"Ht\0" in prefixes

    def test_no_head_is_heard_where_only_nodes_are_asked_for(self) -> None:
        prefixes = [a.prefix for a in only(Inspector(TOOL, None, str).start(0.0), Subscribe)]
        assert not any(prefix.startswith(subscription(Head)) for prefix in prefixes)


class TestDiscovery:
    def test_without_a_tower_nothing_is_ever_known(self) -> None:
        inspector = Inspector(TOOL, "", str)
        inspector.start(0.0)
        assert inspector.next_deadline() is None
        assert inspector.tick(100.0) == []
        assert not inspector.inventory().complete

    def test_empty_cluster_is_known_when_all_had_the_time_to_show_themselves(self) -> None:
        inspector = machine()
        assert inspector.next_deadline() == DISCOVERY_S
        assert inspector.tick(DISCOVERY_S - 0.01) == []
        assert inspector.tick(DISCOVERY_S) == [Settled()]
        assert inspector.tick(DISCOVERY_S + 9) == []
        assert inspector.next_deadline() is None
        assert inspector.inventory().complete

    @pytest.mark.parametrize("kind", [None, Fetch])
    def test_who_may_be_a_producer_gets_the_time_to_announce(
        self, kind: type[Message] | None
    ) -> None:
        inspector = machine()
        inspector.peer_found(PRODUCER, ENDPOINT, 0.5)
        if kind is not None:
            inspector.subscribed(subscription(kind, PRODUCER), 0.6)
        assert inspector.next_deadline() == 0.5 + HEAD_S
        inspector.receive(Head("t", PRODUCER, "t", 9), 0.9)
        assert inspector.next_deadline() == DISCOVERY_S

    def test_who_is_no_producer_is_not_waited_for(self) -> None:
        inspector = machine()
        inspector.peer_found(CONSUMER, ENDPOINT, 0.5)
        inspector.subscribed(subscription(StoreHello, CONSUMER), 0.6)
        assert inspector.next_deadline() == DISCOVERY_S

    def test_nodes_that_keep_coming_do_not_put_off_the_end(self) -> None:
        inspector = machine()
        inspector.peer_found(PRODUCER, ENDPOINT, DISCOVERY_S + 0.01)
        assert inspector.next_deadline() == DISCOVERY_S

    def test_for_the_nodes_alone_nobody_is_asked(self) -> None:
        inspector = machine(None)
        inspector.peer_found(READER, ENDPOINT, 0.1)
        listens(inspector, 0.2)
        inspector.receive(hello(), 0.3)
        assert inspector.next_deadline() == DISCOVERY_S
        assert inspector.tick(DISCOVERY_S) == [Settled()]
        assert inspector.next_deadline() is None


class TestAsking:
    def test_store_gets_an_address_of_its_own_to_answer_to(self) -> None:
        inspector = machine()
        assert listens(inspector, 0.2) == [
            Subscribe(subscription(DirectHead, REPLY)),
            Subscribe(subscription(StoreHello, REPLY)),
        ]
        assert listens(inspector, 0.3) == []
        assert inspector.receive(hello(TOOL), 0.3) == []
        other = listens(inspector, 0.4, OTHER_READER)
        assert Subscribe(subscription(DirectHead, address(1001))) in other

    def test_store_is_asked_once_when_it_hears_us_and_we_hear_it(self) -> None:
        inspector = machine("t")
        listens(inspector, 0.2)
        inspector.receive(hello(), 0.3)
        assert sent(inspector.tick(1.0), ConsumerHello) == []
        asked = inspector.tick(DISCOVERY_S)
        assert asked == [Send(ConsumerHello(READER, REPLY, ("t",)))]
        assert sent(inspector.tick(DISCOVERY_S + 0.1), ConsumerHello) == []
        assert inspector.receive(hello(), 1.3) == []

    def test_store_that_shows_itself_late_is_asked_at_once(self) -> None:
        inspector = machine()
        inspector.tick(ASKED)
        assert sent(inspector.receive(hello(TOOL), 2.1), ConsumerHello) == []
        assert sent(inspector.receive(hello(), 2.2), ConsumerHello) == []
        assert sent(listens(inspector, 2.3), ConsumerHello) == [ConsumerHello(READER, REPLY, ("",))]

    def test_store_that_proves_nothing_is_asked_after_a_while(self) -> None:
        inspector = machine()
        listens(inspector, 0.9)
        assert inspector.tick(DISCOVERY_S) == []
        assert inspector.next_deadline() == 0.9 + PATIENCE_S
        assert sent(inspector.tick(0.9 + PATIENCE_S), ConsumerHello)
        # It may be empty, but then it would have said hello.
        assert not inspector.inventory().stores[0].answered

    def test_store_that_cannot_hear_us_keeps_the_answer_open(self) -> None:
        inspector = machine()
        inspector.receive(hello(TOOL), 0.3)
        inspector.tick(ASKED)
        assert inspector.next_deadline() is None
        assert inspector.tick(100.0) == []
        found = inspector.inventory()
        assert not found.complete
        assert [store.answered for store in found.stores] == [False]

    def test_only_so_many_stores_are_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "MAX_STORES", 1)
        inspector = machine()
        listens(inspector, 0.2)
        assert listens(inspector, 0.2, OTHER_READER) == []
        assert inspector.receive(hello(TOOL, OTHER_READER), 0.3) == []


class TestAnswers:
    def test_answer_is_known_when_the_store_is_quiet(self) -> None:
        inspector = with_store()
        assert inspector.next_deadline() == ASKED + PATIENCE_S
        inspector.receive(head(10), 2.1)
        assert inspector.next_deadline() == 2.1 + QUIET_S
        inspector.receive(head(5, "u"), 2.2)
        assert inspector.tick(2.1 + QUIET_S) == []
        assert inspector.tick(2.2 + QUIET_S) == [Settled()]
        found = inspector.inventory()
        assert [(p.topic, p.next) for p in found.partitions] == [("t", 10), ("u", 5)]
        (store,) = found.stores
        assert (store.address, store.endpoint, store.name) == (READER, ENDPOINT, address(7))

    def test_empty_store_has_answered_by_its_hello(self) -> None:
        inspector = with_store()
        assert inspector.tick(ASKED + PATIENCE_S - 0.01) == []
        assert inspector.tick(ASKED + PATIENCE_S) == [Settled()]
        assert [store.answered for store in inspector.inventory().stores] == [True]

    def test_stores_without_names_are_told_apart_by_where_they_answer_to(self) -> None:
        inspector = machine()
        for reader in (READER, OTHER_READER):
            listens(inspector, 0.2, reader)
        for reply, reader, end in ((REPLY, READER, 10), (address(1001), OTHER_READER, 4)):
            inspector.receive(hello(reply, reader), 0.3)
            inspector.tick(ASKED)
            inspector.receive(DirectHead(reply, PRODUCER, "t", end - 1), 2.1)
        (partition,) = inspector.inventory().partitions
        lags = {copy.store.address: copy.lag for copy in partition.copies}
        assert lags == {READER: 0, OTHER_READER: 6}

    def test_topics_that_only_begin_like_the_one_asked_for_do_not_count(self) -> None:
        inspector = with_store("t")
        inspector.receive(head(10, "t2"), 2.1)
        inspector.receive(Head("t2", PRODUCER, "t2", 9), 2.1)
        assert inspector.inventory().partitions == ()
        assert inspector.tick(2.1 + QUIET_S) == [Settled()]

    def test_answer_to_somebody_else_does_not_count(self) -> None:
        inspector = with_store()
        inspector.receive(head(10, reply=CONSUMER), 2.1)
        assert inspector.inventory().partitions == ()

    def test_latest_answer_counts(self) -> None:
        inspector = with_store()
        for end in (10, 11):
            inspector.receive(head(end), 2.1)
        assert inspector.inventory().partitions[0].next == 11

    def test_what_is_published_after_asking_is_nobodys_lag(self) -> None:
        inspector = machine()
        for end in (5, 10):
            inspector.receive(Head("t", PRODUCER, "t", end - 1), 0.5)
        inspector.peer_found(READER, ENDPOINT, 0.1)
        listens(inspector, 0.2)
        inspector.receive(hello(), 0.3)
        inspector.tick(ASKED)
        inspector.receive(head(10), 2.05)
        inspector.receive(Head("t", PRODUCER, "t", 99), 2.1)
        (partition,) = inspector.inventory().partitions
        assert (partition.next, partition.copies[0].lag) == (10, 0)

    def test_partition_announced_after_asking_is_shown(self) -> None:
        inspector = with_store()
        inspector.receive(Head("t", PRODUCER, "t", 99), 2.1)
        assert inspector.inventory().partitions[0].next == 100

    def test_what_is_beyond_the_bound_is_missing_and_said_to_be(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_HEADS", 1)
        inspector = with_store()
        inspector.receive(head(10), 2.1)
        inspector.receive(head(10, "u"), 2.1)
        inspector.tick(9.0)
        found = inspector.inventory()
        assert [partition.topic for partition in found.partitions] == ["t"]
        assert not found.complete

    def test_other_messages_change_nothing(self) -> None:
        inspector = with_store()
        assert inspector.receive(live(0, 3), 2.1, Origin.LIVE) == []
        assert inspector.subscribed(b"M", 2.1) == []


class TestLoss:
    def test_store_that_has_gone_does_not_count(self) -> None:
        inspector = with_store()
        inspector.receive(head(10), 2.1)
        inspector.peer_lost(READER, ENDPOINT, 2.2)
        assert inspector.inventory().stores == ()
        assert inspector.receive(head(10), 2.3) == []
        assert inspector.inventory().partitions == ()

    def test_node_with_another_endpoint_is_still_there(self) -> None:
        inspector = with_store()
        inspector.peer_found(READER, OTHER_ENDPOINT, 2.1)
        inspector.peer_lost(READER, ENDPOINT, 2.2)
        assert inspector.inventory().stores[0].endpoint == OTHER_ENDPOINT

    def test_other_nodes_and_unknown_ones_may_go(self) -> None:
        inspector = with_store()
        inspector.peer_found(CONSUMER, OTHER_ENDPOINT, 0.1)
        for gone in (CONSUMER, WRITER):
            assert inspector.peer_lost(gone, OTHER_ENDPOINT, 2.2) == []
        assert len(inspector.inventory().stores) == 1


class TestDeletion:
    def confirm(
        self, inspector: Inspector, records: int, reader: str = READER, subject: str = "t"
    ) -> list[Action]:
        return inspector.receive(TopicDeleted(TOOL, reader, subject, records), 3.5)

    def deleting(self, *readers: str) -> Inspector:
        inspector = with_store("t")
        listens(inspector, 2.5, OTHER_READER)
        inspector.tick(8.0)
        inspector.tick(9.0)
        assert inspector.delete(readers, 10.0) == [Send(DeleteTopic("t", TOOL))]
        return inspector

    def test_confirmations_can_reach_us(self) -> None:
        prefixes = [a.prefix for a in only(Inspector(TOOL, "t", str).start(0.0), Subscribe)]
        assert subscription(TopicDeleted, TOOL) in prefixes

    def test_deletion_is_done_when_all_have_confirmed(self) -> None:
        inspector = self.deleting(READER, OTHER_READER)
        assert self.confirm(inspector, 9) == []
        assert self.confirm(inspector, 0, OTHER_READER) == [Settled()]
        assert inspector.deletions == {READER: 9, OTHER_READER: 0}
        assert self.confirm(inspector, 0, OTHER_READER) == []

    def test_deletion_that_is_not_confirmed_is_repeated(self) -> None:
        inspector = self.deleting(READER)
        assert inspector.next_deadline() == 10.0 + REPEAT_S
        assert inspector.tick(10.0 + REPEAT_S) == [Send(DeleteTopic("t", TOOL))]
        assert inspector.next_deadline() == 10.0 + 2 * REPEAT_S
        self.confirm(inspector, 9)
        assert inspector.next_deadline() is None

    def test_first_confirmation_counts(self) -> None:
        inspector = self.deleting(READER, OTHER_READER)
        self.confirm(inspector, 9)
        self.confirm(inspector, 0)
        assert inspector.deletions == {READER: 9}

    def test_store_that_is_not_waited_for_may_confirm_as_well(self) -> None:
        inspector = self.deleting(READER)
        assert self.confirm(inspector, 3, OTHER_READER) == []
        assert self.confirm(inspector, 9) == [Settled()]
        assert inspector.deletions == {READER: 9, OTHER_READER: 3}

    def test_confirmations_of_strangers_and_of_other_topics_do_not_count(self) -> None:
        inspector = self.deleting(READER)
        assert self.confirm(inspector, 9, subject="u") == []
        assert self.confirm(inspector, 9, reader=CONSUMER) == []
        assert inspector.deletions == {}

    def test_nothing_is_done_about_a_confirmation_nobody_asked_for(self) -> None:
        inspector = with_store("t")
        assert self.confirm(inspector, 9) == []


class Tool(Node):
    """An inspector in the world."""

    settled = 0

    def _settled(self, _: Settled) -> None:
        self.settled += 1


class DeletingReader(Role):
    """What a store's reader of ours does about a deletion."""

    def __init__(self, own: str, records: int) -> None:
        self.address, self.records = own, records

    def start(self) -> list[Action]:
        hears = subscription(ConsumerHello, self.address)
        return [Subscribe(hears), Subscribe(subscription(DeleteTopic))]

    def subscribed(self, prefix: bytes, now: float) -> list[Action]:
        tool = named_in(prefix, StoreHello)
        return [Send(StoreHello(tool, self.address))] if tool else []

    def receive(
        self, message: Message | Arrival, now: float, origin: Origin = Origin.LIVE
    ) -> list[Action]:
        match message:
            case ConsumerHello():
                return [Send(DirectHead(message.address, PRODUCER, "t", self.records - 1))]
            case DeleteTopic():
                deleted, self.records = self.records, 0
                return [Send(TopicDeleted(message.address, self.address, message.topic, deleted))]
            case _:
                return []

    def next_deadline(self) -> float | None:
        return None


def tool(world: World, topic: str) -> Tool:
    node = Tool(world, Inspector(world.address(), topic, world.address))
    node.perform(node.machine.start(world.now))
    node.perform(node.machine.welcomed(world.now))
    return world.introduce(node)


@pytest.mark.parametrize("seed", range(5))
class TestWorld:
    def test_all_stores_and_producers_are_found_whatever_the_order(self, seed: int) -> None:
        world = World(seed)
        world.faults = Faults(duplication=0.1, delay=0.05)
        stores, c_stores = [world.store(), world.store()], [world.c_store(), world.c_store()]
        producers = [world.producer("t"), world.producer("t2"), world.c_producer("t")]
        world.run(2.0)
        for number, producer in enumerate(producers, 3):
            producer.publish(number)
        world.run(5.0)
        node = tool(world, "t")
        world.until(lambda: node.settled == 1, 5.0)
        found = node.machine.inventory()
        readers = {store.reader.address: store.name for store in stores}
        readers |= {store.reader.address: None for store in c_stores}
        assert {store.address: store.name for store in found.stores} == readers
        assert all(store.answered for store in found.stores)
        ends = {p.partition: (p.next, p.alive) for p in found.partitions}
        assert ends == {producers[0].address: (3, True), producers[2].address: (5, True)}
        copies = [copy for partition in found.partitions for copy in partition.copies]
        assert [copy.lag for copy in copies] == [0] * 8

    def test_store_that_was_wiped_and_cut_off_lags(self, seed: int) -> None:
        world = World(seed)
        store, producer = world.c_store(), world.producer("t")
        world.run(2.0)
        producer.publish(7)
        world.run(3.0)
        world.crash(producer)
        late = world.c_store()  # C stores do not ask each other
        world.run(8.0)
        node = tool(world, "t")
        world.until(lambda: node.settled == 1, 5.0)
        (partition,) = node.machine.inventory().partitions
        assert not partition.alive
        lags = {copy.store.address: copy.lag for copy in partition.copies}
        assert lags == {store.reader.address: 0, late.reader.address: 7}

    def test_deletion_is_repeated_until_it_is_confirmed(self, seed: int) -> None:
        world = World(seed)
        reader = Node(world, DeletingReader(world.address(), 9))
        reader.perform(reader.machine.start())
        world.introduce(reader)
        c_store = world.c_store()
        node = tool(world, "t")
        world.until(lambda: node.settled == 1, 5.0)
        world.faults = Faults(loss=0.5)
        node.perform(node.machine.delete([reader.address], world.now))
        world.until(lambda: node.settled == 2, 120.0)
        assert set(node.machine.deletions) == {reader.address}
        assert c_store.alive
        assert reader.machine.records == 0


def test_consumers_listen_to_direct_records_too() -> None:
    inspector = machine()
    inspector.subscribed(subscription(DirectRecord, CONSUMER), 0.1)
    inspector.subscribed(subscription(StoreHello, CONSUMER), 0.1)
    kind = inspector.kinds.get(CONSUMER)
    assert kind is not None
    assert kind.value == "consumer"
