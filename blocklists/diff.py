"""What an update of the lists changes, and whether somebody should look at it first. Pure: two bases in, values out.

An entry counts for a list where the list itself wrote it; it is added when the list was not in force there before, and
dropped when the list is not in force there any more. So a thousand subdomains that give way to their parent are no
loss, and a name that moves from one list to another of its category is none for the category.

Guards (a base that trips one waits for an administrator):

- loss: more than `MAX_LOSS` of a category's entries are dropped;
- growth: a name that is protected, that a published platform or another live grant opens, or that was asked for lately
  comes into a category that it was not in before; for a subtree, also a name below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from blocklists import names
from blocklists.base import Base
from blocklists.policy import Match

MAX_LOSS = 0.2
EXAMPLES = 20  # names shown of each list's changes
MAX_NEWLY = 200  # newly blocked names that are kept; more are counted


class Watch(StrEnum):
    """Why a name is watched."""

    PROTECTED = "protected"
    PLATFORM = "platform"
    GRANT = "grant"
    RECENT = "recent"


@dataclass(frozen=True, slots=True)
class Watched:
    """A name whose new listing matters. `what` is for the page: "grant 12", "register 2026-27: Notes home, grant 12",
    "asked by 40 devices yesterday"."""

    name: str
    match: Match
    why: Watch
    what: str


@dataclass(frozen=True, slots=True)
class Change:
    """What changes for one list or one category, in entries; and the first names of each kind, sorted."""

    id: str
    before: int
    after: int
    added: int
    dropped: int
    added_examples: tuple[str, ...]
    dropped_examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NewlyBlocked:
    """`name`, which is `watched` or lies below what is, comes into `categories` by `lists`."""

    watched: Watched
    name: str
    categories: tuple[str, ...]
    lists: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that changes from one base to the next. Lists and categories without a change are in it, too."""

    lists: tuple[Change, ...]
    categories: tuple[Change, ...]
    newly: tuple[NewlyBlocked, ...]
    more_newly: int  # beyond those in `newly`

    @property
    def is_empty(self) -> bool:
        return not any(change.added or change.dropped for change in self.lists)


class Guard(StrEnum):
    LOSS = "loss"
    PROTECTED = "protected"
    PLATFORM = "platform"
    GRANT = "grant"
    RECENT = "recent"


@dataclass(frozen=True, slots=True)
class Reason:
    """One guard that tripped: on which category (loss) or name (growth), and a sentence for the administrator."""

    guard: Guard
    subject: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The update waits for an administrator."""

    reasons: tuple[Reason, ...]


def compare(
    old: Base, new: Base, watched: Iterable[Watched] = (), withdrawn: frozenset[str] = frozenset()
) -> Difference:
    """Return what changes from `old` to `new`.

    `withdrawn` are lists that somebody switched off on purpose: what only they held is no loss. Takes some
    microseconds for every entry of both bases.
    """
    comparison = _Comparison(_Side(old, withdrawn), _Side(new), tuple(watched))
    comparison.entries()
    comparison.watched_names()
    return comparison.difference()


def judge(difference: Difference) -> Hold | None:
    """Return why the update has to wait, or None when it may go out."""
    reasons = [
        Reason(
            Guard.LOSS,
            change.id,
            f"{change.id} loses {change.dropped:,} of its {change.before:,} entries "
            f"({100 * change.dropped / change.before:.0f} %)",
        )
        for change in difference.categories
        if change.dropped > MAX_LOSS * change.before
    ]
    for one in difference.newly:
        by = f"{', '.join(one.categories)} (list {', '.join(one.lists)})"
        below = f", below {one.watched.name}," if one.name != one.watched.name else ""
        reasons.append(
            Reason(Guard(one.watched.why.value), one.name, f"{one.name}{below} comes into {by}: {one.watched.what}")
        )
    if difference.more_newly:
        sentence = f"{difference.more_newly:,} more watched names come into a category"
        reasons.append(Reason(Guard.RECENT, "", sentence))
    return Hold(tuple(reasons)) if reasons else None


@dataclass(frozen=True, slots=True)
class _Said:
    """What an entry says, by list ids: who holds it and who excepts it."""

    holds: frozenset[str]
    excepts: frozenset[str]


_NOTHING = _Said(frozenset(), frozenset())


class _Side:
    """One base, its lists by id instead of by number, so that two bases can be told apart."""

    def __init__(self, base: Base, without: frozenset[str] = frozenset()) -> None:
        self.base = base
        self._ids = tuple(one.id for one in base.lists)
        self.category = {one.id: one.category for one in base.lists if one.id not in without}
        self._without = without
        self._in_force: dict[tuple[int, ...], frozenset[str]] = {}
        self.says = tuple(_Said(self._named(one.holds), self._named(one.excepts)) for one in base.sets)

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Return the numbers of entries by list and by category."""
        lists: Counter[str] = Counter()
        categories: Counter[str] = Counter()
        for said, count in zip(self.says, self.base.uses(), strict=True):
            for id in said.holds:
                lists[id] += count
            for id in self.categories(said.holds):
                categories[id] += count
        return lists, categories

    def _named(self, indexes: tuple[int, ...]) -> frozenset[str]:
        return frozenset(self._ids[index] for index in indexes) - self._without

    def in_force(self, path: tuple[int, ...]) -> frozenset[str]:
        """Return the lists that block a name with this path: held at or above it, and not excepted from below that."""
        if (known := self._in_force.get(path)) is None:
            found: set[str] = set()
            excepted: set[str] = set()
            for number in reversed(path):
                excepted |= self.says[number].excepts
                found |= self.says[number].holds - excepted
            known = self._in_force[path] = frozenset(found)
        return known

    def path(self, name: str) -> tuple[int, ...]:
        return self.base.path(names.key(name))

    def categories(self, lists: Iterable[str]) -> frozenset[str]:
        return frozenset(self.category[id] for id in lists)


_Paths = tuple[tuple[int, ...], tuple[int, ...], int | None, int | None]  # old and new path; what old and new say


def _with_paths(base: Base) -> Iterator[tuple[str, int, tuple[int, ...]]]:
    """Yield each entry's key, what it says, and its path (as `Base.path`): those above an entry come before it."""
    above: list[tuple[str, tuple[int, ...]]] = [("", ())]
    for key, number in base.entries():
        while not key.startswith(above[-1][0]):
            above.pop()
        path = (*above[-1][1], number)
        above.append((key, path))
        yield key, number, path


@dataclass(frozen=True, slots=True)
class _Turn:
    """What changes at every entry that has the same paths in both bases."""

    added: frozenset[str]
    dropped: frozenset[str]
    fresh: frozenset[str]  # categories that it comes into
    lost: frozenset[str]  # categories that it leaves
    after: frozenset[str]


class _Tally:
    """Counts and examples of one kind of change, by list or category."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}  # keys
        self._last: dict[str, str] = {}  # a key that is too late to be an example

    def add(self, ids: Iterable[str], key: str) -> None:
        for id in ids:
            self.counts[id] += 1
            if id in self._last and key > self._last[id]:
                continue  # of a million names nearly all
            examples = self._examples.setdefault(id, [])
            examples.append(key)
            if len(examples) >= 4 * EXAMPLES:
                examples[:] = sorted(examples)[:EXAMPLES]
                self._last[id] = examples[-1]

    def examples(self, id: str) -> tuple[str, ...]:
        """The names of the first keys, sorted."""
        first = sorted(self._examples.get(id, ()))[:EXAMPLES]
        return tuple(sorted(map(names.from_key, first)))


class _Comparison:
    def __init__(self, old: _Side, new: _Side, watched: tuple[Watched, ...]) -> None:
        self._old = old
        self._new = new
        self._watched = watched
        # (lists, categories) of each
        self._before = old.counts()
        self._after = new.counts()
        self._added = (_Tally(), _Tally())
        self._dropped = (_Tally(), _Tally())
        self._turns: dict[_Paths, _Turn] = {}
        numbers = {said: number for number, said in enumerate(new.says)}
        self._same = {(was, numbers.get(said)) for was, said in enumerate(old.says)}  # entries that say the same
        self._newly: list[NewlyBlocked] = []
        self._more = 0

    def entries(self) -> None:
        """Go through both bases once; look closer only where an entry is not the same in both."""
        entry, path = self._old.base.entry, self._old.base.path
        for key, now, above in _with_paths(self._new.base):
            was = entry(key)
            if (was, now) not in self._same:
                self._changed(key, (path(key), above, was, now))
        entry, path = self._new.base.entry, self._new.base.path
        for key, was, above in _with_paths(self._old.base):
            if entry(key) is None:
                self._changed(key, (above, path(key), was, None))

    def _changed(self, key: str, paths: _Paths) -> None:
        turn = self._known_turn(paths)
        for at, gained, gone in ((0, turn.added, turn.dropped), (1, turn.fresh, turn.lost)):
            if gained:
                self._added[at].add(gained, key)
            if gone:
                self._dropped[at].add(gone, key)

    def _known_turn(self, paths: _Paths) -> _Turn:
        if (turn := self._turns.get(paths)) is None:
            turn = self._turns[paths] = self._turn(*paths)
        return turn

    def _turn(self, path: tuple[int, ...], new_path: tuple[int, ...], was: int | None, now: int | None) -> _Turn:
        old, new = self._old, self._new
        said = old.says[was] if was is not None else _NOTHING
        says = new.says[now] if now is not None else _NOTHING
        before, after = old.in_force(path), new.in_force(new_path)
        added = (after - before) & (says.holds | said.excepts)
        dropped = (before - after) & (said.holds | says.excepts)
        fresh = new.categories(added) - old.categories(before)
        lost = old.categories(dropped) - new.categories(after)
        return _Turn(added, dropped, fresh, lost, after)

    def watched_names(self) -> None:
        """The watched names themselves, for an entry above them is found nowhere else; then what lies below them."""
        for one in self._watched:
            if one.match is Match.SUBTREE:
                self._below(one)
            before, after = self._old.in_force(self._old.path(one.name)), self._new.in_force(self._new.path(one.name))
            if fresh := self._new.categories(after) - self._old.categories(before):
                self._note(one, one.name, fresh, after)

    def _below(self, one: Watched) -> None:
        old, new = self._old.base, self._new.base
        top = names.key(one.name)
        for key in {*new.below(top), *old.below(top)} - {top}:
            was, now = old.entry(key), new.entry(key)
            if (was, now) not in self._same:
                turn = self._known_turn((old.path(key), new.path(key), was, now))
                if turn.fresh:
                    self._note(one, names.from_key(key), turn.fresh, turn.after)

    def _note(self, one: Watched, name: str, categories: frozenset[str], after: frozenset[str]) -> None:
        if len(self._newly) >= MAX_NEWLY:
            self._more += 1
            return
        lists = sorted(id for id in after if self._new.category[id] in categories)
        self._newly.append(NewlyBlocked(one, name, tuple(sorted(categories)), tuple(lists)))

    def difference(self) -> Difference:
        def changes(at: int, ids: set[str]) -> tuple[Change, ...]:
            return tuple(
                Change(
                    id,
                    self._before[at][id],
                    self._after[at][id],
                    self._added[at].counts[id],
                    self._dropped[at].counts[id],
                    self._added[at].examples(id),
                    self._dropped[at].examples(id),
                )
                for id in sorted(ids)
            )

        order = {why: at for at, why in enumerate(Watch)}
        self._newly.sort(key=lambda one: (order[one.watched.why], one.watched.name, one.name, one.watched.what))
        lists = set(self._old.category) | set(self._new.category)
        categories = set(self._old.category.values()) | set(self._new.category.values())
        return Difference(changes(0, lists), changes(1, categories), tuple(self._newly), self._more)
