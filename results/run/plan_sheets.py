"""A plan as tables, and in a few sentences."""

from dataclasses import dataclass
from typing import Final

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.run.attack_choice import UNATTACKED
from vlmguard.results.run.plan import Planned
from vlmguard.results.run.prices import ASSUMED, total

RANGES: Final = (
    "N to M: a search or a dialogue ends with its first success, so N is one try for each sample, "
    "and M are all tries; judges are asked after each one, and at the end. Tokens and cost are "
    "those of M."
)


def matrix_sheet(lines: list[Planned], targets: int) -> Sheet:
    """Benchmarks x defenses, or the other way round: the calls on one target, the same for each.

    With attacks, attacks x defenses: the calls on all benchmarks, twins among them.

    Args:
        lines: The plan.
        targets: Number of targets.
    """
    if any(line.attack != UNATTACKED for line in lines):
        return _attacks_sheet(lines, targets)
    defenses = list(dict.fromkeys(line.defense for line in lines))
    cells = {
        (line.benchmark, line.defense): f"{_of_guard(line, line.target_calls)} / "
        f"{_of_guard(line, line.guard_calls)} / {_show(line.judge_calls)}"
        for line in lines
    }
    answers = {line.benchmark: line.samples for line in lines}
    on = "the target" if targets == 1 else f"each of {targets} targets"
    title = f"Calls at most on {on}: target / guard / judge"
    if len(defenses) > len(answers):
        # The longer of the two goes down the page, where its names need not be broken.
        counts = ["(answers)", *map(_show, answers.values())]
        rows = [[name, *(cells[each, name] for each in answers)] for name in defenses]
        sheet = Sheet(title, ["Defense", *answers], [counts, *rows])
    else:
        rows = [
            [name, _show(samples), *(cells[name, defense] for defense in defenses)]
            for name, samples in answers.items()
        ]
        sheet = Sheet(title, ["Benchmark", "Answers", *defenses], rows)
    if any(line.open_ended for line in lines):
        sheet.notes.append("+: at least; how many more depends on the answers.")
    return sheet


def _attacks_sheet(lines: list[Planned], targets: int) -> Sheet:
    """Attacks x defenses."""
    defenses = list(dict.fromkeys(line.defense for line in lines))
    first = [line for line in lines if line.target == lines[0].target]
    attackers = _has_attackers(lines)
    rows = []
    for attack in dict.fromkeys(line.attack for line in lines):
        under = [line for line in first if line.attack == attack]
        sums = [_sums([line for line in under if line.defense == name]) for name in defenses]
        rows.append(
            [attack, sums[0].answers, *(" / ".join(each.calls(attackers)) for each in sums)]
        )
    on = "the target" if targets == 1 else f"each of {targets} targets"
    asked = "target / guard / judge" + (" / attacker" if attackers else "")
    sheet = Sheet(f"Calls at most on {on}: {asked}", ["Attack", "Answers", *defenses], rows)
    twins = "without" if any(line.not_run for line in lines) else "with"
    sheet.notes.append(
        f"All benchmarks together, {twins} the harmless requests beside them (twins)"
        + (" that are not run." if twins == "without" else ".")
    )
    if any(line.open_ended for line in lines):
        sheet.notes.append("+: at least; how many more depends on the answers.")
    if any(line.at_first for line in lines):
        sheet.notes.append(RANGES)
    return sheet


def plan_sheet(lines: list[Planned]) -> Sheet:
    """The plan as a table, with its sums."""
    attacked = any(line.attack != UNATTACKED for line in lines)
    attackers = _has_attackers(lines)
    counted = ["Answers", "Target calls", "Guard calls", "Judge calls"]
    counted += [*(["Attacker calls"] if attackers else []), "Tokens", "Cost"]
    header = ["Benchmark", "Defense", "Target", *(["Attack"] if attacked else [])]
    sheet = Sheet("Plan (calls at most)", [*header, *counted], [], labels=len(header))
    for line in lines:
        labels = [line.benchmark, line.defense, line.target, line.attack][: len(header)]
        numbers = _sums([line]).numbers(attackers)
        if line.not_run:
            numbers = ["not run", *["-"] * (len(counted) - 1)]
        sheet.rows.append([*labels, *numbers])
    sums = _sums(lines)
    sheet.rows.append(["all", *[""] * (len(header) - 1), *sums.numbers(attackers)])
    sheet.notes.append(
        "?: the number of samples or calls is not known before, samples are chosen by id, or a "
        "model has no price (prices: in the configuration). +: at least."
    )
    if any(line.at_first for line in lines):
        sheet.notes.append(RANGES)
    sheet.notes += [ASSUMED, *_on_partners(lines), *_on_twins(lines)]
    absent = [line for line in lines if line.without_data]
    if missing := _benchmarks([line for line in absent if line.data_missing]):
        sheet.notes.append(
            f"Counted without their data, which are missing or not complete: {missing}. "
            "vlmguard data says where to get them; the run does not start before."
        )
    coming = [line for line in absent if not line.data_missing]
    if fetched := _benchmarks(coming):
        licenses = {line.benchmark: line.license for line in coming if line.license}
        said = [f" {name} is non-commercial: {license}." for name, license in licenses.items()]
        sheet.notes.append(
            f"Counted without their data, which the run fetches from the hub first: {fetched}."
            f"{''.join(said)}"
        )
    return sheet


def summary(lines: list[Planned]) -> list[str]:
    """The plan in a few sentences, for the start of a run."""
    sums = _sums(lines)
    attackers = f", {sums.attacker} of attackers" if sums.attacker != "0" else ""
    said = (
        f"Plan: {sums.answers} answers; calls at most: {sums.target} of targets, {sums.guard} of "
        f"guards, {sums.judge} of judges{attackers}; about {sums.tokens} tokens; cost {sums.cost}. "
        f"{ASSUMED} What is in the logs already is not paid for again."
    )
    return [said, *_on_partners(lines), *_on_twins(lines)]


@dataclass(frozen=True)
class _Sums:
    """The sums of a plan, as they are shown."""

    answers: str
    target: str
    guard: str
    judge: str
    attacker: str
    tokens: str
    cost: str

    def calls(self, attackers: bool) -> list[str]:
        return [self.target, self.guard, self.judge, *([self.attacker] if attackers else [])]

    def numbers(self, attackers: bool) -> list[str]:
        return [self.answers, *self.calls(attackers), self.tokens, self.cost]


def _sums(lines: list[Planned]) -> _Sums:
    more = "+" if any(line.open_ended for line in lines) else ""
    prices = [line.cost for line in lines if line.cost is not None]
    most = [line.calls for line in lines]
    first = [line.at_first or line.calls for line in lines]
    return _Sums(
        answers=_show(total([line.samples for line in lines])),
        target=_range([each.target for each in first], [each.target for each in most], more),
        guard=_range([each.guard for each in first], [each.guard for each in most], more),
        judge=_range([each.judge for each in first], [each.judge for each in most]),
        attacker=_range([each.attacker for each in first], [each.attacker for each in most]),
        tokens=_millions(total([line.tokens for line in lines]), more),
        cost=_show(sum(prices) if len(prices) == len(lines) else None),
    )


def _has_attackers(lines: list[Planned]) -> bool:
    return any(line.attacker_calls != 0 for line in lines)


def _range(first: list[int | None], most: list[int | None], more: str = "") -> str:
    """A sum of calls, from one try of each search to all of its tries."""
    low = "" if first == most else f"{_show(total(first))} to "
    return low + _show(total(most), more)


def _on_partners(lines: list[Planned]) -> list[str]:
    """A sentence for each harmless partner that is missing."""
    lacking: dict[str, dict[str, None]] = {}
    for line in lines:
        if line.partner_missing:
            lacking.setdefault(line.partner_missing, {})[line.benchmark] = None
    return [
        f"No harmless partner for {', '.join(names)}: nothing will say what a guard costs there. "
        f"Add {partner}."
        for partner, names in lacking.items()
    ]


def _on_twins(lines: list[Planned]) -> list[str]:
    """A sentence for each twin that is not run."""
    lacking = dict.fromkeys((line.benchmark, line.not_run) for line in lines if line.not_run)
    return [f"twin: not run ({name.removeprefix('twin ')}). {why}" for name, why in lacking]


def _millions(tokens: int | None, more: str = "") -> str:
    return "?" if tokens is None else f"{tokens / 1e6:,.2f} M{more}"


def _benchmarks(lines: list[Planned]) -> str:
    return ", ".join(dict.fromkeys(line.benchmark for line in lines))


def _show(value: float | None, more: str = "") -> str:
    if value is None:
        return "?"
    return (f"{value:,.2f}" if isinstance(value, float) else f"{value:,}") + more


def _of_guard(line: Planned, calls: int | None) -> str:
    return _show(calls, "+" if line.open_ended else "")
