"""What is peculiar to asyncio: cancellation, tasks side by side, and how loops and programs end."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

import dafka
from dafka.aio import AsyncConsumer, AsyncProducer
from dafka.core.run import RECORD_COST
from dafka.io.offsets import look
from tests.support.live_nodes import LOOPBACK
from tests.support.shells import GeventShell, ShellNodes

pytestmark = pytest.mark.io

STOPS_WITHIN_S = 2.0
PATIENCE_S = 20.0


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[ShellNodes]:
    """Towers and stores of gevent, in another thread."""
    made = ShellNodes(tmp_path, GeventShell())
    try:
        yield made
    finally:
        made.end()


def producer(nodes: ShellNodes, **settings: Any) -> AsyncProducer:
    return AsyncProducer("t", tower=nodes.tower, bind=LOOPBACK, **settings)


def consumer(nodes: ShellNodes, **settings: Any) -> AsyncConsumer:
    settings = {"start": "earliest", "fetch_timeout_s": 0.1, **settings}
    return AsyncConsumer("t", tower=nodes.tower, bind=LOOPBACK, **settings)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def take(taker: AsyncConsumer, count: int) -> list[int]:
    """The offsets of the next records, whose contents say the same."""
    offsets = []
    for _ in range(count):
        record = await taker.poll(PATIENCE_S)
        assert record is not None
        assert record.content == b"%d" % record.offset
        offsets.append(record.offset)
    return offsets


async def fill(maker: AsyncProducer, count: int, first: int = 0) -> None:
    for at in range(first, first + count):
        assert await maker.publish(b"%d" % at) == at


def suspensions(work: Coroutine[Any, Any, Any]) -> int:
    """How often a coroutine of this loop suspends, before it ends or for good."""
    with pytest.raises(StopIteration):
        work.send(None)
    return 0


# Publishing


def test_publish_does_not_suspend_while_there_is_room(nodes):
    async def main() -> None:
        async with producer(nodes.cluster()) as maker:
            await maker.publish(b"0")
            for _ in range(20):
                # Without a turn of the loop for some milliseconds it would: see the next test.
                while maker._burst_ends:
                    await asyncio.sleep(0.001)
                assert suspensions(maker.publish(b"x")) == 0
            await maker.flush(PATIENCE_S)

    asyncio.run(main())


@pytest.mark.alone
@pytest.mark.parametrize("pause", [0.0, 0.001], ids=["fast", "slow"])
def test_the_loop_turns_while_somebody_publishes_without_a_pause(nodes, pause):
    gaps = []

    async def turn() -> None:
        last = monotonic()
        while True:
            await asyncio.sleep(0)
            now = monotonic()
            gaps.append(now - last)
            last = now

    async def main() -> None:
        async with producer(nodes.cluster()) as maker:
            turning = asyncio.create_task(turn())
            end = monotonic() + 0.5
            while monotonic() < end:
                await maker.publish(bytes(10))
                busy = monotonic() + pause
                while monotonic() < busy:
                    pass
            turning.cancel()
            await maker.flush(PATIENCE_S)

    asyncio.run(main())
    assert len(gaps) > 20
    assert sorted(gaps)[len(gaps) // 2] < 0.05


def test_a_cancelled_publish_has_published_nothing_and_the_next_one_goes_on(nodes):
    async def main() -> None:
        nodes.towered()
        room = 10 * (1 + RECORD_COST)
        async with producer(nodes, buffer_bytes=room, stop_timeout_s=0) as maker:
            await fill(maker, 10)
            for _ in range(20):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.005):
                        await maker.publish(b"x")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await maker.publish_many([b"x", b"y"])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await maker.flush()
            assert maker.next_offset == maker.unacknowledged == 10
            waiting = asyncio.create_task(maker.publish(b"!"))
            nodes.store()
            assert await asyncio.wait_for(waiting, PATIENCE_S) == 10
            await maker.flush(PATIENCE_S)

    asyncio.run(main())


def test_tasks_that_share_a_producer_have_offsets_of_their_own(nodes):
    async def main() -> None:
        nodes.cluster()
        room = 50 * (10 + RECORD_COST)
        async with producer(nodes, buffer_bytes=room) as maker, consumer(nodes) as taker:

            async def publish(task: int) -> list[tuple[int, bytes]]:
                contents = [b"%d %d" % (task, at) for at in range(100)]
                return [(await maker.publish(content), content) for content in contents]

            said = await asyncio.gather(*map(publish, range(20)))
            for mine in said:
                assert mine == sorted(mine, key=lambda pair: pair[0])
            expected = dict(pair for mine in said for pair in mine)
            assert sorted(expected) == list(range(2000))
            for at in range(2000):
                record = await taker.poll(PATIENCE_S)
                assert (record.offset, record.content) == (at, expected[at])

    asyncio.run(main())


# Taking


def test_what_a_cancelled_poll_would_have_given_the_next_one_gives(nodes):
    async def publish(maker: AsyncProducer) -> None:
        for at in range(2000):
            await maker.publish(b"%d" % at)
            if at % 7 == 0:
                await asyncio.sleep(0.0003)

    async def main() -> None:
        nodes.cluster()
        async with producer(nodes) as maker, consumer(nodes) as taker:
            publishing = asyncio.create_task(publish(maker))
            seen: list[int] = []
            cancelled = 0

            async def iterate() -> None:
                async for record in taker:
                    assert record.content == b"%d" % record.offset
                    seen.append(record.offset)
                    if record.offset == 1999:
                        return

            while not seen or seen[-1] < 1999:
                iterating = asyncio.create_task(iterate())
                for _ in range(cancelled % 5):
                    await asyncio.sleep(0)
                await asyncio.sleep(0.001 * (cancelled % 3))
                cancelled += iterating.cancel()
                await asyncio.gather(iterating, return_exceptions=True)
            await publishing
            assert seen == list(range(2000))
            assert cancelled > 10

    asyncio.run(main())


def test_cancelled_polls_and_runs_by_turns_lose_and_repeat_nothing(nodes):
    async def main() -> None:
        nodes.cluster()
        async with producer(nodes) as maker, consumer(nodes) as taker:
            await fill(maker, 500)
            got: list[int] = []
            while len(got) < 500:
                try:
                    async with asyncio.timeout(0.0005 if len(got) % 2 else 1):
                        record = await taker.poll()
                        got.append(record.offset)
                        async for run in taker.runs(0):
                            got += range(run.first, run.next)
                            break
                except TimeoutError:
                    continue
            assert got == list(range(len(got)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(taker.runs()), 0.05)
            await fill(maker, 1, 500)
            assert await take(taker, 1) == [500]

    asyncio.run(main())


def test_a_second_task_that_takes_is_told_and_the_first_goes_on(nodes):
    async def main() -> None:
        nodes.cluster()
        async with producer(nodes) as maker, consumer(nodes) as taker:
            waiting = asyncio.create_task(take(taker, 1))
            await asyncio.sleep(0.01)
            for call in (taker.poll(0), anext(taker.runs(0)), anext(taker)):
                with pytest.raises(dafka.ConfigError, match="another task takes records"):
                    await call
            await fill(maker, 1)
            assert await waiting == [0]
            assert await taker.poll(0) is None

    asyncio.run(main())


def test_a_cancelled_commit_is_made_up_for(nodes, tmp_path):
    async def main() -> None:
        nodes.cluster()
        places = {"name": "n", "offsets": str(tmp_path / "offsets"), "auto_commit": False}
        async with producer(nodes) as maker, consumer(nodes, **places) as taker:
            await fill(maker, 10)
            await take(taker, 7)
            committing = asyncio.create_task(taker.commit())
            await asyncio.sleep(0)
            committing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await committing
            await taker.commit()
            assert list(look(places["offsets"], "n").positions.values()) == [7]
        async with consumer(nodes, **places) as taker:
            assert await take(taker, 3) == [7, 8, 9]

    asyncio.run(main())


# Beginning and ending


@pytest.mark.parametrize("way", ["error", "cancelled", "timeout"])
def test_leaving_by_an_error_or_a_cancellation_ends_within_two_seconds(nodes, way):
    began = 0.0

    async def body(maker: AsyncProducer) -> None:
        nonlocal began
        await maker.publish(b"that no store takes")
        began = monotonic()
        if way == "error":
            raise LookupError
        await maker.flush()

    async def main() -> None:
        nodes.towered()
        maker, taker = producer(nodes), consumer(nodes)

        async def work() -> None:
            async with maker, taker:
                await body(maker)

        working = asyncio.create_task(work())
        if way == "timeout":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(working, 0.3)
        else:
            await until(lambda: began)
            if way == "cancelled":
                working.cancel()
            with pytest.raises(LookupError if way == "error" else asyncio.CancelledError):
                await working
        assert monotonic() - began < STOPS_WITHIN_S + 0.3
        assert maker.unacknowledged == 1
        for call in (maker.publish(b"x"), maker.flush()):
            with pytest.raises(dafka.Closed):
                await call
        assert await taker.poll() is None

    asyncio.run(main())


def test_a_stop_that_is_cancelled_waits_for_no_acknowledgement_but_ends_the_node(nodes):
    async def main() -> None:
        nodes.towered()
        async with producer(nodes, stop_timeout_s=60) as maker:
            await maker.publish(b"x")
            began = monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await maker.stop()
            assert monotonic() - began < STOPS_WITHIN_S
            assert await maker.stop() == 1
            assert await maker.wait(0)

    asyncio.run(main())


def test_those_who_stop_a_node_at_once_have_the_same_result(nodes):
    async def main() -> None:
        nodes.towered()
        maker = await producer(nodes, stop_timeout_s=0.2).start()
        await fill(maker, 3)
        assert await asyncio.gather(*(maker.stop() for _ in range(5))) == [3] * 5

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_nothing_open(nodes, tmp_path):
    async def main() -> None:
        nodes.towered()
        box = tmp_path / "outbox"
        for turns in range(12):
            maker = producer(nodes, outbox=box, stop_timeout_s=0)
            starting = asyncio.create_task(maker.start())
            for _ in range(turns):
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await maker.stop(0)
        async with producer(nodes, outbox=box, stop_timeout_s=0) as maker:  # nobody has locked it
            await fill(maker, 1)

    asyncio.run(main())


def test_what_a_task_has_published_is_saved_when_the_loop_cancels_all_tasks(nodes, tmp_path):
    box = tmp_path / "outbox"
    nodes.towered()

    async def work(published: asyncio.Event) -> None:
        async with producer(nodes, outbox=box) as maker:
            await fill(maker, 100)
            published.set()
            await maker.flush()

    async def main() -> asyncio.Task[None]:
        published = asyncio.Event()
        working = asyncio.create_task(work(published))
        await published.wait()
        return working

    assert asyncio.run(main()).cancelled()

    async def afterwards() -> None:
        nodes.store()
        async with producer(nodes, outbox=box) as maker:
            assert maker.next_offset == 100
            await maker.flush(PATIENCE_S)

    asyncio.run(afterwards())


def test_a_node_is_for_its_loop(nodes):
    nodes.towered()
    loop = asyncio.new_event_loop()
    maker, taker = producer(nodes, stop_timeout_s=0), consumer(nodes)
    loop.run_until_complete(maker.start())
    loop.run_until_complete(taker.start())

    async def elsewhere() -> None:
        for call in (maker.publish(b"x"), maker.flush(), maker.stop(), taker.poll(0)):
            with pytest.raises(dafka.ConfigError, match="belongs to the event loop"):
                await call
        with pytest.raises(dafka.ConfigError, match="belongs to the event loop"):
            taker.seek("A" * 32, 0, "t")
        with pytest.raises(dafka.Closed, match="can be started once"):
            await maker.start()

    asyncio.run(elsewhere())
    loop.run_until_complete(maker.stop())
    loop.run_until_complete(taker.stop())
    loop.close()


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_asyncio_with_towers_and_stores_of_gevent_on_each_kind_of_loop(nodes, loops):
    run = asyncio.run if loops == "asyncio" else pytest.importorskip("uvloop").run

    async def main() -> None:
        nodes.cluster()
        async with producer(nodes) as maker, consumer(nodes) as live:
            await maker.publish_many([b"%d" % at for at in range(5000)])
            assert await take(live, 5000) == list(range(5000))
            await maker.flush(PATIENCE_S)
            assert await maker.stop() == 0
        async with consumer(nodes) as late:
            runs = [run async for run in late.runs(timeout=1)]
            assert sum(map(len, runs)) == 5000
            late.seek_to_earliest()
            late.seek(maker.partition, 4990)
            assert await take(late, 10) == list(range(4990, 5000))

    run(main())


# Programs


def program(source: str, *arguments: str, warnings: str = "error") -> subprocess.Popen[str]:
    command = [sys.executable, "-W", warnings, "-c", source, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


INTERRUPTED = """
import asyncio, sys
from dafka.aio import AsyncConsumer, AsyncProducer

async def main():
    tower = sys.argv[1]
    producer, taker = AsyncProducer("t", tower=tower), AsyncConsumer("t", tower=tower)
    async with producer, taker:
        await producer.publish(b"that no store takes")
        print("ready", flush=True)
        async for record in taker:
            pass

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_program_within_two_seconds(nodes):
    nodes.towered()
    with program(INTERRUPTED, str(nodes.tower)) as running:
        assert running.stdout.readline() == "ready\n"
        began = monotonic()
        running.send_signal(signal.SIGINT)
        said, complaints = running.communicate(timeout=PATIENCE_S)
        took = monotonic() - began
    assert (said, running.returncode) == ("interrupted\n", 0)
    assert "Traceback" not in complaints
    assert took < STOPS_WITHIN_S + 1  # the interpreter has to end as well


CLOSED = """
import asyncio, sys, tempfile
from dafka.aio import AsyncConsumer, AsyncProducer

loop = asyncio.new_event_loop()
tower = sys.argv[1]
producer = AsyncProducer("t", tower=tower, outbox=tempfile.mkdtemp())
consumer = AsyncConsumer("t", tower=tower, name="n", offsets=tempfile.mkdtemp())
for node in (producer, consumer):
    loop.run_until_complete(node.start())
loop.run_until_complete(producer.publish(b"x"))
loop.close()
if sys.argv[2] == "forgotten":
    del producer, consumer, node
else:
    for call in (producer.flush, producer.stop, consumer.poll):
        try:
            asyncio.run(call())
        except Exception as error:
            print(type(error).__name__)
print("end", flush=True)
"""


@pytest.mark.parametrize("way", ["forgotten", "kept"])
def test_a_loop_that_is_closed_under_a_node_keeps_no_program_from_ending(nodes, way):
    nodes.towered()
    # That nodes were not stopped, Python may well say.
    with program(CLOSED, str(nodes.tower), way, warnings="default") as running:
        said, complaints = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0
    assert said == ("Closed\n" * 3 if way == "kept" else "") + "end\n"
    assert "Traceback" not in complaints


def test_importing_it_imports_no_gevent_and_the_package_imports_no_asyncio():
    source = "import sys, dafka{}; print({!r} in sys.modules)"
    for package, other in ((".aio", "gevent"), (".aio", "zmq.green"), ("", "asyncio")):
        with program(source.format(package, other)) as running:
            assert running.communicate(timeout=PATIENCE_S) == ("False\n", "")
