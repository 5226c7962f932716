"""Draws what happened in a life: a message-sequence chart, as text or as a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.sax.saxutils import escape

from simulation.trace import Happened, Said

Entry = Said | Happened

WIDTH = 22
"""Columns of text from one lifeline to the next."""
MOST_ROWS = 150
"""Of a long life, so many of the last things are drawn."""
_REPEATED = ("HEAD", "GET-HEADS", "CONSUMER-HELLO", "STORE-HELLO", "FETCH", "DIRECT-HEAD")
"""What is said again and again is drawn once, until something happens."""

_X, _Y, _LEFT, _TOP = 190, 22, 120, 60
_COLOURS = {
    "RECORD": "#1f6feb",
    "DIRECT-RECORD": "#1f6feb",
    "FETCH": "#c05621",
    "ACK": "#2f855a",
}


@dataclass(frozen=True)
class Chart:
    """The lifelines from left to right, and what is drawn between them from top to bottom."""

    names: tuple[str, ...]
    rows: tuple[Entry, ...]
    left_out: int


def chart(entries: Iterable[Entry]) -> Chart:
    """What is worth drawing: not what nobody heard, nor what is repeated all the time."""
    rows: list[Entry] = []
    seen: set[tuple[str, tuple[str, ...], str]] = set()
    for entry in entries:
        if isinstance(entry, Said):
            said = (entry.speaker, entry.listeners, entry.text)
            if not entry.listeners:
                continue
            if entry.text.startswith(_REPEATED) and said in seen:
                continue
            seen.add(said)
        else:
            seen.clear()
        rows.append(entry)
    drawn = rows[-MOST_ROWS:]
    names: dict[str, None] = {}
    for entry in drawn:
        who = (entry.speaker, *entry.listeners) if isinstance(entry, Said) else (entry.who,)
        names.update(dict.fromkeys(name for name in who if name))
    return Chart(tuple(sorted(names, key=_place)), tuple(drawn), len(rows) - len(drawn))


def _place(name: str) -> tuple[int, str]:
    order = ("tower", "producer", "C producer", "store", "C store", "consumer")
    kind = next((kind for kind in order if name.startswith(kind)), "consumer")
    return order.index(kind), name


def as_text(drawn: Chart) -> str:
    """The chart for a terminal: time runs downwards, `o` says it and `>` or `<` hears it."""
    names = drawn.names
    lines = [" " * 11 + "".join(name.center(WIDTH) for name in names)]
    if drawn.left_out:
        lines.append(f"    (the first {drawn.left_out} rows are left out)")
    for entry in drawn.rows:
        time = f"{entry.at:9.3f}  "
        if isinstance(entry, Said):
            lines.append(time + _arrow(entry, names))
        elif not entry.who:
            lines.append(time + f"--- {entry.text} ".ljust(WIDTH * len(names), "-"))
        else:
            at = names.index(entry.who) * WIDTH + WIDTH // 2
            line = _lifelines(len(names))
            text = f"* {entry.text}"
            lines.append(time + (line[:at] + text + line[at + len(text) :]).rstrip())
    return "\n".join(lines)


def _lifelines(number: int) -> str:
    return ("|".center(WIDTH)) * number


def _arrow(said: Said, names: tuple[str, ...]) -> str:
    line = list(_lifelines(len(names)))
    start = names.index(said.speaker) * WIDTH + WIDTH // 2 - 1
    ends = [names.index(name) * WIDTH + WIDTH // 2 - 1 for name in said.listeners]
    low, high = min(start, *ends), max(start, *ends)
    line[low : high + 1] = "-" * (high + 1 - low)
    for end in ends:
        line[end] = ">" if end > start else "<"
    line[start] = "o"
    at = start + 2 if max(ends) > start else start - 1 - len(said.text)
    at = max(at, 0)
    line[at : at + len(said.text)] = said.text
    return "".join(line).rstrip()


def as_svg(drawn: Chart, title: str) -> str:
    """The chart as a picture."""
    names = drawn.names
    width = _LEFT + _X * len(names)
    height = _TOP + _Y * (len(drawn.rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(_LEFT // 8, 20, title, size=14, anchor="start"),
    ]
    for number, name in enumerate(names):
        x = _x(number)
        parts.append(_text(x, _TOP - 16, name, weight="bold"))
        parts.append(f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 10}" stroke="#bbb"/>')
    for row, entry in enumerate(drawn.rows):
        y = _TOP + _Y * (row + 1)
        parts.append(_text(8, y + 4, f"{entry.at:.3f} s", colour="#777", anchor="start"))
        parts += _drawn(entry, names, y)
    return "\n".join([*parts, "</svg>", ""])


def _x(number: int) -> int:
    return _LEFT + _X * number + _X // 2


def _drawn(entry: Entry, names: tuple[str, ...], y: int) -> list[str]:
    if isinstance(entry, Happened):
        if not entry.who:
            return [_text(_LEFT - 30, y + 4, entry.text, colour="#8b1a8b", anchor="start")]
        x = _x(names.index(entry.who))
        return [
            f'<circle cx="{x}" cy="{y}" r="4" fill="#444"/>',
            _text(x + 8, y + 4, entry.text, anchor="start"),
        ]
    start = _x(names.index(entry.speaker))
    kind = entry.text.split(" ")[0]
    colour = _COLOURS.get(kind, "#666")
    parts = []
    for name in entry.listeners:
        end = _x(names.index(name))
        tip = end - 6 if end > start else end + 6
        parts.append(
            f'<line x1="{start}" y1="{y}" x2="{tip}" y2="{y}" stroke="{colour}"/>'
            f'<path d="M{end} {y} L{tip} {y - 4} L{tip} {y + 4} Z" fill="{colour}"/>'
        )
    first = _x(names.index(entry.listeners[0]))
    middle = start + (_X // 2 if first > start else -_X // 2)
    return [*parts, _text(middle, y - 4, entry.text, colour=colour, size=11)]


def _text(
    x: int,
    y: int,
    text: str,
    *,
    colour: str = "#222",
    anchor: str = "middle",
    weight: str = "normal",
    size: int = 12,
) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}">{escape(text)}</text>'
    )
