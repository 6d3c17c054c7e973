"""The suite does not know the microworld, so what works there works elsewhere too."""

from pathlib import Path

ASSEMBLY = {"guard/completion.py", "src/vlmguard/_registry.py", "src/vlmguard/cli.py"}
"""What joins the parts: Inspect's registry, the subcommands, and what completes their words."""
SERVER = "guard/serving/"
"""It offers the microworld's models; only the command line and the integrations import it."""


def test_solvers_scorers_and_guard_do_not_name_the_microworld(repo: Path) -> None:
    files = [*(repo / "src" / "vlmguard").glob("*.py")]
    for part in ("solvers", "scorers", "guard"):
        files += (repo / part).rglob("*.py")
    naming = {
        str(file.relative_to(repo)) for file in files if "microworld" in file.read_text().lower()
    }
    assert len(files) > 20
    assert {name for name in naming if not name.startswith(SERVER)} == ASSEMBLY
