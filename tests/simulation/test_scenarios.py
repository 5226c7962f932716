"""What happens to a cluster, one thing at a time, and what must come of it."""

from __future__ import annotations

import pytest

from protocol import DeleteTopic
from simulation.trace import Said, Trace
from simulation.world import Faults, StoreNode, World

pytestmark = pytest.mark.no_cover


def test_latest_consumer_gets_a_suffix_without_history() -> None:
    world = World(1)
    world.store()
    producer = world.producer("metrics")
    world.run(2)
    producer.publish(500)
    world.run(2)
    consumer = world.consumer("metrics", start="latest")
    got: list[int] = []
    world.on_delivery = lambda run: got.extend(range(run.first, run.next))
    world.run(2)
    newcomer = world.producer("metrics")
    newcomer.publish(7)
    world.run(2)
    assert got == list(range(7))
    producer.publish(30)
    world.run(2)
    assert got == [*range(7), *range(500, 530)]
    assert consumer.next == {
        ("metrics", producer.address): 530,
        ("metrics", newcomer.address): 7,
    }


def test_acknowledged_records_outlive_a_store_that_crashes_again_and_again() -> None:
    world = World(2)
    store = world.store()
    producer = world.producer("metrics")
    key = ("metrics", producer.address)
    for _ in range(40):
        producer.publish(20)
        world.run(world.random.uniform(0.0, 0.3))
        acked = producer.machine.acked
        store.crash()
        world.check(len(store.disk.get(key, ())) >= acked, "acknowledged is on disk")
        store.start()
    world.until(lambda: not producer.machine.unacknowledged, 30)
    assert store.disk[key] == world.truth[key]


def test_history_is_replayed_from_a_store_when_its_producer_is_dead() -> None:
    world = World(3)
    store = world.store()
    producer = world.producer("metrics", buffer_bytes=10**9)
    world.run(1)
    for _ in range(13):
        producer.publish(10_000)
    world.until(lambda: not producer.machine.unacknowledged, 30)
    world.crash(producer)
    world.run(10)
    key = ("metrics", producer.address)
    assert len(store.disk[key]) == 130_000
    consumer = world.consumer("metrics", start="earliest", patience=0.0001)
    world.until(lambda: consumer.next.get(key) == 130_000, 30)


def _history(world: World, producers: int, records: int = 3) -> StoreNode:
    """A store that has the records of producers that have all gone."""
    store = world.store()
    gone = [world.producer("metrics") for _ in range(producers)]
    world.run(1)
    for producer in gone:
        producer.publish(records)
    world.until(lambda: not any(producer.machine.unacknowledged for producer in gone), 30)
    for producer in gone:
        world.crash(producer)
    world.run(10)
    assert len(store.disk) == producers
    return store


@pytest.mark.parametrize("seed", range(6, 12))
def test_store_that_joins_when_every_producer_is_dead_ends_like_the_others(seed: int) -> None:
    world = World(seed)
    old = _history(world, producers=5, records=300)
    new = world.store(fetch_records=70)
    world.until(lambda: new.disk == old.disk, 60)
    old.crash()
    consumer = world.consumer("metrics", start="earliest")
    world.until(lambda: list(consumer.next.values()) == [300] * 5, 30)


def test_store_that_lost_its_disk_ends_like_the_others() -> None:
    world = World(12)
    stores = [world.store(), world.store()]
    producer, dead = world.producer("metrics"), world.producer("metrics")
    world.run(1)
    for _ in range(4):
        producer.publish(500)
        dead.publish(500)
    world.until(lambda: all(map(len, stores[0].disk.values())), 10)
    world.until(lambda: stores[0].disk == stores[1].disk == world.truth, 30)
    world.crash(dead)
    stores[0].crash()
    stores[0].wipe()
    producer.publish(500)
    stores[0].start()
    world.until(lambda: stores[0].disk == stores[1].disk == world.truth, 60)
    assert not producer.machine.unacknowledged


def test_consumers_and_stores_go_on_behind_what_every_store_has_dropped() -> None:
    world = World(14)
    stores = [world.store(), world.store()]
    producer = world.producer("metrics")
    key = ("metrics", producer.address)
    world.run(1)
    producer.publish(300)
    world.until(lambda: all(len(store.disk.get(key, ())) == 300 for store in stores), 30)
    world.crash(producer)
    for store, floor in zip(stores, (120, 100), strict=True):
        store.trim(key, floor)
    earliest = world.consumer("metrics", start="earliest")
    resumed = world.consumer("metrics", start={producer.address: 40})
    late = world.store()
    world.until(lambda: [node.next.get(key) for node in (earliest, resumed)] == [300, 300], 30)
    assert earliest.expired == []
    assert resumed.expired == [(40, 100)]
    world.until(lambda: len(late.disk.get(key, ())) == 300, 60)
    assert late.floors[key] in (100, 120)
    assert late.disk[key][120:] == world.truth[key][120:]
    stores[0].crash()
    stores[1].crash()
    again = world.consumer("metrics", start="earliest")
    world.until(lambda: again.next.get(key) == 300, 30)


@pytest.mark.parametrize("seed", range(15, 25))
def test_what_one_store_still_keeps_is_never_skipped(seed: int) -> None:
    world = World(seed)
    stores = [world.store(), world.store()]
    producer = world.producer("metrics")
    key = ("metrics", producer.address)
    world.run(1)
    producer.publish(300)
    world.until(lambda: all(len(store.disk.get(key, ())) == 300 for store in stores), 30)
    stores[seed % 2].trim(key, 200)
    if seed % 3:
        world.crash(producer)
    consumer = world.consumer("metrics", start={producer.address: 40})
    late = world.store()
    world.until(lambda: consumer.next.get(key) == 300, 30)
    world.until(lambda: late.disk.get(key) == world.truth[key], 60)
    assert (consumer.expired, late.floors[key]) == ([], 0)


@pytest.mark.parametrize("away", ["stands still", "starts again"])
def test_what_one_store_still_keeps_is_waited_for_while_that_store_is_away(away: str) -> None:
    world = World(3, towers=1)
    keeper, other = world.store(), world.store()
    producer = world.producer("metrics", min_store_acks=2)
    key = producer.key
    world.run(2.0)
    producer.publish(40)
    world.until(lambda: not producer.machine.unacknowledged, 30)
    world.crash(producer)
    world.run(6.0)
    other.trim(key, 20)
    late = world.store(fetch_records=5)
    consumer = world.consumer("metrics", start="earliest", fetch_records=5)
    while not (consumer.next.get(key) and late.disk.get(key)):
        world.run(0.005)
    assert max(consumer.next[key], len(late.disk[key])) < 20
    (keeper.process.stand if away == "stands still" else keeper.crash)()
    world.run(10.0)
    (keeper.process.go_on if away == "stands still" else keeper.start)()
    world.until(lambda: consumer.next[key] == 40 and len(late.disk[key]) == 40, 60)
    assert (consumer.expired, late.floors[key]) == ([], 0)


def test_a_producer_of_a_topic_whose_records_have_all_gone_goes_on() -> None:
    world = World(26)
    store = world.store()
    producer = world.producer("metrics")
    key = ("metrics", producer.address)
    world.run(1)
    producer.publish(100)
    world.until(lambda: not producer.machine.unacknowledged, 30)
    store.trim(key, 100)
    consumer = world.consumer("metrics", start="earliest")
    world.run(5)
    producer.publish(50)
    world.until(lambda: not producer.machine.unacknowledged, 30)
    world.until(lambda: consumer.next.get(key) == 150, 30)
    assert consumer.expired == []


def test_a_deleted_topic_stays_deleted_also_at_a_store_that_was_away() -> None:
    world = World(27)
    stores = [world.store(), world.store()]
    producer, other = world.producer("metrics"), world.producer("other")
    key, kept = ("metrics", producer.address), ("other", other.address)
    world.run(1)
    producer.publish(100)
    other.publish(100)
    full = {key: 100, kept: 100}
    world.until(lambda: [_ends(store) for store in stores] == [full, full], 30)
    stores[1].crash()
    reader = stores[0].reader
    reader.perform(reader.machine.receive(DeleteTopic("metrics", producer.address), world.now))
    world.until(lambda: stores[0].floors[key] == 100, 10)
    stores[1].start()
    world.until(lambda: stores[1].deleted[key] == 100, 60)
    producer.publish(10)
    world.until(lambda: [store.extent(key).records for store in stores] == [10, 10], 60)
    for store in stores:
        assert store.extent(kept).records == 100
    consumer = world.consumer("metrics", start="earliest")
    world.until(lambda: consumer.next.get(key) == 110, 30)


def _ends(store: StoreNode) -> dict[tuple[str, str], int]:
    return {key: len(records) for key, records in store.disk.items()}


def test_history_of_a_c_producer_is_copied_from_store_to_store() -> None:
    """It would answer wrongly, so only the store can be asked for what was acknowledged."""
    world = World(13)
    old = world.store()
    producer = world.c_producer("metrics")
    key = ("metrics", producer.address)
    world.run(1)
    for _ in range(10):
        producer.publish(100)
        world.run(0.3)
    world.until(lambda: old.disk.get(key) == world.truth[key], 30)
    new = world.store()
    consumer = world.consumer("metrics", start="earliest")
    world.until(lambda: new.disk == old.disk, 60)
    world.until(lambda: consumer.next.get(key) == 1000, 30)


def test_history_comes_from_a_c_store_alone_when_its_producer_is_dead() -> None:
    world = World(14)
    c_store = world.c_store()
    producer = world.producer("metrics")
    key = ("metrics", producer.address)
    world.run(1)
    producer.publish(700)
    world.until(lambda: not producer.machine.unacknowledged, 30)
    world.crash(producer)
    world.run(10)
    new = world.store(fetch_records=90)
    consumer = world.consumer("metrics", start="earliest", fetch_records=50)
    world.until(lambda: consumer.next.get(key) == 700, 30)
    world.until(lambda: new.disk == c_store.disk, 60)


@pytest.mark.parametrize("who", ["consumer", "store"])
def test_history_of_many_dead_producers_comes_without_pauses(who: str) -> None:
    world = World(15)
    old = _history(world, producers=100)
    if who == "consumer":
        consumer = world.consumer("metrics", start="earliest")
        world.until(lambda: list(consumer.next.values()) == [3] * 100, 10)
    else:
        new = world.store(compare_interval_s=5.0)
        world.until(lambda: new.disk == old.disk, 10)


def test_partitions_that_nobody_has_any_more_do_not_hold_up_others() -> None:
    world = World(16)
    lost = _history(world, producers=16)
    consumer = world.consumer("metrics", start="earliest")
    while consumer.machine.behind() < 48:
        world.run(0.001)
    lost.crash()
    world.store()
    world.run(20)
    producer = world.producer("metrics")
    world.run(1)
    world.faults = Faults(loss=1.0)
    producer.publish(5)
    world.run(0.1)
    world.faults = Faults()
    world.until(lambda: consumer.next.get(("metrics", producer.address)) == 5, 60)


def test_idle_cluster_says_little() -> None:
    world = World(4)
    world.store()
    world.store()
    producer = world.producer("metrics")
    consumers = [world.consumer("metrics", start="earliest") for _ in range(3)]
    producer.publish(10)
    world.run(30)
    before = world.messages
    world.run(120)
    assert all(consumer.next for consumer in consumers)
    assert world.messages - before < 120 * (1 + 0.2 * len(world.nodes))


def test_what_must_hold_is_checked() -> None:
    world = World(5)
    world.store()
    producer = world.producer("metrics")
    world.consumer("metrics", start="earliest")
    world.run(1)
    producer.publish(3)
    world.truth[("metrics", producer.address)][1] = b"something else"
    with pytest.raises(AssertionError, match=r"seed 5, after 1\..*right contents"):
        world.run(1)


@pytest.mark.parametrize("seed", range(10))
def test_what_comes_ahead_does_not_keep_the_producer_from_being_asked_for_the_first(
    seed: int,
) -> None:
    """The other store has dropped it, and answers again and again what there is no room for."""
    world = World(seed)
    store = world.store()
    producer = world.producer("metrics", min_store_acks=2)
    key = ("metrics", producer.address)
    world.run(1)
    producer.publish(3)
    world.until(lambda: len(store.disk.get(key, ())) == 3, 30)
    world.run(1.1)
    store.trim(key, 1)
    late = world.store(buffer_bytes=3_000, fetch_records=7)
    while not late.writer.machine._sources.ready:
        world.run(0.001)
    producer.publish(40)
    producer.publish(40)
    world.until(lambda: late.disk.get(key) == world.truth[key], 30)


@pytest.mark.parametrize("whose", ["c_store", "store"])
def test_c_consumer_gets_everything_from_our_nodes_and_from_a_c_store(whose: str) -> None:
    world = World(29)
    getattr(world, whose)()
    producer = world.producer("metrics")
    world.run(1)
    producer.publish(300)
    consumer = world.c_consumer("metrics")
    world.until(lambda: consumer.machine.next.get(producer.key) == 300, 10)
    world.faults = Faults(loss=0.3)
    for _ in range(20):
        producer.publish(20)
        world.run(0.3)
    world.faults = Faults()
    world.until(lambda: consumer.machine.next.get(producer.key) == 700, 10)


def test_store_that_was_lost_from_sight_on_one_side_is_asked_again() -> None:
    """It never lost us: it does not show again that it is a store, but once, and that is lost."""
    world = World(30)
    old = _history(world, producers=2)
    new, consumer = world.store(), world.consumer("metrics", start="earliest")
    world.until(lambda: new.disk == old.disk, 60)
    world.faults = Faults(loss=1.0)
    for node in (new.writer, consumer):
        world.lose(node, old.reader)
        world.meet(node, old.reader)
    world.run(3)
    world.faults = Faults()
    world.run(5)
    for node in (new.writer, consumer):
        assert old.reader.address in node.machine._sources.ready


@pytest.mark.parametrize("seed", range(5))
def test_store_that_is_restarted_at_its_endpoints_is_known_to_be_a_store(seed: int) -> None:
    world = World(seed, towers=1)
    store, other = world.store(same_ports=True), world.store()
    listeners = [other.writer, world.consumer("metrics")]

    def known() -> bool:
        readers = [node.machine._sources.ready for node in listeners]
        return readers[0] == [store.reader.address] and store.reader.address in readers[1]

    world.until(known, 5)
    store.crash()
    store.start()
    world.until(known, 3)


@pytest.mark.parametrize(
    ("older", "c_consumers", "expected"),
    [(0.0, 0, "RJ"), (1.0, 0, "MD"), (0.0, 1, "MRJ")],
    ids=["new", "old", "with a C consumer"],
)
def test_records_are_said_in_the_forms_that_are_asked_for(older, c_consumers, expected) -> None:
    trace = Trace()
    world = World(31, towers=1, older=older, trace=trace)
    world.store()
    producer = world.producer("metrics")
    theirs = [world.c_consumer("metrics") for _ in range(c_consumers)]
    world.run(3.0)
    producer.publish(100)
    ours = [world.consumer("metrics", start="earliest") for _ in range(2)]
    world.run(5.0)
    producer.publish(100)
    nexts = [one.next for one in ours] + [one.machine.next for one in theirs]
    world.until(lambda: all(at.get(producer.key) == 200 for at in nexts), 30)
    said = {one.text.split()[0] for one in trace.entries if isinstance(one, Said)}
    names = {"M": "RECORD", "D": "DIRECT-RECORD", "R": "RECORDS", "J": "DIRECT-RECORDS"}
    assert {form for form, name in names.items() if name in said} == set(expected)


@pytest.mark.parametrize("seed", range(32, 52))
def test_older_nodes_newer_ones_and_c_nodes_end_with_the_same_records(seed: int) -> None:
    world = World(seed, towers=2, older=0.5)
    world.faults = Faults(loss=0.2, duplication=0.2, reordering=0.2, high_water_mark=20)
    stores = [world.store(), world.store(), world.c_store()]
    producers = [world.producer("metrics") for _ in range(3)]
    crowd = [world.consumer("metrics", start="earliest", fetch_records=30) for _ in range(4)]
    for _ in range(10):
        world.run(0.5)
        for producer in producers:
            producer.publish(20)
    world.faults = Faults()
    keys = [producer.key for producer in producers]

    def all_have_all() -> bool:
        held = [len(store.disk.get(key, ())) for store in stores for key in keys]
        return {*held, *(one.next.get(key, 0) for one in crowd for key in keys)} == {200}

    world.until(all_have_all, 90)
