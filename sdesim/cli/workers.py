"""Workers in virtual time on the command line: protocols, laws of compute times and links by their names."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from sdesim import asynchrony
from sdesim.asynchrony import AbstractCompute, AbstractProtocol, Asynchronous, Link
from sdesim.fields import check_choice, shown

PROTOCOLS: dict[str, tuple[type[AbstractProtocol], str]] = {
    "admm": (asynchrony.ADMM, "sgd"),
    "async-sgd": (asynchrony.AsyncSGD, "sgd"),
    "diloco": (asynchrony.DecoupledDiLoCo, "diloco"),
    "downpour": (asynchrony.Downpour, "sgd"),
    "easgd": (asynchrony.EASGD, "easgd"),
    "gossip": (asynchrony.Gossip, "qsgd"),
    "k-async": (asynchrony.KAsyncSGD, "sgd"),
    "mdownpour": (asynchrony.MomentumDownpour, "sgd"),
    "partial-barrier": (asynchrony.PartialBarrier, "easgd"),
    "rennala": (asynchrony.Rennala, "sgd"),
    "ringmaster": (asynchrony.Ringmaster, "sgd"),
    "tree": (asynchrony.EASGDTree, "tree"),
}
"""Protocols, each with the algorithm whose rule and momentum it has by default."""

LAWS: dict[str, type[AbstractCompute]] = {
    "deterministic": asynchrony.Deterministic,
    "exponential": asynchrony.Exponential,
    "gamma": asynchrony.Gamma,
    "log-normal": asynchrony.LogNormal,
    "pareto": asynchrony.Pareto,
}


def numbers_of(option: str, said: Sequence[str] | None) -> dict[str, Any]:
    """Numbers by their names, as a command has them.

    Args:
        option: that they are given by.
        said: texts such as b2=0.95; None for none.

    Returns:
        The numbers, whole ones as such.

    Raises:
        ValueError: for what is no number.
    """
    numbers = {}
    for one in said or ():
        name, _, value = one.partition("=")
        try:
            numbers[name] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            raise ValueError(f"{option}={one!r}: must be such as b2=0.95") from None
    return numbers


def stepper(
    protocol: str,
    protocol_numbers: Sequence[str] | None,
    period: int | None,
    compute: str,
    compute_numbers: Sequence[str] | None,
    bandwidth: float | None,
    latency: float | None,
) -> Asynchronous:
    """Workers as the command line has them.

    Args:
        protocol: a name of `PROTOCOLS`.
        protocol_numbers: of it, such as threshold=4.
        period: of it, where it has one.
        compute: a name of `LAWS`.
        compute_numbers: of it, such as shape=4.
        bandwidth: in bytes a second, of messages as large as the network, up and down; None for no time.
        latency: of each message, in seconds; None for none.

    Returns:
        The stepper.

    Raises:
        ValueError: for an unknown name, and a number that is not there or out of its range.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    check_choice("compute", compute, LAWS)
    kind, numbers = PROTOCOLS[protocol][0], numbers_of("protocol_numbers", protocol_numbers)
    if period is not None:
        numbers["period"] = period
    if kind is asynchrony.EASGDTree:
        made: AbstractProtocol = _tree(numbers)
    else:
        made = _made(f"protocol={protocol}", kind, numbers)
    law = _made(f"compute={compute}", LAWS[compute], numbers_of("compute_numbers", compute_numbers))
    links: dict[str, Any] = {}
    if bandwidth is not None:
        late = None if latency is None else asynchrony.Deterministic(mean=latency)
        links = {way: Link(None, bandwidth, late) for way in ("uplink", "downlink")}
    elif latency is not None:
        links = {way: asynchrony.Deterministic(mean=latency) for way in ("uplink", "downlink")}
    return Asynchronous(made, compute=law, **links)


def _made(what: str, kind: type, numbers: dict[str, Any]) -> Any:
    fields = [f for f in dataclasses.fields(kind) if f.init and f.name not in ("scale", "slots")]
    for name, value in numbers.items():
        if name not in [f.name for f in fields]:
            has = ", ".join(f.name for f in fields) or "no numbers"
            raise ValueError(f"{name}={shown(value)}: {what} has none; it has {has}")
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    if missing := [name for name in needed if name not in numbers]:
        raise ValueError(f"{what}: needs {', '.join(f'{name}=NUMBER' for name in missing)}")
    return kind(**numbers)


def _tree(numbers: dict[str, Any]) -> asynchrony.EASGDTree:
    """A tree whose scheme is said by the names of its periods."""
    schemes = {
        "leaves": asynchrony.ByLevel,
        "above": asynchrony.ByLevel,
        "up": asynchrony.UpDown,
        "down": asynchrony.UpDown,
    }
    kinds = {schemes.get(name) for name in numbers} or {asynchrony.UpDown}
    if len(kinds) > 1 or None in kinds:
        raise ValueError(
            f"protocol=tree: needs up=NUMBER down=NUMBER, or leaves=NUMBER above=NUMBER, got {', '.join(numbers)}"
        )
    (kind,) = kinds
    assert kind is not None
    return asynchrony.EASGDTree(_made("protocol=tree", kind, numbers or {"up": 1, "down": 1}))
