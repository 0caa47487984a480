"""Assign answers, signs and tick boxes of a sentence to names, by position and neighbours."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from clinragen.knowledge.answers import FILLERS, MINUS, Words, is_mark
from clinragen.knowledge.context import Context, Item

#: Words that join names into one list: "fever and/or chills".
_GLUE = frozenset(("/", "and", "or", "&", "(", ")", "+/-"))
#: Words before a list to which an answer applies as a whole; otherwise it applies to the last name only.
_LEADS = frozenset(
    ("any", "do", "does", "did", "you", "have", "has", "had", "a", "the", "recent", "new", "current", "\n")
)
#: Kinds of concepts that minus signs without a plus negate: "-fever, -cough". "-aspirin -metoprolol" is a list.
_DENIED = ("symptom", "finding")
#: Answer words that negate what follows when they are no answer.
_AHEAD = frozenset(("no", "never", "denies", "denied", "deny", "negative", "neg", "(-)"))
#: Words that may continue an answer: "Fever: no, since Monday", "Cough: no at present".
_TRAILS = frozenset(("since", "at", "for", "now", "today", "currently", "per", "but", "on", "in", "as", "this", "when"))


class _Element(NamedTuple):
    """One item of a sentence: its kind, its place in the items, its words, and the words between it and the one before.

    ``kind``: mention, answer, box, minus, plus, mark, comma, newline or other.
    """

    kind: str
    item: int
    start: int
    end: int
    gap: tuple[str, ...]
    values: tuple[str, ...] = ()
    ticked: str = ""

    @property
    def near(self) -> bool:
        """Whether only joining words stand between it and the element before."""
        return all(word in _GLUE for word in self.gap)


class Sheet:
    """The answers of one sentence.

    Attributes:
        values: mention -> its answer.
        used: items used as answers; they modify nothing else.
    """

    def __init__(
        self,
        items: Sequence[Item],
        places: Sequence[tuple[int, int]],
        text: Words,
        concepts: Sequence[str],
        *,
        sentence: tuple[int, int],
        ticks: bool,
    ) -> None:
        self.values: dict[int, str] = {}
        self.used: set[int] = set()
        self._answered: set[int] = set()  # answers whose names have been found
        self._items, self._text, self._concepts, self._ticks = items, text, concepts, ticks
        self._begin, self._end = sentence
        self._row = list(self._elements(places))
        self._signs()
        self._row = list(self._grouped())
        self._columns()
        self._labelled()
        self._alternating()
        self._boxes()

    def read(self, contexts: Sequence[Context]) -> list[Context]:
        """The contexts of the mentions; an answer takes precedence over the rules for prose."""
        outcome = list(contexts)
        for mention, value in self.values.items():
            if value == "no":
                outcome[mention] = "negated"
            elif value == "unknown":
                outcome[mention] = "hypothetical"
            elif outcome[mention] == "negated":
                outcome[mention] = "affirmed"
        return outcome

    def _elements(self, places: Sequence[tuple[int, int]]) -> Iterator[_Element]:
        before = bisect_left(self._text.starts, self._begin)
        marked = False
        for index, (item, (start, end)) in enumerate(zip(self._items, places, strict=True)):
            gap: list[str] = []
            for element in self._between(before, start):
                if isinstance(element, str):
                    gap.append(element)
                else:
                    yield element._replace(gap=tuple(gap))
                    gap, marked = [], element.kind == "mark"
            marked, before = marked and not gap, end
            kind, values, ticked = self._kind(item, start, marked)
            marked = False
            yield _Element(kind, index, start, end, tuple(gap), values, ticked)
        gap = []
        for element in self._between(before, bisect_left(self._text.starts, self._end)):
            if isinstance(element, str):
                gap.append(element)
            else:
                yield element._replace(gap=tuple(gap))
                gap = []
        yield _Element("end", -1, before, before, tuple(gap))

    def _between(self, start: int, end: int) -> Iterator[str | _Element]:
        """The words between two items; marks, minuses and line ends are separate elements."""
        words, starts, text = self._text
        for index in range(start, end + 1):
            after = starts[index - 1] + len(words[index - 1]) if index else 0
            here = starts[index] if index < len(starts) else self._end
            blank = text[after:here]
            if "\n" in blank:
                yield _Element("newline", -1, index, index, ())
            if "-" in blank and MINUS.search(text, after, here):
                yield _Element("minus", -1, index, index, ())
            if index == end:
                return
            if is_mark(words[index]):
                yield _Element("mark", -1, index, index + 1, ())
            else:
                yield words[index]

    def _kind(self, item: Item, start: int, marked: bool) -> tuple[str, tuple[str, ...], str]:
        if item is None:
            return "comma", (), ""
        if isinstance(item, int):
            return "mention", (), ""
        word = self._text.words[start]
        kind, values, ticked = "comma" if word == "," else "other", (), ""
        for modifier in item.modifiers:
            if modifier.side == "box":
                kind, ticked = "box", modifier.kind
            elif modifier.side == "answer":
                if word == "+":
                    kind = "plus"
                elif modifier.kind != "digit":
                    kind, values = "answer", (modifier.kind,)
                elif marked:
                    kind, values = "answer", ("no",)
        return kind, values, ticked

    def _signs(self) -> None:
        """Plus and minus: before the name, attached to it ("-fever"), or after it ("fever -")."""
        row = self._row
        if not row or not any(element.kind in ("minus", "plus") for element in row):
            return
        words = self._text.words[row[0].start : row[-1].end]
        opposed = any(word in ("+", "(+)") for word in words)
        leading = next(element.kind for element in row if element.kind in ("mention", "minus", "plus")) != "mention"
        glued = [k for k, element in enumerate(row) if element.kind == "minus" and self._glued(k)]
        for k, element in enumerate(row):
            if element.kind not in ("minus", "plus"):
                continue
            value = "no" if element.kind == "minus" else "yes"
            ahead = row[k + 1].kind == "mention" and not row[k + 1].gap
            behind = k > 0 and row[k - 1].kind == "mention" and not element.gap
            if (
                ahead
                and (self._glued(k) or not (element.gap or (behind and not (opposed and leading))))
                and self._signed(k, opposed, len(glued), value)
            ):
                for mention in self._list_from(k + 1):
                    self.values[mention] = value
            elif self._follows(k) and not (ahead and self._glued(k)):
                row[k] = element._replace(kind="answer", values=(value,))
            elif value == "no":
                row[k] = element._replace(kind="mark")  # "fever - denies"
        for k, element in enumerate(row):
            if element.kind in ("minus", "plus"):
                row[k] = element._replace(kind="other")

    def _follows(self, k: int) -> bool:
        """Whether a sign is in the position of an answer: after a name or a mark, with nothing after it."""
        before, following = self._row[k - 1].kind if k else "", self._row[k + 1]
        return (
            before in ("mention", "mark")
            and not self._row[k].gap
            and not following.gap
            and following.kind in ("comma", "newline", "mark", "end", *(["mention"] if before == "mention" else []))
        )

    def _glued(self, k: int) -> bool:
        """Whether a sign touches the word after it."""
        starts, end = self._text.starts, self._row[k].end
        return end < len(starts) and self._text.text[starts[end] - 1] in "+-"

    def _signed(self, k: int, opposed: bool, glued: int, value: str) -> bool:
        """Whether a minus negates: always beside a plus; otherwise before symptoms in a row, or after a mark."""
        if opposed or value == "yes":
            return True
        concept = self._concept(self._row[k + 1])
        if not self._glued(k) or not concept.startswith(_DENIED):
            return False
        return glued > 1 or (k > 0 and self._row[k - 1].kind in ("comma", "mark"))

    def _grouped(self) -> Iterator[_Element]:
        """Merge boxes beside answers ("[x] yes [ ] no") and answers in a row ("n/n/y") into one element each."""
        row, k = self._row, 0
        while k < len(row):
            element, end = row[k], k + 1
            if element.kind in ("box", "answer"):
                while end < len(row) and row[end].kind in ("box", "answer") and (row[end].near or not row[end].gap):
                    end += 1
                part = row[k:end]
                boxes = [each for each in part if each.kind == "box"]
                answers = [each for each in part if each.kind == "answer"]
                if boxes and answers:
                    yield element._replace(kind="answer", end=part[-1].end, values=self._chosen(part))
                    self.used.update(each.item for each in part)
                    k = end
                    continue
                slashed = all("/" in each.gap for each in part[1:])
                if answers and len(part) > 1 and slashed:
                    values = tuple(value for each in part for value in each.values)
                    yield element._replace(end=part[-1].end, values=values)
                    self.used.update(each.item for each in part)
                    k = end
                    continue
            yield element
            k += 1

    def _chosen(self, part: Sequence[_Element]) -> tuple[str, ...]:
        """The ticked answer of "[x] yes [ ] no" or "yes [x] no [ ]"."""
        first = part[0].kind == "box"
        pairs = zip(part[::2], part[1::2], strict=False)
        pairings = [(answer if first else box, box if first else answer) for box, answer in pairs]
        values = {value for answer, box in pairings if box.ticked in ("ticked", "crossed") for value in answer.values}
        return (values.pop(),) if len(values) == 1 else ("unknown",)

    def _labelled(self) -> None:
        """Answers after a mark: "Fever: No", "Any chest pain? None.", "| Fever | No |"."""
        labels = self._labels()
        for k, element in enumerate(self._row):
            if element.kind != "answer" or k == 0:
                continue
            mark = k - 1
            while mark > 0 and self._row[mark].kind == "newline":
                mark -= 1
            if self._row[mark].kind != "mark" or not set(element.gap) <= FILLERS:
                continue
            while mark > 0 and self._row[mark - 1].kind in ("mark", "newline") and set(self._row[mark].gap) <= FILLERS:
                mark -= 1
            label = mark - 1
            sign = self._text.words[self._row[mark].start]
            if label < 0 or self._row[label].kind != "mention":
                continue
            if sign not in (":", "=", "?") and not self._row[mark].near:
                continue
            names = self._names(label, question=sign == "?")
            following = self._row[k + 1]
            if self._text.words[element.start] in _AHEAD and self._said_of_more(k, labels):
                if following.kind == "mention" and self._concept(following) == self._concept(self._row[label]):
                    self._answer(names, element.values)  # "Edema: no edema"
                continue
            self._answer(names, self._listed(k, len(names)))
            self.used.add(element.item)
            self._answered.add(element.item)

    def _said_of_more(self, k: int, labels: Sequence[bool]) -> bool:
        """Whether a "no" negates what follows it: "Cough: no sputum", but not "Fever: no Cough: yes"."""
        following = self._row[k + 1]
        if following.gap:
            return following.gap[0] not in _TRAILS
        return following.kind == "mention" and not labels[k + 1]

    def _listed(self, k: int, count: int) -> tuple[str, ...]:
        """The values of "fever, cough, chest pain: N, Y, N", if there are as many answers as names."""
        element = self._row[k]
        if count < 2 or len(element.values) > 1:
            return element.values
        values, used, end = [*element.values], [element.item], k + 1
        while end + 1 < len(self._row) and self._row[end].kind == "comma" and self._row[end + 1].kind == "answer":
            if self._row[end + 1].gap or self._row[end].gap:
                break
            values += self._row[end + 1].values
            used.append(self._row[end + 1].item)
            end += 2
        if len(values) != count:
            return element.values
        self.used.update(used)
        return tuple(values)

    def _alternating(self) -> None:
        """Answers directly after names: "Fever no, cough yes", "Fever N Cough Y", one on each line of a table."""
        segments: list[tuple[int, int]] = []
        start = 0
        for k in range(len(self._row)):
            if self._row[k].kind in ("comma", "newline", "end"):
                segments.append((start, k))
                start = k + 1
        forms = [self._alternates(start, end) for start, end in segments]
        for index, ((start, end), form) in enumerate(zip(segments, forms, strict=True)):
            if not form:
                continue
            wraps = self._row[end].kind == "newline"
            if wraps and not forms[index + 1] and segments[index + 1][0] < segments[index + 1][1]:
                continue  # "... cough no / fever": a sentence that continues on the next line
            names: list[int] = []
            for element in self._row[start:end]:
                if element.kind == "mention":
                    names.append(element.item)
                elif element.kind == "answer":
                    self._answer(names, element.values)
                    self.used.add(element.item)
                    names = []

    def _columns(self) -> None:
        """A row of names above a row of as many answers; "Fever, no" alone."""
        row = [element for element in self._row if element.kind != "mark"]
        names = [element for element in row if element.kind == "mention"]
        answers = [element for element in row if element.kind == "answer"]
        if not names or not all(element.near for element in row[1:]):
            return
        kinds = [element.kind for element in row[:-1]]
        table = [*["mention"] * len(names), "newline", *["answer"] * len(names)]
        if (len(names) > 1 and kinds == table) or kinds == ["mention", "comma", "answer"]:
            self._answer([element.item for element in names], [element.values[0] for element in answers])
            self.used.update(element.item for element in answers)
            self._answered.update(element.item for element in answers)

    def _first_name(self, start: int, end: int) -> int:
        """Start of a stretch after its heading: "ROS: fever no", "Patient reports: fever no"."""
        for index in range(start, end):
            if self._row[index].kind == "mention":
                return start
            if self._row[index].kind == "mark":
                start = index + 1
        return start

    def _alternates(self, start: int, end: int) -> bool:
        """Whether a stretch consists only of names with an answer after each."""
        start = self._first_name(start, end)
        row = [element for element in self._row[start:end] if element.kind != "mark" or element.gap]
        if not self._row[end].near:
            return False  # "cough no other symptoms"
        if len(row) < 2 or row[0].kind != "mention" or row[-1].kind != "answer":
            return False
        if any(element.values == ("unknown",) for element in row):
            return False  # a single answer: "loss of consciousness unknown"
        if any(element.item in self._answered for element in row):
            return False
        previous = row[0].kind
        for element in row[1:]:
            if element.kind not in ("mention", "answer") or not element.near:
                return False
            if element.kind == previous == "answer":
                return False
            previous = element.kind
        return True

    def _boxes(self) -> None:
        """Boxes before or after names, whichever comes first in the sentence."""
        row = [element for element in self._row if element.item not in self.used or element.kind == "mention"]
        boxes = [k for k, element in enumerate(row) if element.kind == "box"]
        if not boxes:
            return
        checked = any(row[k].ticked == "ticked" for k in boxes)
        first = next((element.kind for element in row if element.kind in ("box", "mention")), "")
        for k in boxes:
            ticked = row[k].ticked
            value = "yes" if ticked == "ticked" or (ticked == "crossed" and not checked) else "no"
            glyph = self._text.words[row[k].start]
            if value == "no" and not (self._ticks or glyph in "✗✘❌✖"):
                value = "unknown"  # a form in which nothing is ticked gives no answer
            step, index = (1, k + 1) if first == "box" else (-1, k - 1)
            while 0 <= index < len(row) and row[index].kind in ("mention", "comma", "mark"):
                near = row[index] if step > 0 else row[index + 1]
                if not near.near:
                    break
                if row[index].kind == "mention":
                    self.values[self._mention(row[index])] = value
                index += step

    def _answer(self, names: Sequence[int], values: Sequence[str]) -> None:
        """One answer for all names, or one each; otherwise they contradict each other and give no answer."""
        if len(values) == len(names):
            pairs = list(zip(names, values, strict=True))
        else:
            value = values[0] if len(set(values)) == 1 else "unknown"
            pairs = [(name, value) for name in names]
        for name, value in pairs:
            item = self._items[name]
            assert isinstance(item, int)
            self.values[item] = value

    def _names(self, label: int, *, question: bool) -> list[int]:
        """The names that an answer is about: the last name with those joined to it, or a whole list."""
        joined, whole, index, commas = [label], [label], label, False
        while index > 0 and self._row[index].near:
            step = 1 if self._row[index - 1].kind == "mention" else 2
            commas = commas or step == 2
            comma = step == 1 or (self._row[index - 1].kind == "comma" and self._row[index - 1].near)
            if not comma or index < step or self._row[index - step].kind != "mention":
                break
            index -= step
            whole.append(index)
            joined += [] if commas else [index]
        first = self._row[index]
        before = self._row[index - 1]
        begins = index == 0 or before.kind in ("newline", "mark") or before.item in self._answered
        rows = whole if question or (begins and set(first.gap) <= _LEADS) else joined
        return [self._row[name].item for name in reversed(rows)]

    def _labels(self) -> list[bool]:
        """Which names have an answer of their own: in "Fever: No Cough: Yes" the no is not about the cough."""
        labels = [False] * len(self._row)
        for k in range(len(self._row) - 2, -1, -1):
            following = self._row[k + 1]
            if self._row[k].kind != "mention":
                continue
            if following.kind == "mention" and following.near:
                labels[k] = labels[k + 1]
            elif following.kind == "answer" and not following.gap:
                labels[k] = self._row[k + 2].kind != "mention" or labels[k + 2]
            else:
                labels[k] = following.kind == "mark"
        return labels

    def _list_from(self, k: int) -> Iterator[int]:
        """Mentions from k on that share one sign: "-fever/chills"."""
        yield self._mention(self._row[k])
        while k + 1 < len(self._row) and self._row[k + 1].kind == "mention" and "/" in self._row[k + 1].gap:
            k += 1
            yield self._mention(self._row[k])

    def _mention(self, element: _Element) -> int:
        item = self._items[element.item]
        assert isinstance(item, int)
        return item

    def _concept(self, element: _Element) -> str:
        return self._concepts[self._mention(element)]
