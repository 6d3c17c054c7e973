"""A plan as tables, and in a few sentences."""

from dataclasses import dataclass

from vlmguard.results.formats.sheets import Sheet
from vlmguard.results.run.plan import Planned
from vlmguard.results.run.prices import ASSUMED, total


def matrix_sheet(lines: list[Planned], targets: int) -> Sheet:
    """Benchmarks x defenses, or the other way round: the calls on one target, the same for each.

    Args:
        lines: The plan.
        targets: Number of targets.
    """
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


def plan_sheet(lines: list[Planned]) -> Sheet:
    """The plan as a table, with its sums."""
    header = ["Benchmark", "Defense", "Target", "Answers", "Target calls", "Guard calls"]
    sheet = Sheet("Plan (calls at most)", [*header, "Judge calls", "Tokens", "Cost"], [], labels=3)
    for line in lines:
        calls = [_of_guard(line, line.target_calls), _of_guard(line, line.guard_calls)]
        tokens = _millions(line.tokens, "+" if line.open_ended else "")
        numbers = [_show(line.samples), *calls, _show(line.judge_calls), tokens, _show(line.cost)]
        sheet.rows.append([line.benchmark, line.defense, line.target, *numbers])
    sums = _sums(lines)
    shown = [sums.answers, sums.target, sums.guard, sums.judge, sums.tokens, sums.cost]
    sheet.rows.append(["all", "", "", *shown])
    sheet.notes.append(
        "?: the number of samples or calls is not known before, samples are chosen by id, or a "
        "model has no price (prices: in the configuration). +: at least."
    )
    sheet.notes += [ASSUMED, *_on_partners(lines)]
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
    said = (
        f"Plan: {sums.answers} answers; calls at most: {sums.target} of targets, {sums.guard} of "
        f"guards, {sums.judge} of judges; about {sums.tokens} tokens; cost {sums.cost}. {ASSUMED} "
        "What is in the logs already is not paid for again."
    )
    return [said, *_on_partners(lines)]


@dataclass(frozen=True)
class _Sums:
    """The sums of a plan, as they are shown."""

    answers: str
    target: str
    guard: str
    judge: str
    tokens: str
    cost: str


def _sums(lines: list[Planned]) -> _Sums:
    more = "+" if any(line.open_ended for line in lines) else ""
    prices = [line.cost for line in lines if line.cost is not None]
    return _Sums(
        answers=_show(total([line.samples for line in lines])),
        target=_show(total([line.target_calls for line in lines]), more),
        guard=_show(total([line.guard_calls for line in lines]), more),
        judge=_show(total([line.judge_calls for line in lines])),
        tokens=_millions(total([line.tokens for line in lines]), more),
        cost=_show(sum(prices) if len(prices) == len(lines) else None),
    )


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
