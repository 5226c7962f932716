"""`python -m protocol` tells a person what frames mean."""

from __future__ import annotations

import io
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import protocol
from protocol import __main__ as command
from protocol.__main__ import main

ACK = b"KPRODUCER\0\1\5hello\0\0\0\0\0\0\0\4"


def test_message_is_told_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([ACK.hex()]) == 0
    assert capsys.readouterr().out == (
        "ACK, from store writer to producer\n"
        "  topic    'PRODUCER'  (the producer)\n"
        "  subject  'hello'  (the topic)\n"
        "  sequence 4  (offset in the partition)\n"
    )


def test_each_argument_is_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    record = protocol.Record("größe", "AB", "\udcff", 7, b"\x00value")
    assert main([frame.hex() for frame in protocol.build(record)]) == 0
    out = capsys.readouterr().out
    assert "RECORD, from producer to consumers and store writers\n  topic    'größe'" in out
    assert "'\\udcff'" in out
    assert "content  b'\\x00value'  (6 bytes)" in out


def test_empty_argument_is_an_empty_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["42", "41", "", "3535"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("NODE BEACON, from node to tower")
    assert "''  (empty: where the beacon comes from)" in out


def test_extensions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    head = protocol.Head("t", "AB", "t", 7, acked=3, age_ms=10)
    assert main([protocol.build(head)[0].hex()]) == 0
    assert "acked    3  (extension: how many records are ack" in capsys.readouterr().out


def test_what_means_something_else_in_a_message_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([protocol.build(protocol.TopicDeleted("A", "B", "t", 9))[0].hex()]) == 0
    assert "sequence 9  (how many records were deleted)" in capsys.readouterr().out
    assert main([protocol.build(protocol.Head("t", "A", "t", 9, earliest=4))[0].hex()]) == 0
    assert "earliest 4  (extension: first offset of the partition)" in capsys.readouterr().out


def test_every_message_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    for message in (
        protocol.DirectRecord("A", "B", "t", 0, b""),
        protocol.Fetch("A", "B", "t", 0, 1, "C" * 32, 1),
        protocol.DirectHead("A", "B", "t", 0, 1, "C" * 32, 9, 1, 70),
        protocol.GetHeads("t", "A"),
        protocol.ConsumerHello("A", "B", ("t", "u")),
        protocol.StoreHello("A", "B"),
        protocol.DeleteTopic("t", "A"),
        protocol.TopicDeleted("A", "B", "t", 9),
        protocol.GetOffset("A", "B", "t", 1_700_000_000_000),
        protocol.DirectOffset("A", "B", "t", 9, 1_700_000_000_000, "C" * 32),
        protocol.Records("t", "A", "t", 0, (b"one", b"two")),
        protocol.DirectRecords("A", "B", "t", 0, (b"one",)),
        protocol.TowerBeacon("A", "tcp://h:1", "store", "1", 1, 9),
        protocol.Welcome(),
    ):
        assert main([frame.hex() for frame in protocol.build(message)]) == 0
        out = capsys.readouterr().out
        assert out.count("\n  ") == len(message.__dataclass_fields__)
        assert "()" not in out


def test_what_is_ignored_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([(ACK + b"junk").hex()]) == 0
    assert "trailing bytes or surplus frames are ignored" in capsys.readouterr().out


def test_error_is_one_sentence_with_field_and_position(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([ACK[:-3].hex()]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("not a message: ACK: ")
    assert captured.err.endswith("(field sequence, byte 17 of frame 0)\n")


def test_what_is_not_hex_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["4d", "xyz"]) == 1
    assert capsys.readouterr().err == (
        "not a message: 'xyz' is not hex (field frame, byte 0 of frame 1)\n"
    )


def test_lines_of_standard_input_are_messages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('57\n\n42 41 "" 3535\n'))
    assert main(["-"]) == 0
    assert re.findall(r"^\w.*", capsys.readouterr().out, re.M) == [
        "WELCOME, from tower to a new connection",
        "NODE BEACON, from node to tower",
    ]


def test_bad_line_is_numbered_and_the_rest_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n5a\n57\n"))
    assert main(["-"]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("WELCOME")
    assert captured.err == (
        "line 2: not a message: no message has the id b'Z' (field id, byte 0 of frame 0)\n"
    )


def test_empty_input_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["-"]) == 0


def test_without_arguments_there_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: python -m protocol")


def test_output_may_go_to_any_stream() -> None:
    with redirect_stdout(io.StringIO()) as out:
        assert main([ACK.hex()]) == 0
    assert out.getvalue().startswith("ACK")


def test_exit_status_is_what_main_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["protocol", "5a"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(command.__file__), run_name="__main__")
    assert caught.value.code == 1


def test_whoever_reads_the_output_may_have_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main([ACK.hex()]) == 0


def test_output_that_cannot_be_written_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main([ACK.hex()]) == 1
    assert capsys.readouterr().err == "cannot write to standard output: No space left on device\n"


def test_input_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "only written").open("w") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(SystemExit, match=r"^cannot read standard input: not readable$"):
            main(["-"])


def test_nothing_can_be_read_from_a_closed_input_or_printed_to_a_closed_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["-"]) == 2
    assert capsys.readouterr().err.startswith("standard input is closed: ")
    monkeypatch.setattr(sys, "stdout", None)
    assert main([ACK.hex()]) == 0


def test_ctrl_c_is_a_quiet_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> Iterator[str]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(sys, "stdin", interrupted())
    assert main(["-"]) == 130


def _run(*arguments: str, stdin: bytes = b"", encoding: str = "utf-8") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "protocol", *arguments],
        input=stdin,
        capture_output=True,
        env={"PYTHONIOENCODING": encoding},
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_example_of_the_help_works() -> None:
    status, out, err = _run("--help")
    assert (status, err) == (0, "")
    example = re.search(r"python -m protocol ([0-9a-f]{20,})$", out, re.M)
    assert example
    assert _run(example[1])[0] == 0


def test_any_terminal_and_any_input_will_do() -> None:
    header = protocol.build(protocol.GetHeads("größe", "AB"))[0]
    status, out, err = _run("-", stdin=header.hex().encode() + b"\n\xff\n", encoding="ascii")
    assert status == 1
    assert "'gr\\xf6\\xdfe'" in out
    assert err.startswith("line 2: not a message: ")


def test_a_pipe_that_is_closed_early_shows_no_traceback() -> None:
    command = f"yes 57 | head -n 50000 | '{sys.executable}' -m protocol - | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert done.stdout == b"WELCOME, from tower to a new connection\n"
    assert done.stderr == b""
