"""The bytes on disk: what is written is read, and nothing else is taken for it."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dafka.core.packed import Packed
from dafka.io import log_format as fmt
from dafka.io.log_plan import pieces

contents_lists = st.lists(st.binary(max_size=50), min_size=1, max_size=30)
numbers = st.integers(0, 2**32 - 1)


def encode(contents: list[bytes], number: int = 3, first: int = 5) -> tuple[bytes, bytes]:
    key = fmt.record_key(number, first, len(contents), Packed.of(contents).weight)
    return key, fmt.encode_value(key, [(1_700_000_000_000, len(contents))], contents)


@given(contents_lists, numbers, st.integers(0, 2**63))
def test_a_value_and_its_key_say_what_went_in(contents, number, first):
    key, data = encode(contents, number, first)
    value = fmt.decode_value(key, data)
    assert value.contents(0, len(contents), 10**6, 1) == contents
    assert value.arrival_ms == 1_700_000_000_000
    size = sum(map(len, contents)) + 4 * len(contents)
    assert fmt.parse_record_key(key) == (number, first, len(contents), size)
    assert fmt.key_size(key) == size
    assert fmt.parse_partition_key(key) is None
    assert fmt.partition_number(key) == number


def test_the_format_does_not_change_by_accident():
    key, data = encode([b"ab", b"", b"c"])
    assert key.hex() == "72000000030000000000000005000000030000000f"
    assert data.hex() == (
        "44464b4101" + data[5:9].hex() + "00000003" + "00000001"
        "0000018bcfe56800" + "00000003"
        "00000002" + "00000000" + "00000001" + "616263"
    )
    assert fmt.partition_key(7).hex() == "7000000007"


@given(contents_lists, st.data())
def test_any_flipped_bit_of_a_value_is_found(contents, data):
    key, value = encode(contents)
    at = data.draw(st.integers(0, len(value) * 8 - 1))
    damaged = bytearray(value)
    damaged[at // 8] ^= 1 << at % 8
    with pytest.raises(fmt.BadValue):
        fmt.decode_value(key, bytes(damaged))


@given(contents_lists, st.data())
def test_any_shortened_or_extended_value_is_found(contents, data):
    key, value = encode(contents)
    cut = data.draw(st.integers(0, len(value) - 1))
    for damaged in (value[:cut], value + b"\0", value[cut:] if cut else b""):
        with pytest.raises(fmt.BadValue):
            fmt.decode_value(key, damaged)


@given(st.binary(max_size=100))
@example(b"DFKA\1" + bytes(50))
def test_arbitrary_bytes_are_no_value(data):
    with pytest.raises(fmt.BadValue):
        fmt.decode_value(fmt.record_key(0, 0, 1, 4), data)


def test_a_value_under_the_key_of_another_is_found():
    _, value = encode([b"x"], number=3, first=5)
    for number, first, count, size in ((4, 5, 1, 5), (3, 6, 1, 5), (3, 5, 2, 5), (3, 5, 1, 6)):
        with pytest.raises(fmt.BadValue, match="checksum"):
            fmt.decode_value(fmt.record_key(number, first, count, size), value)


LENGTHS = b"\0\0\0\1" * 2
ONE_TIME = bytes(11) + b"\2"


@pytest.mark.parametrize(
    ("count", "size", "body", "reason"),
    [
        (2, 10, (0, 1, ONE_TIME + LENGTHS + b"ab"), "number of records"),
        (2, 10, (1, 1, ONE_TIME + LENGTHS + b"ab"), "number of records"),
        (3, 10, (3, 1, ONE_TIME + LENGTHS + b"ab"), "among its lengths"),
        (2**31, 10, (2**31, 1, ONE_TIME + LENGTHS + b"ab"), "among its lengths"),
        (2, 10, (2, 2**31, ONE_TIME + LENGTHS + b"ab"), "among its lengths"),
        (2, 10, (2, 0, LENGTHS + b"ab"), "arrivals .* do not add up"),
        (2, 10, (2, 1, bytes(11) + b"\3" + LENGTHS + b"ab"), "arrivals .* do not add up"),
        (2, 10, (2, 1, ONE_TIME + LENGTHS + b"abc"), "lengths .* do not add up"),
        (2, 10, (2, 1, ONE_TIME + b"\xff\xff\xff\xff" * 2 + b"ab"), "lengths .* do not add up"),
        (2, 11, (2, 1, ONE_TIME + LENGTHS + b"ab"), "lengths .* do not add up"),
    ],
)
def test_a_value_with_a_right_checksum_must_be_consistent_all_the_same(count, size, body, reason):
    key = fmt.record_key(0, 0, count, size)
    told, arrivals, rest = body
    data = told.to_bytes(4, "big") + arrivals.to_bytes(4, "big") + rest
    value = b"DFKA\1" + crc32(data, crc32(key)).to_bytes(4, "big") + data
    with pytest.raises(fmt.BadValue, match=reason):
        fmt.decode_value(key, value)


def test_the_count_of_a_key_is_the_number_of_records():
    key = fmt.record_key(0, 0, 2, 12)
    with pytest.raises(fmt.BadValue, match="number of records"):
        fmt.decode_value(key, fmt.encode_value(key, [(0, 1)], [b"only one"]))


@pytest.mark.parametrize(
    "key", [b"", b"r", b"x" * 21, fmt.record_key(0, 0, 0, 0), fmt.record_key(0, 2**64 - 1, 2, 8)]
)
def test_a_key_that_is_none_is_not_taken_for_one(key):
    assert fmt.parse_record_key(key) is None
    assert fmt.parse_partition_key(key) is None


@given(numbers, st.text(), st.text(alphabet="0123456789ABCDEF"))
def test_a_partition_entry_says_what_went_in(number, topic, partition):
    topic = topic.encode("utf-8", "ignore").decode()
    key = fmt.partition_key(number)
    entry = fmt.encode_partition(key, topic, partition)
    assert fmt.decode_partition(key, entry) == (topic, partition)
    assert fmt.parse_partition_key(key) == number
    assert fmt.parse_record_key(key) is None
    for damaged in (entry[:-1], entry + b"\0", entry[:7], b"", b"\1" + entry):
        with pytest.raises(fmt.BadValue):
            fmt.decode_partition(key, damaged)
    with pytest.raises(fmt.BadValue):
        fmt.decode_partition(fmt.partition_key(number ^ 1), entry)


@given(st.lists(st.lists(st.binary(max_size=60)), max_size=5), st.integers(1, 200))
def test_values_are_as_few_as_their_size_allows_however_records_came(parts, value_bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fmt, "VALUE_BYTES", value_bytes)
        made = pieces(7, 5, map(Packed.of, parts))
    contents = [content for part in parts for content in part]
    assert [content for piece in made for content in piece.contents] == contents
    at = 5
    for piece in made:
        assert (piece.number, piece.first, piece.count) == (7, at, len(piece.contents))
        assert piece.size == sum(len(content) + 4 for content in piece.contents)
        assert piece.size <= value_bytes or piece.count == 1
        at += piece.count
        assert piece is made[-1] or piece.size + len(contents[at - 5]) + 4 > value_bytes


def test_a_value_holds_the_very_bytes_of_a_message():
    frame = Packed.of([b"one", b"", b"three"]).frame
    assert encode([b"one", b"", b"three"])[1].endswith(frame[4:])
    key, data = encode([b"one", b"", b"three"])
    assert fmt.decode_value(key, data).packed.frame == frame
