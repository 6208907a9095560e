"""Which message arrives when at which node of a tree: like a timetable, a pass that never reads states.

Nodes are numbered from the leaves to the root, level by level, and each counts steps of its own. It sends at counts
that its period divides; a message takes its time, and does not overtake one that went the same way before. What arrives
at a node moves it at once; at a leaf it waits for the end of the job under way. A message carries what its sender was
when it sent: a value that changes before it is read is kept in a slot until then, the lowest one that is free.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sdesim.asynchrony.clocks import WINDOW, Clocks, Timing, by_moments, check_room, stride_of
from sdesim.asynchrony.compute import job_times
from sdesim.fields import is_traced
from sdesim.random import Stream
from sdesim.steppers.base import Setting

HELD = 110  # bytes of each event, while they are put together
WORK = 250  # of each step and message of the simulations that are made at a time
EVENT = 28  # of each event that is made

NOWHERE = np.iinfo(np.int32).max
"""The slot of what nobody will read."""


class Links(NamedTuple):
    """Who sends to whom, and how often. The links of a tree are numbered as the lower of their nodes.

    Attributes:
        leaves: how many nodes have jobs.
        parents: of each node, (nodes,); the root is the last and has none.
        up: steps of a node between two messages to its parent, (nodes - 1,).
        down: steps of its parent between two messages to it, (nodes - 1,).
        synchronous: whether a node waits for all messages of a count before it goes on.
    """

    leaves: int
    parents: NDArray
    up: NDArray
    down: NDArray
    synchronous: bool

    @property
    def nodes(self) -> int:
        """Leaves and all above."""
        return len(self.parents)

    def events_per_second(self, cycle: NDArray) -> float:
        """How many jobs end and messages arrive in a second, in the mean, where nobody waits.

        Args:
            cycle: the mean time of a step of each node, in seconds, (nodes,).
        """
        rate = 1 / cycle
        return float(rate[: self.leaves].sum() + (rate[:-1] / self.up + rate[self.parents[:-1]] / self.down).sum())


class Page(NamedTuple):
    """What moves nodes, in the order of time, (sims, events) each; what is beyond the last of a simulation is nobody's.

    Attributes:
        time: in seconds, infinite beyond the last.
        node: which one is moved, that of all nodes beyond the last.
        job: steps that it has ended; at the end of a leaf's job the number of the job.
        sender: who sent the value that arrives; itself at the end of a step.
        held: the slot in which that value is; `NOWHERE` where its sender still has it.
        slot: where the value that it had is kept; `NOWHERE` if no message under way carries it.
    """

    time: NDArray
    node: NDArray
    job: NDArray
    sender: NDArray
    held: NDArray
    slot: NDArray


def _nobody(nodes: int) -> tuple:
    """An event that moves nobody."""
    return np.inf, nodes, 0, nodes, NOWHERE, NOWHERE


@dataclasses.dataclass(frozen=True, eq=False)
class Messages:
    """What the host hands to each step of a run of a tree, and when these steps are.

    Attributes:
        page: of all steps, (sims, steps) each.
        begins: when the first one begins, in seconds, (sims,).
        before: jobs and messages that have arrived by then, (sims,).
        nodes: how many there are; the number of nobody.
        slots: values that are kept at a time, at most.
        stride: steps between two of the moments that were asked for; None if arrivals were.
    """

    page: Page
    begins: NDArray
    before: NDArray
    nodes: int
    slots: int
    stride: int | None = None

    @property
    def steps(self) -> int:
        """Of the run."""
        return self.page.node.shape[1]

    def reading(self, records: NDArray) -> "MessageReading":
        """Hand them out, from the first step on.

        Args:
            records: the numbers of steps after which the time will be asked for, from 0, (records,).

        Returns:
            What hands them out.
        """
        return MessageReading(self, records)


class MessageReading(NamedTuple):
    """Messages as they are handed out.

    Attributes:
        messages: of the run.
        records: the numbers of steps after which the time will be asked for, (records,).
    """

    messages: Messages
    records: NDArray

    def reader(self, sims: NDArray) -> Callable[[int, int], dict[str, Any]]:
        """Hand them to some lanes.

        Args:
            sims: of each lane its simulation, from 0, (lanes,).

        Returns:
            (a, b) -> {"arrival": (nodes, jobs, senders, slots, slots)} of the steps from a to b, (b - a, lanes) each.
        """
        parts = self.messages.page[1:]
        return lambda a, b: {"arrival": tuple(np.ascontiguousarray(part[sims, a:b].T) for part in parts)}

    def times(self) -> NDArray:
        """The time after each of the records.

        Returns:
            Seconds, float64 (records, sims).
        """
        moments = np.concatenate([self.messages.begins[:, None], self.messages.page.time], axis=1)
        return np.ascontiguousarray(moments[:, self.records].T)

    def arrivals(self, sims: NDArray, steps: NDArray) -> NDArray:
        """How many jobs and messages have arrived after so many steps of the run, since the first run began.

        Args:
            sims: which simulations, (count,).
            steps: of each, (count,).

        Returns:
            (count,).
        """
        here = self.messages.page.node < self.messages.nodes
        so_far = np.concatenate([np.zeros((here.shape[0], 1), int), np.cumsum(here, axis=1)], axis=1)
        return self.messages.before[sims] + so_far[sims, steps]


def messages_of(links: Links, timing: Timing, setting: Setting) -> Messages:
    """The messages and the ends of jobs of a run.

    Args:
        links: of the tree.
        timing: of the nodes' steps, the leaves first; its uplink and downlink are those of messages.
        setting: of the run.

    Returns:
        `Messages`.

    Raises:
        ValueError: for a seed that is traced, and for what a tree has not.
        MemoryError: if there is no room for all of them, which are held at once.
    """
    if is_traced(setting.seed):
        raise ValueError("seed: workers' clocks are made outside of jit, and this seed is traced; give a number")
    timing.check_run(links.nodes)
    if timing.failure or timing.leave is not None:
        name = "failure" if timing.failure else "leave"
        raise ValueError(f"{name}={getattr(timing, name)}: must be left out: in a tree nobody fails or leaves")
    if links.synchronous and timing.start != "together":
        raise ValueError(f"start={timing.start}: must be 'together' where nodes wait for each other")
    cycle, last = _alone(timing).cycle(links.nodes), setting.first + setting.steps
    until = setting.at[-1] if setting.at is not None else last / links.events_per_second(cycle)
    numbers = setting.first_sim + np.arange(setting.sims)
    mean = until * float(np.sum(1 / cycle))
    steps = 16 + math.ceil(mean + 6 * math.sqrt(mean))  # of all nodes; where that is not enough, more
    while True:
        _check_room(links, cycle, setting.sims, steps)
        page, reached = _made(links, timing, setting.seed, numbers, steps)
        if setting.at is not None and (reached >= until).all():
            return _by_seconds(page, setting, links.nodes)
        if setting.at is None and page.time.shape[1] >= last and np.isfinite(page.time[:, :last]).all():
            return _by_arrivals(page, setting, links.nodes)
        steps = math.ceil(1.5 * steps)


def _alone(timing: Timing) -> Timing:
    """Of nodes that do not wait for their messages."""
    return dataclasses.replace(timing, uplink=None, downlink=None)


def _check_room(links: Links, cycle: NDArray, sims: int, steps: int) -> None:
    """Refuse more events than there is memory for, of so many steps of the nodes of each simulation."""
    seconds = steps / float(np.sum(1 / cycle))
    events = sims * seconds * links.events_per_second(cycle)
    each = seconds / cycle.min()  # steps of a node, for which there is room at each: those of the fastest
    at_once = min(sims, _at_once(steps)) * each * (links.nodes + np.sum(1 / links.up) + np.sum(1 / links.down))
    what = f"the timetable of a tree's messages, {sims} x {math.ceil(events / sims)} events that are held at once,"
    advice = "take fewer sims, and the rest with first_sim=, or fewer steps or seconds in a run"
    check_room(max(WORK * at_once + EVENT * events, HELD * events), what, f"{advice} that another one continues")


def _at_once(steps: int) -> int:
    """Simulations that are made at a time."""
    return max(1, WINDOW // (2 * steps))


def _by_arrivals(page: Page, setting: Setting, nodes: int) -> Messages:
    last = setting.first + setting.steps
    begins = page.time[:, setting.first - 1] if setting.first else np.zeros(setting.sims)
    cut = Page(*(part[:, setting.first : last] for part in page))
    before = np.full(setting.sims, setting.first)
    return Messages(cut, begins, before, nodes, _room(page, last, nodes))


def _room(page: Page, last: int, nodes: int) -> int:
    """Slots up to some event: never fewer than up to an earlier one, and of few different numbers, so few programs."""
    used = page.slot[:, :last]
    return 1 << max(4 * nodes, int(np.where(used == NOWHERE, 0, used).max(initial=0))).bit_length()


def _by_seconds(page: Page, setting: Setting, nodes: int) -> Messages:
    """Events between the moments that are asked for, as many steps for each: those of nobody fill them up."""
    moments = np.array([setting.begins, *(m for m in setting.at or () if m > setting.begins)])
    part, counts = by_moments(page.time.T, moments)
    before = np.cumsum(counts[:-1], axis=0)
    stride = stride_of(before)
    part = part.T
    rows, columns = np.nonzero((part > 0) & (part < moments.size))
    which = part[rows, columns] - 1  # of the moments, that before each event
    place = which * stride + columns - before[which, rows]
    filled = []
    for values, nobody in zip(page[1:], _nobody(nodes)[1:], strict=True):
        filled.append(np.full((setting.sims, (moments.size - 1) * stride), nobody, np.int32))
        filled[-1][rows, place] = values[rows, columns]
    ends = np.broadcast_to(np.repeat(moments[1:], stride), filled[0].shape)
    begins, slots = np.full(setting.sims, setting.begins), _room(page, int(before[-1].max(initial=0)), nodes)
    return Messages(Page(ends, *filled), begins, before[0], nodes, slots, stride)


def _made(links: Links, timing: Timing, seed: Any, sims: NDArray, steps: int) -> tuple[Page, NDArray]:
    """All events of some simulations before the time that each has reached, after so many steps of nodes in all."""
    at_once = _at_once(steps)
    made = [_some(links, timing, seed, sims[i : i + at_once], steps) for i in range(0, sims.size, at_once)]
    width = max(page.time.shape[1] for page, _ in made)
    wide = lambda a, fill: np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=fill)
    parts = zip(*(page for page, _ in made), strict=True)
    page = Page(
        *(np.concatenate([wide(a, fill) for a in part]) for part, fill in zip(parts, _nobody(links.nodes), strict=True))
    )
    return page, np.concatenate([reached for _, reached in made])


def _some(links: Links, timing: Timing, seed: Any, sims: NDArray, steps: int) -> tuple[Page, NDArray]:
    build = _waiting if links.synchronous else _free
    ends, apply, arrive, sent, reached = build(links, timing, seed, sims, steps)
    return _in_order(links, ends, apply, arrive, sent, reached), reached


class Sent(NamedTuple):
    """Messages, (messages,) each.

    Attributes:
        sender: who each is from.
        receiver: who it is to.
        count: after how many steps of the sender it was sent.
    """

    sender: NDArray
    receiver: NDArray
    count: NDArray


def _sent(links: Links, counts: int) -> Sent:
    """All messages up to a count, link by link, each in the order in which they are sent."""
    sender, receiver, number = [], [], []
    for low, high in enumerate(links.parents[:-1]):
        for period, who, whom in ((links.up[low], low, high), (links.down[low], high, low)):
            due = np.arange(0, counts, period)
            sender.append(np.full(due.size, who))
            receiver.append(np.full(due.size, whom))
            number.append(due)
    return Sent(*map(np.concatenate, (sender, receiver, number)))


def _delays(links: Links, timing: Timing, seed: Any, sims: NDArray, sent: Sent, counts: int) -> NDArray | float:
    """How long messages take, (sims, messages): each has a word of its own, that of its link and its count."""
    if timing.uplink is None and timing.downlink is None:
        return 0.0
    first = np.zeros((sims.size, links.nodes), np.int64)
    of = lambda law, stream: 0.0 if law is None else law.times(seed, stream, sims, first, counts)
    up, down = of(timing.uplink, Stream.UPLINK), of(timing.downlink, Stream.DOWNLINK)
    link, rises = np.minimum(sent.sender, sent.receiver), sent.sender < sent.receiver
    found = np.zeros((sims.size, sent.sender.size))
    for delays, those in ((up, rises), (down, ~rises)):
        found[:, those] = delays[:, link[those], sent.count[those]] if isinstance(delays, np.ndarray) else delays
    return found


def _in_turn(arrive: NDArray, sent: Sent) -> NDArray:
    """Arrivals of messages that do not overtake each other: no earlier than those before on the same link."""
    first = np.flatnonzero((np.diff(sent.sender, prepend=-1) != 0) | (np.diff(sent.receiver, prepend=-1) != 0))
    for low, high in zip(first, [*first[1:], sent.sender.size], strict=True):
        np.maximum.accumulate(arrive[:, low:high], axis=1, out=arrive[:, low:high])
    return arrive


def _free(links: Links, timing: Timing, seed: Any, sims: NDArray, steps: int) -> tuple:
    """When nodes that never wait end their steps, and when messages arrive and move their receivers."""
    table = Clocks(_alone(timing), seed, sims, links.nodes).table(steps)
    counts = int(table.job.max(initial=0)) + 2
    ends = np.full((sims.size, links.nodes, counts), np.inf)
    ends[:, :, 0] = 0.0 if isinstance(timing.start, str) else np.maximum(-np.asarray(timing.start, float), 0)
    ends[np.arange(sims.size)[:, None], table.worker, table.job + 1] = table.time
    reached = table.time[:, -1]
    sent = _sent(links, counts)
    arrive = ends[:, sent.sender, sent.count] + _delays(links, timing, seed, sims, sent, counts)
    arrive = _in_turn(arrive, sent)
    apply = arrive.copy()
    for leaf in range(links.leaves):
        mine = sent.receiver == leaf
        apply[:, mine] = _next(ends[:, leaf], arrive[:, mine])
    return ends, apply, arrive, sent, reached


def _next(ends: NDArray, moments: NDArray) -> NDArray:
    """The first of some ends that is not before each moment, both in order along the last axis; infinite if none is."""
    both = np.concatenate([moments, ends], axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    before = np.cumsum(order >= moments.shape[1], axis=1)  # ends so far, in the order of time
    count = np.empty_like(order)
    np.put_along_axis(count, order, before, 1)
    padded = np.concatenate([ends, np.full((ends.shape[0], 1), np.inf)], axis=1)
    return np.take_along_axis(padded, count[:, : moments.shape[1]], 1)


def _waiting(links: Links, timing: Timing, seed: Any, sims: NDArray, steps: int) -> tuple:
    """The same of nodes that wait, at each count, for all messages of that count from their neighbors."""
    counts = 2 + steps // links.nodes
    sent = _sent(links, counts)
    times = job_times(timing.compute, seed, sims, np.zeros((sims.size, links.nodes), np.int64), counts)
    delays = np.broadcast_to(_delays(links, timing, seed, sims, sent, counts), (sims.size, sent.sender.size))
    ends, apply = np.zeros((sims.size, links.nodes, counts)), np.zeros(delays.shape)
    order = np.argsort(sent.count, kind="stable")
    bounds = np.searchsorted(sent.count[order], np.arange(counts + 1))
    now = np.zeros((sims.size, links.nodes))
    for count in range(counts):
        ends[:, :, count] = now
        those = order[bounds[count] : bounds[count + 1]]
        receiver = sent.receiver[those]
        # What comes before its receiver has ended the same step waits for that.
        apply[:, those] = np.maximum(now[:, sent.sender[those]] + delays[:, those], now[:, receiver])
        begin = now.copy()
        for node in range(links.nodes):
            if (mine := those[receiver == node]).size:
                begin[:, node] = apply[:, mine].max(axis=1)
        now = begin + times[:, :, count]
    return ends, apply, apply, sent, ends[:, :, -1].min(axis=1)


def _in_order(links: Links, ends: NDArray, apply: NDArray, arrive: NDArray, sent: Sent, reached: NDArray) -> Page:
    """Ends of steps and messages in the order of time. At one instant steps end first, then messages are applied."""
    sims, nodes, counts = ends.shape
    base = nodes * counts
    turn = np.argsort(arrive, axis=1, kind="stable")  # those that waited for one end are applied as they came
    times = np.concatenate([ends.reshape(sims, base), np.take_along_axis(apply, turn, 1)], axis=1)
    order = np.argsort(times, axis=1, kind="stable")
    time = np.take_along_axis(times, order, 1)
    width = int((time < reached[:, None]).sum(axis=1).max(initial=0))
    order, time = order[:, :width], time[:, :width]
    there = time < reached[:, None]
    # Of each event: a message (its number) or a step, who is moved, and steps that it has ended.
    is_step = order < base
    message = np.take_along_axis(turn, np.maximum(order - base, 0), 1)
    node = np.where(is_step, order // counts, sent.receiver[message])
    count = np.where(is_step, order % counts, 0)
    job_ends = is_step & (count > 0) & ((node < links.leaves) | links.synchronous)
    changes = (job_ends if links.synchronous else job_ends | ~is_step) & there
    following, steps_ended = _of_node(node, changes, np.where(is_step, count, 0), nodes)
    # A message reads what its sender was at an event; the value is kept if that changes before.
    rows = np.arange(sims)[:, None]
    rank = np.full((sims, times.shape[1]), width)
    rank[rows, order] = np.where(there, np.arange(width), width)
    left = rank[:, sent.sender * counts + sent.count]
    read = np.empty_like(left)
    np.put_along_axis(read, turn, rank[:, base:], 1)
    beyond = np.concatenate([following, np.full((sims, 1), width)], axis=1)
    lost = np.take_along_axis(beyond, left, 1)  # when the value that was sent is no more
    kept = lost < np.minimum(read, width)
    slot, slot_of = _slots(lost, read, kept, width)
    held = np.where(is_step, NOWHERE, np.take_along_axis(slot_of, message, 1))
    job = np.where(is_step, count - 1, steps_ended)
    page = Page(time, node, job, np.where(is_step, node, sent.sender[message]), held, slot)
    return _compact(page, (job_ends | ~is_step) & there, nodes)


def _of_node(node: NDArray, changes: NDArray, count: NDArray, nodes: int) -> tuple[NDArray, NDArray]:
    """Of each event, the next one that changes the same node, and how many steps that node has ended by then."""
    sims, width = node.shape
    by_node = np.argsort(node, axis=1, kind="stable")
    whose = np.take_along_axis(node, by_node, 1)
    nobody = nodes * width
    place = np.where(np.take_along_axis(changes, by_node, 1), whose * width + by_node, nobody)
    after = np.concatenate([place[:, 1:], np.full((sims, 1), nobody)], axis=1)
    first = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1]
    first = np.where(first < (whose + 1) * width, first - whose * width, width)
    most = int(count.max(initial=0)) + 1
    so_far = np.maximum.accumulate(whose * most + np.take_along_axis(count, by_node, 1), axis=1) - whose * most
    following, ended = np.empty_like(node), np.empty_like(node)
    np.put_along_axis(following, by_node, first, 1)
    np.put_along_axis(ended, by_node, so_far, 1)
    return following, ended


def _slots(lost: NDArray, read: NDArray, kept: NDArray, width: int) -> tuple[NDArray, NDArray]:
    """Of each event the slot of the value that is lost there, and of each message that from which it is read."""
    sims = lost.shape[0]
    rows, which = np.nonzero(kept)
    at, until = lost[rows, which], read[rows, which]
    slot, last = np.full((sims, width), NOWHERE), np.zeros((sims, width), np.int64)
    np.maximum.at(last, (rows, at), until)
    # Events in turn, all simulations at once: the slot that is lowest is taken, and is free again once all have read.
    taken = np.zeros((sims, 8), bool)
    save_row, save_at = np.nonzero(last)
    ends = last[save_row, save_at]
    by_save, by_free = np.argsort(save_at, kind="stable"), np.argsort(ends, kind="stable")
    save_bounds = np.searchsorted(save_at[by_save], np.arange(width + 1))
    free_bounds = np.searchsorted(ends[by_free], np.arange(width + 1))
    number = np.zeros(save_at.size, np.int64)
    for event in range(width):
        now = by_save[save_bounds[event] : save_bounds[event + 1]]
        if now.size:
            own = save_row[now]
            free = ~taken[own]
            if not free.any(axis=1).all():
                taken = np.concatenate([taken, np.zeros_like(taken)], axis=1)
                free = ~taken[own]
            number[now] = free.argmax(axis=1)
            taken[own, number[now]] = True
        done = by_free[free_bounds[event] : free_bounds[event + 1]]
        if done.size:
            taken[save_row[done], number[done]] = False
    slot[save_row, save_at] = number
    slot_of = np.full(lost.shape, NOWHERE)
    slot_of[rows, which] = slot[rows, at]
    return slot, slot_of


def _compact(page: Page, kept: NDArray, nodes: int) -> Page:
    """The events that move somebody."""
    rows, columns = np.nonzero(kept)
    counts = kept.sum(axis=1)
    place = np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    made = []
    for values, nobody in zip(page, _nobody(nodes), strict=True):
        dtype = float if nobody == np.inf else np.int32
        made.append(np.full((kept.shape[0], int(counts.max(initial=0))), nobody, dtype))
        made[-1][rows, place] = values[rows, columns]
    return Page(*made)
