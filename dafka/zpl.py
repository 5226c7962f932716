"""Reads ZPL, the format of the C nodes' configuration files, into paths and values.

Accepts what CZMQ's `zconfig_load` accepts (4/ZPL: https://rfc.zeromq.org/spec/4/): a name per line,
four spaces of indentation per level, `name = value`, quotes, `#` comments. What the paths mean is
decided in `dafka.settings`.
"""

from __future__ import annotations

import re

from dafka.errors import ConfigError

INDENT = 4

_LINE = re.compile(
    r"""(?P<name>[A-Za-z0-9$\-_@.&+/]+)\s*
    (?:=\s*+(?P<value>"[^"]*"|'[^']*'|(?!["'])[^\#]*)\s*)?
    (?:\#.*)?""",
    re.VERBOSE,
)


def loads(text: str, name: str) -> dict[str, str]:
    """Return the values in `text` by path, such as {"beacon/interval": "1000"}.

    A name without `=` only opens a section and has no value. Of two equal paths the first counts,
    as in C. `name` is the file's name in the `ConfigError` that a malformed line raises.
    """
    values: dict[str, str] = {}
    section: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        path, value = _item(line.rstrip(), section, f"{name}:{number}")
        if value is not None:
            values.setdefault("/".join(path), value)
        section = path
    return values


def _item(line: str, section: list[str], place: str) -> tuple[list[str], str | None]:
    content = line.lstrip(" ")
    level, surplus = divmod(len(line) - len(content), INDENT)
    if surplus or content.startswith("\t"):
        raise ConfigError(f"{place}: indent by {INDENT} spaces for each level, without tabs")
    if level > len(section):
        raise ConfigError(f"{place}: indented deeper than the section above allows")
    match = _LINE.fullmatch(content)
    if match is None:
        raise ConfigError(f"{place}: {content!r} is neither 'name' nor 'name = value'")
    if match["name"].startswith("/") or match["name"].endswith("/"):
        raise ConfigError(f"{place}: the name {match['name']!r} starts or ends with '/'")
    return [*section[:level], match["name"]], _unquote(match["value"])


def _unquote(value: str | None) -> str | None:
    if value and value[0] in "\"'":
        return value[1:-1]
    return value if value is None else value.rstrip()
