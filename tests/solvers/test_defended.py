"""What a defense as a solver leaves behind."""

import gc
from weakref import ref

import pytest
from support.scripted import Scripted, picture, run_solver, sample

from vlmguard.guard.defense import Target
from vlmguard.solvers import defended, vlmguard


@pytest.mark.parametrize("prompt", ["Name the safe one.", ""])
def test_a_sample_leaves_memory_as_it_ends(prompt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting until Python looks for circles: its images would be kept so long."""
    made: list[ref[Target]] = []

    class Noted(Target):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)  # type: ignore[arg-type]
            made.append(ref(self))

    monkeypatch.setattr(defended, "Target", Noted)
    said = f"<reasoning>Sharp.</reasoning><prompt>{prompt}</prompt>"
    roles = {"rewriter": Scripted(said, name="rewriter")}
    gc.disable()
    try:
        run_solver(vlmguard(), [sample("Which one?", picture())], Scripted("This."), roles=roles)
        assert [each() for each in made] == [None]
    finally:
        gc.enable()
