"""Programs that use `dafka.threads` and end in some way: `python -m tests.support.thread_lives`.

Arguments: what to do, the tower, and what else that needs.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from dafka import threads


def leave(tower: str) -> None:
    """Publish, and end without a stop: with a store, nothing may be lost."""
    producer = threads.Producer("t", tower=tower).start()
    for number in range(1000):
        producer.publish(b"%d" % number)
    os.write(1, b"published\n")


def leave_in_vain(tower: str) -> None:
    """The same without a store, and with a consumer that waits in a daemon thread."""
    consumer = threads.Consumer("t", tower=tower).start()
    threading.Thread(target=consumer.poll, daemon=True).start()
    leave(tower)


def outlive(tower: str) -> None:
    """End the main thread, while another one goes on publishing."""

    def work() -> None:
        for number in range(20):
            producer.publish(b"%d" % number)
            time.sleep(0.05)
        producer.flush(20)
        os.write(1, b"flushed\n")

    producer = threads.Producer("t", tower=tower).start()
    threading.Thread(target=work).start()


def wait(tower: str, call: str) -> None:
    """Wait in the main thread for what does not come."""
    with threads.Producer("t", tower=tower, buffer_bytes=1000, stop_timeout_s=0.2) as producer:
        producer.publish(bytes(900))
        consumer = threads.Consumer("u", tower=tower).start()
        os.write(1, b"waiting\n")
        calls: dict[str, Any] = {
            "flush": producer.flush,
            "publish": lambda: producer.publish(bytes(900)),
            "poll": consumer.poll,
            "iterate": lambda: list(consumer),
        }
        calls[call]()


def compute(tower: str, seconds: str) -> None:
    """Publish, then compute and never let go of the interpreter by oneself."""
    settings: dict[str, Any] = {"tower": tower, "beacon_interval_s": 0.2}
    with threads.Producer("t", **settings) as producer, threads.Consumer("u", **settings):
        producer.publish(b"first")
        producer.flush(20)
        os.write(1, b"computing\n")
        producer.publish(b"second")
        end, number = time.monotonic() + float(seconds), 0
        while time.monotonic() < end:
            number += sum(range(100))
        assert producer.acknowledged == 2
        os.write(1, b"done\n")


LIVES = {life.__name__: life for life in (leave, leave_in_vain, outlive, wait, compute)}

if __name__ == "__main__":
    LIVES[sys.argv[1]](*sys.argv[2:])
