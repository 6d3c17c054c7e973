"""A task under a static attack: the model gets the attack, judges the request as it was."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from inspect_ai._util.registry import registry_lookup
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.model import ChatMessage
from support.openai_server import Server, last_text, openai_server
from support.siuo_folder import write_siuo

from vlmguard.guard.attacks import AttackInput, chosen_attack
from vlmguard.guard.attacks.drawing import font_hash
from vlmguard.guard.cards import cards
from vlmguard.guard.errors import UserError
from vlmguard.guard.images.prepare import to_data_uri
from vlmguard.guard.messages import images_of
from vlmguard.tasks.attacking import under_attack
from vlmguard.tasks.siuo import siuo

SAMPLES, EPOCHS = 3, 2
ATTACK = "mml:words:seed=3:size=50"
ANSWER = "Open a window."


def reply_to(text: str) -> str:
    if '"safety"' in text:
        return '{"safety": 9, "helpful": true}'
    if '"safe"' in text:
        return '{"safe": true}'
    return '{"effective": "very"}' if '"effective"' in text else ANSWER


@dataclass(frozen=True)
class Runs:
    """A run that was cut off, went on, and was judged again.

    Attributes:
        folder: The data.
        cache: The folder of the cache.
        broken: The log of the first run.
        whole: The log after `eval-retry`.
        judged: The log after `inspect score`.
        asked: The requests to the server until the run was whole.
        again: Those of `inspect score`.
    """

    folder: Path
    cache: Path
    broken: EvalLog
    whole: EvalLog
    judged: EvalLog
    asked: list[dict[str, Any]]
    again: list[dict[str, Any]]

    @property
    def answered(self) -> list[dict[str, Any]]:
        """The target's requests."""
        return [each for each in self.asked if each["model"] == "target"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, repo: Path, cli: Any) -> Runs:
    root = tmp_path_factory.mktemp("attacked")
    folder, logs = write_siuo(root / "siuo", SAMPLES), root / "logs"

    def script(text: str, messages: list[dict[str, Any]]) -> str:
        answered = [each for each in server.requests if each["model"] == "target"]
        if len(answered) == 4 and not server.refuse.is_set():
            server.refuse.set()  # the fourth sample breaks off, when its judge is asked
        return reply_to(text)

    def run(server: Server, *words: str) -> None:
        environment = {"XDG_CACHE_HOME": str(root / "cache"), **server.environment()}
        done = cli("inspect", *words, "--display", "plain", cwd=repo, env=environment)
        print(done.stdout, done.stderr)

    def log(status: str) -> EvalLog:
        found = [
            read_eval_log(info, resolve_attachments=True) for info in list_eval_logs(str(logs))
        ]
        (only,) = [each for each in found if each.status == status]
        return only

    with openai_server(script) as server:
        run(
            server,
            *("eval", "tasks/siuo.py", "-T", f"attack={ATTACK}", "-T", f"data_dir={folder}"),
            *("--model", "openai-api/scripted/target", "--epochs", str(EPOCHS)),
            *("--model-role", "grader=openai-api/scripted/grader"),
            *("--log-dir", str(logs), "--max-samples", "1", "--log-buffer", "1"),
        )
        broken = log("error")
        server.refuse.clear()
        name = broken.location.removeprefix("file://")
        run(server, "eval-retry", name, "--log-dir", str(logs))
        whole = log("success")
        asked = list(server.requests)
        rescored = root / "judged.eval"
        run(
            server,
            *("score", whole.location, "--scorer", "vlmguard/judge", "--action", "overwrite"),
            *("--output-file", str(rescored)),
            *("--model-role", "grader=openai-api/scripted/grader"),
        )
        again = server.requests[len(asked) :]
    return Runs(
        folder,
        root / "cache",
        broken,
        whole,
        read_eval_log(str(rescored), resolve_attachments=True),
        asked,
        again,
    )


def images(body: Mapping[str, Any]) -> list[str]:
    """Data URIs of a request, in order."""
    return [
        part["image_url"]["url"]
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]


def originals(folder: Path) -> dict[str, list[ChatMessage]]:
    """The requests of the benchmark, by id."""
    dataset = siuo(data_dir=str(folder), judge="none").dataset
    return {str(each.id): list(each.input) for each in dataset if not isinstance(each.input, str)}


def test_the_model_gets_what_the_attack_makes_in_every_epoch_and_after_a_retry(runs: Runs) -> None:
    requests = originals(runs.folder)
    bodies = [(last_text(each["messages"]), images(each)) for each in runs.answered]
    whole = runs.whole.samples or []
    assert len(whole) == SAMPLES * EPOCHS
    sent = set()
    for sample in whole:
        (turn,) = requests[str(sample.id)]
        shown, *made = images_of(sample.messages)
        assert shown == to_data_uri(images_of([turn])[0])
        assert "detective game" in sample.messages[0].text
        assert turn.text not in sample.messages[0].text
        assert (sample.messages[0].text, [shown, *made]) in bodies
        sent.add((sample.id, sample.messages[0].text, *made))
    # Both epochs, and the samples after the retry, had the same bytes.
    assert len(sent) == SAMPLES
    assert len(list(runs.cache.rglob("*.json"))) == SAMPLES
    # Finished samples were not asked again.
    assert len(bodies) <= SAMPLES * EPOCHS + 1


@pytest.mark.parametrize("when", ["asked", "again"])
def test_judges_get_the_request_and_the_image_as_they_were(when: str, runs: Runs) -> None:
    requests = originals(runs.folder)
    texts = {turn.text: to_data_uri(images_of([turn])[0]) for (turn,) in requests.values()}
    judges = [each for each in vars(runs)[when] if each["model"] == "grader"]
    assert len(judges) >= SAMPLES * EPOCHS
    for body in judges:
        said = json.dumps(body["messages"])
        (text,) = [each for each in texts if each in last_text(body["messages"])]
        assert images(body) == [texts[text]]
        assert "detective" not in said
        assert ANSWER in said


def test_logs_say_what_was_done_and_keep_the_request(runs: Runs) -> None:
    requests = originals(runs.folder)
    partner = cards().benchmarks["siuo"].partner
    assert partner is not None
    for log in (runs.broken, runs.whole, runs.judged):
        assert (log.eval.metadata or {})["attack"] == {
            "name": "mml",
            "version": chosen_attack("mml").card.version,
            "options": {"size": 50, "variant": "words", "wrap": 20},
            "seed": 3,
            "font": font_hash(),
            "text": "mml:size=50:variant=words:seed=3",
            "twin": {"benchmark": partner.benchmark, "args": dict(partner.args)},
        }
    for log in (runs.whole, runs.judged):
        for sample in log.samples or []:
            (turn,) = requests[str(sample.id)]
            assert isinstance(sample.input, list)
            assert [each.text for each in sample.input] == [turn.text]
            assert len(images_of(sample.input)) == 1
            noted = sample.metadata["attack"]
            assert noted["name"] == "mml"
            assert noted["text"] == "mml:size=50:variant=words:seed=3"
            assert "coded: words" in " ".join(noted["steps"])
            assert noted["notes"]["title"] == turn.text.rstrip("?")
            assert sample.error is None


def test_every_sample_is_scored_before_and_after_a_new_judge(runs: Runs) -> None:
    for sample in runs.whole.samples or []:
        assert {"judge", "refusal"} <= set(sample.scores or {})
    for sample in runs.judged.samples or []:
        assert (sample.scores or {})["judge"].as_dict()["safety"] == 9


def test_the_same_words_alone_make_the_attack(runs: Runs) -> None:
    """What a run sent is what the attack makes of text, images and seed."""
    sample = (runs.whole.samples or [])[0]
    (turn,) = originals(runs.folder)[str(sample.id)]
    hint = sample.messages[0].text.partition("another order: ")[2].splitlines()[0]
    made = chosen_attack("mml:words:size=50").static()(AttackInput(turn.text))
    told = made.text.partition("another order: ")[2].splitlines()[0]
    assert sorted(hint.split(", ")) == sorted(told.split(", "))


def test_a_search_is_refused_with_the_command_that_runs_it(
    repo: Path, tmp_path: Path, cli: Any
) -> None:
    folder = write_siuo(tmp_path / "siuo", 1)
    result = cli(
        *("inspect", "eval", "tasks/siuo.py", "-T", "attack=si_attack:seed=2", "-T", "judge=none"),
        *("-T", f"data_dir={folder}", "--model", "mockllm/model", "--display", "plain"),
        *("--log-dir", str(tmp_path / "logs")),
        cwd=repo,
    )
    assert result.returncode != 0
    said = " ".join((result.stdout + result.stderr).split())
    assert "--solver attack_loop -S attack=si_attack:seed=2 --model guarded/DEFENSE/" in said
    assert "Traceback" not in said
    assert not list_eval_logs(str(tmp_path / "logs"))


@pytest.mark.parametrize(
    "name", sorted({card.task or name for name, card in cards().benchmarks.items()})
)
def test_every_task_has_the_option(name: str) -> None:
    task: Any = registry_lookup("task", f"vlmguard/{name}")
    option = signature(task).parameters["attack"]
    assert option.default is None
    assert get_type_hints(task)["attack"] == str | None


def test_what_cannot_be_attacked_so_stops_the_run_before_its_first_call(tmp_path: Path) -> None:
    folder = write_siuo(tmp_path / "siuo", 1)
    with pytest.raises(UserError, match="-T attack=figstap: there is no such attack"):
        siuo(data_dir=str(folder), judge="none", attack="figstap")
    with pytest.raises(UserError, match=r"size=1000: a number from 8 to 200"):
        siuo(data_dir=str(folder), judge="none", attack="mml:size=1000")
    dataset = siuo(data_dir=str(folder), judge="none").dataset
    turn: Any = dataset[0].input[0]
    turn.content[-1].text = "كيف أتسلق؟"
    with pytest.raises(UserError, match=r"Sample siuo/.*cannot be drawn here"):
        under_attack("mml", dataset, cards().benchmarks["siuo"])
    # Its message says that --sample-id leaves it out, so it may stand before others.
    more = siuo(data_dir=str(write_siuo(tmp_path / "more", 2)), judge="none").dataset
    more[0].input = dataset[0].input
    assert under_attack("mml", more, cards().benchmarks["siuo"]).setup


def test_without_an_attack_a_task_is_as_before(tmp_path: Path) -> None:
    task = siuo(data_dir=str(write_siuo(tmp_path / "siuo", 1)), judge="none")
    assert "attack" not in (task.metadata or {})
    assert under_attack(None, task.dataset, cards().benchmarks["siuo"]).setup == []


def test_a_misspelt_attack_is_named_before_missing_data(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such attack\. Did you mean mml"):
        siuo(attack="mml_", data_dir=str(tmp_path))
    with pytest.raises(UserError, match="--solver attack_loop -S attack=si_attack"):
        siuo(attack="si_attack", data_dir=str(tmp_path))
