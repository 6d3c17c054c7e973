"""The matrix that a user asks for: by a file or a ready one, a suite, flags, and parts of these."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vlmguard.guard.alike import did_you_mean
from vlmguard.guard.errors import UserError, first_fault
from vlmguard.guard.paths import missing, user_path
from vlmguard.guard.yaml_files import read_yaml
from vlmguard.results.run.attack_choice import AttackChoice
from vlmguard.results.run.config import UNDEFENDED, Defense, Matrix, ModelChoice, Step, Target

__all__ = [
    "CONFIGS",
    "SUITES",
    "Suite",
    "config_path",
    "from_flags",
    "read_config",
    "read_config_for",
    "read_suite",
    "select",
    "with_attacks",
]

CONFIGS: Final = Path(__file__).parents[1] / "configs"
"""The ready configurations."""
SUITES: Final = CONFIGS / "suites"
"""The ready lists of benchmarks, without targets, defenses and roles."""

AnyStep = TypeVar("AnyStep", bound=Step)


class Suite(BaseModel):
    """A ready list of benchmarks and attacks; targets, defenses and roles come from elsewhere."""

    model_config = ConfigDict(extra="forbid")

    benchmarks: list[Step] = Field(min_length=1)
    attacks: list[AttackChoice] = Field(default_factory=list)


def read_suite(name: str) -> Suite:
    """The benchmarks and attacks of a ready suite.

    Raises:
        UserError: There is none of this name; names them all.
    """
    known = sorted(path.stem for path in SUITES.glob("*.yaml"))
    if name not in known:
        raise UserError(
            f"--suite {name}: there is none of this name.{did_you_mean(name, known)} Ours: "
            f"{', '.join(known)}."
        )
    return Suite.model_validate(read_yaml(SUITES / f"{name}.yaml"))


def read_config(path: Path) -> Matrix:
    """Read a configuration from a YAML file.

    Raises:
        UserError: Unreadable, or a field is unknown, missing or of the wrong type; names it.
    """
    return _validated(path, read_yaml(path))


def read_config_for(
    suite: str, path: Path, targets: list[str], defenses: list[str], given_roles: list[str]
) -> Matrix:
    """A suite with what a file has beside benchmarks (`prices:` alone will do), and flags.

    Args:
        suite: Name of the suite, whose benchmarks and attacks replace those of the file.
        path: The file.
        targets: Models, as the file has them or new ones; none: all of the file.
        defenses: Labels or names, as the file has them or new ones; none: all of the file, or
            undefended.
        given_roles: `ROLE=MODEL` each, instead of that role in the file.

    Raises:
        UserError: As for `read_config`, or there is no such suite, or no target.
    """
    ready = read_suite(suite).model_dump()
    content = read_yaml(path)
    if isinstance(content, dict):
        if not (targets or content.get("targets")):
            raise UserError(f"name a --target, or targets: in {path}.")
        content = {
            "log_dir": f"logs/{suite}",
            "targets": targets,
            "defenses": defenses or [UNDEFENDED],
            **content,
            **{name: values for name, values in ready.items() if values},
        }
    matrix = _validated(path, content)
    chosen = {
        "targets": [
            model
            for name in targets
            for model in [each for each in matrix.targets if each.model == name]
            or [Target(model=name)]
        ],
        "defenses": [
            each
            for name in defenses
            for each in _chosen(matrix.defenses, [name]) or [Defense(name=name)]
        ],
    }
    kept = {field: values for field, values in chosen.items() if values}
    return matrix.model_copy(update={**kept, "roles": {**matrix.roles, **_bound(given_roles)}})


def config_path(typed: str) -> Path:
    """The file of a configuration: a path, or the bare name of a ready one (`paper_main`).

    Raises:
        UserError: It is a bare name, but there is no such file and none of ours.
    """
    path, ready = user_path(typed), CONFIGS / f"{typed}.yaml"
    if path.is_file() or path.suffix or ready.parent != CONFIGS:
        return path
    if not ready.is_file():
        ours = sorted(each.stem for each in CONFIGS.glob("*.yaml"))
        raise UserError(
            f"--config: {missing(path)}{did_you_mean(typed, ours)} Ready configurations: "
            f"{', '.join(ours)}."
        )
    return ready


def from_flags(
    targets: list[str],
    benchmarks: list[Step],
    defenses: list[str],
    roles: list[str],
    attacks: Sequence[AttackChoice] = (),
) -> Matrix:
    """A matrix from flags, the common case without a file.

    Args:
        targets: Models.
        benchmarks: Tasks with their arguments.
        defenses: Names of solvers.
        roles: `ROLE=MODEL` each; several models of one role are several judges.
        attacks: Attacks, those of a suite.

    Raises:
        UserError: Something is missing; says which option gives it.
    """
    given: tuple[tuple[str, Sequence[object]], ...]
    given = (("target", targets), ("benchmark", benchmarks))
    for option, named in given:
        if not named:
            raise UserError(
                f"name a --{option}, or a --config that does (benchmarks: or a --suite)."
            )
    return Matrix(
        targets=[Target(model=model) for model in targets],
        benchmarks=benchmarks,
        defenses=[Defense(name=name) for name in defenses or [UNDEFENDED]],
        attacks=list(attacks),
        roles={**_bound(roles)},
    )


def with_attacks(matrix: Matrix, names: list[str]) -> Matrix:
    """A matrix under these attacks and no others.

    Args:
        matrix: The matrix.
        names: Labels or names, as the matrix has them, or new ones; none keeps all of the matrix.

    Raises:
        UserError: Two of them share a folder.
    """
    if not names:
        return matrix
    known = {key: each for each in matrix.attacks for key in (each.folder, each.name)}
    # Who names an attack wants it to run.
    chosen = [
        known[name].model_copy(update={"optional": False})
        if name in known
        else AttackChoice(name=name)
        for name in dict.fromkeys(names)
    ]
    try:
        return Matrix.model_validate({**dict(matrix), "attacks": chosen})
    except ValidationError as error:
        raise UserError(f"--attack: {first_fault(error, Matrix)[1]}.") from error


def select(
    matrix: Matrix, targets: list[str], benchmarks: list[str], defenses: list[str]
) -> Matrix:
    """A part of a matrix.

    Args:
        matrix: The whole.
        targets: Models to keep; empty keeps all.
        benchmarks: Labels or names to keep.
        defenses: Labels or names to keep.

    Raises:
        UserError: A name is not in the matrix.
    """
    for option, wanted, known in (
        ("target", targets, {each.model for each in matrix.targets}),
        ("benchmark", benchmarks, _names(matrix.benchmarks)),
        ("defense", defenses, _names(matrix.defenses)),
    ):
        for name in wanted:
            if name not in known:
                meant = did_you_mean(name, known)
                listed = ", ".join(sorted(known))
                raise UserError(f"--{option} {name} is not in the configuration: {listed}.{meant}")
    return matrix.model_copy(
        update={
            "targets": [m for m in matrix.targets if not targets or m.model in targets],
            "benchmarks": _chosen(matrix.benchmarks, benchmarks),
            "defenses": _chosen(matrix.defenses, defenses),
        }
    )


def _validated(path: Path, content: Any) -> Matrix:
    try:
        return Matrix.model_validate(content)
    except ValidationError as error:
        where, said = first_fault(error, Matrix)
        end = "" if said.endswith((".", "?")) else "."
        raise UserError(f"{path}: {where or 'the file'}: {said}{end}") from error


def _bound(given: list[str]) -> dict[str, list[ModelChoice]]:
    """The models of roles, from `ROLE=MODEL` each."""
    bound: dict[str, list[ModelChoice]] = {}
    for role in given:
        name, _, model = role.partition("=")
        if not model:
            raise UserError(f"--role {role}: write ROLE=MODEL, e.g. grader=openai/gpt-4o.")
        bound.setdefault(name, []).append(ModelChoice(model=model))
    return bound


def _names(steps: Sequence[Step]) -> set[str]:
    return {step.label or step.name for step in steps} | {step.name for step in steps}


def _chosen(steps: Sequence[AnyStep], names: list[str]) -> list[AnyStep]:
    return [step for step in steps if not names or {step.label, step.name} & set(names)]
