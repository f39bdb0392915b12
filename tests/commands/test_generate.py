"""Prompts, streams, batches and resumption of `seqsuite generate`."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from seqsuite.commands.generate import stream_tokens
from seqsuite.tasks.codecs.bytes import BytesCodec
from seqsuite.tasks.text import Text

Generate = Callable[..., Result]


@pytest.fixture
def generate(seqsuite: Callable[..., Result], text_run: str) -> Generate:
    return lambda *arguments: seqsuite("generate", text_run, "--experiment", "text", *arguments)


def test_a_prompt_is_gone_on_from_and_streamed(generate: Generate, shared_folder: Path) -> None:
    made = generate("--prompt", "naïve: ", "--length", "40", "--output", "a.txt", "--stream")
    assert made.exit_code == 0, made.output
    content = (shared_folder / "a.txt").read_bytes()
    assert content.startswith("naïve: ".encode())
    assert len(content) == 48
    assert made.output.startswith("naïve: ")
    assert "tokens/s" in made.output


def test_settings_and_seed_decide_the_sample(generate: Generate, shared_folder: Path) -> None:
    def sample(*arguments: str) -> bytes:
        assert generate("--length", "60", "--output", "b.txt", *arguments).exit_code == 0
        return (shared_folder / "b.txt").read_bytes()

    assert sample() == sample("--seed", "0")
    others = [("--seed", "1"), ("--top-k", "1"), ("--temperature", "0.2"), ("--repetition-penalty", "9")]
    assert len({sample(), *(sample(*arguments) for arguments in others)}) == 5
    assert sample("--top-k", "1") == sample("--temperature", "0") == sample("--top-p", "1e-9")


def test_several_prompts_are_one_batch_with_a_file_each(generate: Generate, shared_folder: Path) -> None:
    (shared_folder / "prompt.bin").write_bytes(b"\xff\x00 is")
    prompts = ["--prompt", "7 times", "--prompt", "x", "--prompt-file", "prompt.bin"]
    made = generate(*prompts, "--length", "20", "--output", "c.txt", "--seed", "4")
    assert made.exit_code == 0, made.output
    alone = generate("--prompt", "x", "--length", "20", "--output", "alone.txt", "--seed", "5")
    assert alone.exit_code == 0
    contents = [(shared_folder / f"c-{number}.txt").read_bytes() for number in (1, 2, 3)]
    assert contents[1] == (shared_folder / "alone.txt").read_bytes()
    assert [content[:4] for content in contents] == [b"7 ti", contents[1][:4], b"\xff\x00 i"]


def test_two_halves_by_a_saved_state_are_the_whole(generate: Generate, shared_folder: Path) -> None:
    settings = ["--temperature", "0.8", "--top-k", "20", "--seed", "3"]
    assert generate("--length", "50", "--output", "whole.txt", *settings).exit_code == 0
    first = generate("--length", "20", "--output", "first.txt", "--save-state", "s.safetensors", *settings)
    assert first.exit_code == 0
    assert "--resume-state s.safetensors" in first.output
    second = generate("--length", "30", "--output", "second.txt", "--resume-state", "s.safetensors")
    assert second.exit_code == 0, second.output
    parts = [(shared_folder / name).read_bytes() for name in ("first.txt", "second.txt")]
    assert b"".join(parts) == (shared_folder / "whole.txt").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", ""], "is empty"),
        (["--device", "cuda"], "--device cuda needs a GPU"),
        (["--prompt-file", "missing.txt"], "missing.txt"),
        (["--resume-state", "missing"], "missing cannot be read"),
        (["--resume-state", "missing", "--top-k", "3"], "--top-k is part of"),
        (["--length", "3", "--save-state", "nowhere/s"], "nowhere/s"),
    ],
)
def test_bad_input_is_one_sentence(
    generate: Generate, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused = generate(*arguments)
    assert refused.exit_code == 2
    assert message in refused.output


def test_a_codec_that_fails_on_a_prompt_is_one_sentence(
    generate: Generate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(self: BytesCodec, text: str) -> np.ndarray:
        return np.array(["ab".index(letter) for letter in text])

    monkeypatch.setattr(BytesCodec, "encode", encode)
    refused = generate("--prompt", "abc")
    assert refused.exit_code == 2
    assert "The prompt 'abc' cannot be encoded: ValueError: substring not found" in refused.output
    monkeypatch.setattr(Text, "codec", None)
    refused = generate()
    assert refused.exit_code == 2
    assert "has no codec, which would turn tokens into something to read" in refused.output


def test_a_folder_with_a_tokenizer_speaks_as_the_run_it_is_from(
    seqsuite: Callable[..., Result], generate: Generate, shared_folder: Path, text_run: str
) -> None:
    if not (shared_folder / "speaking").exists():
        assert seqsuite("convert", text_run, "speaking", "--experiment", "text").exit_code == 0
    settings = ["--prompt", "7 times 8 is", "--length", "30", "--top-k", "3", "--output"]
    assert generate(*settings, "of-run.txt").exit_code == 0
    made = seqsuite("generate", "speaking", *settings, "of-folder.txt")
    assert made.exit_code == 0, made.output
    assert "from speaking: of-folder.txt" in made.output
    run, folder = ((shared_folder / name).read_bytes() for name in ("of-run.txt", "of-folder.txt"))
    assert run.decode(errors="replace") == folder.decode()
    alone = seqsuite("generate", "./speaking", "--length", "5", "--no-stream", "--output", "x.txt")
    assert alone.exit_code == 0, alone.output
    (shared_folder / "bytes.bin").write_bytes(b"\xff")
    refused = seqsuite("generate", "speaking", "--prompt-file", "bytes.bin")
    assert refused.exit_code == 2
    assert "cannot be read as text" in refused.output


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there_and_what_goes_on(shared_folder: Path, text_run: str) -> None:
    command = [sys.executable, "-m", "seqsuite", "generate", text_run, "--experiment", "text"]
    command += ["--length", "1000000", "--stream", "--output", "long.txt", "--save-state", "long.state"]
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(command, cwd=shared_folder, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(100)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Go on with" in output
    assert 64 < len((shared_folder / "long.txt").read_bytes()) < 1_000_000
    assert (shared_folder / "long.state").stat().st_size > 5000


class _Fixed:
    """A generation that yields given tokens."""

    def __init__(self, content: bytes) -> None:
        self.steps = iter(np.frombuffer(content, dtype=np.uint8)[:, None])

    def __iter__(self):
        return self.steps


def test_no_character_is_torn_in_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    content = "naïve 漢字 🎹".encode() + b"\xff\xfe. \xe2\x82"
    shown = []
    for _ in stream_tokens(BytesCodec(), [], _Fixed(content), len(content)):
        shown.append(capsys.readouterr().out)
    shown.append(capsys.readouterr().out)
    assert "".join(shown) == content.decode(errors="replace") + "\n"
    assert "漢" in shown
    assert "n" in shown
