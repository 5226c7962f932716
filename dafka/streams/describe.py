"""A topology as text, as Graphviz, and as Mermaid."""

from __future__ import annotations

from typing import Literal

from dafka.errors import ConfigError
from dafka.streams.topology import Node, Topology

Format = Literal["text", "graphviz", "mermaid"]


def describe(topology: Topology, format: Format = "text") -> str:
    """The operators and what they give to each other."""
    makers = {"text": _text, "graphviz": _graphviz, "mermaid": _mermaid}
    if format not in makers:
        raise ConfigError(f"format is {format!r}: it must be one of {', '.join(makers)}")
    return makers[format](topology)


def _edges(topology: Topology) -> list[tuple[Node, Node, str]]:
    """Who gives to whom; with the number of the output, where there are several."""
    found = []
    for node in topology.nodes:
        for parent, output in node.parents:
            label = str(output + 1) if parent.kind == "branch" else ""
            found.append((parent, node, label))
    return found


def _text(topology: Topology) -> str:
    lines = []
    edges = _edges(topology)
    for node in topology.nodes:
        given = [
            f"{to.name}{f' (way {label})' if label else ''}"
            for of, to, label in edges
            if of is node
        ]
        detail = f": {node.detail}" if node.detail else ""
        keeps = ", keeps state" if node.keeps and not node.relays else ""
        arrow = f" -> {', '.join(given)}" if given else ""
        lines.append(f"{node.name}{detail}{keeps}{arrow}")
    return "\n".join(lines)


def _label(node: Node) -> str:
    return f"{node.name}\n{node.detail}" if node.detail else node.name


def _graphviz(topology: Topology) -> str:
    numbers = {node: f"n{number}" for number, node in enumerate(topology.nodes)}
    lines = ["digraph topology {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for node, number in numbers.items():
        label = _label(node).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        shape = ", shape=cylinder" if node.keeps and not node.relays else ""
        lines.append(f'  {number} [label="{label}"{shape}];')
    for parent, node, label in _edges(topology):
        told = f' [label="{label}"]' if label else ""
        lines.append(f"  {numbers[parent]} -> {numbers[node]}{told};")
    return "\n".join([*lines, "}"])


def _mermaid(topology: Topology) -> str:
    numbers = {node: f"n{number}" for number, node in enumerate(topology.nodes)}
    lines = ["flowchart LR"]
    for node, number in numbers.items():
        label = _label(node).replace('"', "#quot;").replace("\n", "<br/>")
        left, right = ("[(", ")]") if node.keeps and not node.relays else ("[", "]")
        lines.append(f'  {number}{left}"{label}"{right}')
    for parent, node, label in _edges(topology):
        arrow = f"-- {label} -->" if label else "-->"
        lines.append(f"  {numbers[parent]} {arrow} {numbers[node]}")
    return "\n".join(lines)
