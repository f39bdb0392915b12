"""Models from one format to another, as users ask for it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from click.testing import CliRunner, Result

from seqsuite.cli import main
from seqsuite.errors import UserError
from seqsuite.experiments.checkpoint_loading import load_for_inference
from seqsuite.experiments.evaluation.tokenizers import tokenizer_for
from seqsuite.models import from_pretrained
from seqsuite.tasks.prepare.tokenizers import open_tokenizer

Seqsuite = Callable[..., Result]
TEXT = "naïve\tÅngström \0\x7f\xad 漢字 🎹\r\n"


def test_a_run_becomes_a_model_that_transformers_uses(
    seqsuite: Seqsuite, shared_folder: Path, text_run: str
) -> None:
    made = seqsuite("convert", text_run, "hf-model", "--experiment", "text")
    assert made.exit_code == 0, made.output
    assert "vocabulary 256" in made.output
    tokenizer = transformers.AutoTokenizer.from_pretrained(shared_folder / "hf-model")
    tokens = tokenizer(TEXT, return_tensors="pt").input_ids
    assert bytes(tokens[0].tolist()) == TEXT.encode()
    assert tokenizer.decode(tokens[0]) == TEXT
    theirs = transformers.AutoModelForCausalLM.from_pretrained(shared_folder / "hf-model")
    ours = from_pretrained(shared_folder / "hf-model")
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-5)

    back = seqsuite("convert", "./hf-model", "native-model", "--format", "native")
    assert back.exit_code == 0, back.output
    assert torch.equal(from_pretrained(shared_folder / "native-model")(tokens), ours(tokens))
    assert (shared_folder / "native-model" / "tokenizer.json").is_file()


def test_a_native_copy_of_a_run_keeps_its_task(
    seqsuite: Seqsuite, shared_folder: Path, text_run: str
) -> None:
    assert seqsuite("convert", "latest", "copy", "--format", "native", "--experiment", "text").exit_code == 0
    model, config = load_for_inference(shared_folder / "copy")
    assert (config.title, model.vocab_size) == (text_run, 256)
    assert json.loads((shared_folder / "copy" / "config.json").read_text())["step"] == 30


@pytest.fixture(scope="module")
def prepared_run(shared_folder: Path) -> str:
    """A finished run on tokens that `seqsuite data prepare` made by byte-pair encoding."""
    (shared_folder / "words.txt").write_text("the state of the union is what it is\n" * 300)
    prepare = ["data", "prepare", "words.txt", "--output", "tokens", "--vocab-size", "270"]
    sizes = ["task.seqlen=16", "model.d_model=16", "train.steps=2", "train.eval_every=2"]
    run = ["run", "task=text", "task.path=tokens", "scale=smoke", "run.experiment=prepared", *sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shared_folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for arguments in (prepare, run):
            result = CliRunner(catch_exceptions=False).invoke(main, arguments)
            assert result.exit_code == 0, result.output
    return "text-mamba-smoke-seed0"


def test_tokens_of_a_prepared_folder_are_not_taken_for_bytes(
    seqsuite: Seqsuite, shared_folder: Path, prepared_run: str
) -> None:
    made = seqsuite("convert", prepared_run, "prepared-hf", "--experiment", "prepared")
    assert made.exit_code == 0, made.output
    tokenizer = transformers.AutoTokenizer.from_pretrained(shared_folder / "prepared-hf")
    ours = open_tokenizer(shared_folder / "tokens" / "tokenizer.json")
    text = "the state of the union"
    assert tokenizer(text).input_ids == ours.encode(text.encode()).tolist()
    assert len(tokenizer(text).input_ids) < len(text)
    copied = seqsuite(
        "convert", prepared_run, "prepared-native", "--format", "native", "--experiment", "prepared"
    )
    assert copied.exit_code == 0, copied.output
    for name in ("prepared-hf", "prepared-native"):
        found = tokenizer_for(shared_folder / name, usual="of models that have none")
        assert found.encode(text) == ours.encode(text.encode()).tolist()
    # Without its tokenizer it is no model of bytes either: a vocabulary of 270 says so.
    for file in (shared_folder / "prepared-native").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(UserError, match="it has no tokenizer, and its tokens are not bytes"):
        tokenizer_for(shared_folder / "prepared-native")
    usual = tokenizer_for(shared_folder / "prepared-native", usual=str(shared_folder / "prepared-hf"))
    assert usual.encode(text) == ours.encode(text.encode()).tolist()
    spoken = seqsuite(
        "generate",
        prepared_run,
        "--prompt",
        text,
        "--length",
        "4",
        "--output",
        "said.txt",
        "--experiment",
        "prepared",
    )
    assert spoken.exit_code == 0, spoken.output


def test_links_out_of_the_folder_are_not_followed(seqsuite: Seqsuite, text_run: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    model = tmp_path / "model"
    assert seqsuite("convert", text_run, str(model), "--experiment", "text").exit_code == 0
    (model / "vocab.json").symlink_to("../secret")
    refused = seqsuite("convert", str(model), str(tmp_path / "copied"))
    assert refused.exit_code == 2
    assert "vocab.json is a link out of its folder" in refused.output
    assert not (tmp_path / "copied").exists()

    blobs, snapshot = tmp_path / "hub" / "blobs", tmp_path / "hub" / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (model / "vocab.json").unlink()
    for path in model.iterdir():
        path.rename(blobs / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert seqsuite("convert", str(snapshot), str(tmp_path / "copied")).exit_code == 0


def test_what_cannot_be_converted_is_one_sentence(seqsuite: Seqsuite, text_run: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes").write_text("mine")
    for arguments, message in [
        (["latest", str(tmp_path / "full")], "is there already"),
        (["nope", str(tmp_path / "new")], "No finished run 'nope'"),
        ([str(tmp_path / "full"), str(tmp_path / "new")], "config.json"),
        ([f"{tmp_path}/nowhere", str(tmp_path / "new")], "There is no folder"),
    ]:
        refused = seqsuite("convert", *arguments, "--experiment", "text")
        assert refused.exit_code == 2
        assert message in refused.output
        assert refused.output.count("\n") == 1
        assert not (tmp_path / "new").exists()
