"""Folders and states from anyone: what is wrong with them is one sentence, at once, whatever it is."""

import json
import os
import stat
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from seqsuite.errors import UserError
from seqsuite.models import MODELS, from_pretrained, save_pretrained
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import Generation, generate
from seqsuite.models.sampling import Sampling
from seqsuite.models.sequence_model import LanguageModel

BAD_VALUES: list[Any] = [
    None, [], {}, "", "dna", "4", True, -1, 0, 0.5, 10**9, 10**18, 10**400, 1e30, float("inf"), float("nan"),
    [0], {"a": 1},
]  # fmt: skip


def make_model(name: str = "mamba", **settings: object) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 2, **settings})
    return build_model(config, vocab_size=16, seqlen=20).eval()


def save_original(folder: Path, **settings: object) -> None:
    """Save a Mamba as the original project does."""
    save_pretrained(make_model(), folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(
        {name.replace("embeddings.", "embedding."): value for name, value in weights.items()},
        folder / "pytorch_model.bin",
    )
    description = {"d_model": 16, "n_layer": 2, "vocab_size": 11, "ssm_cfg": {"dt_rank": 1}}
    (folder / "config.json").write_text(json.dumps({**description, "pad_vocab_size_multiple": 8, **settings}))


def save_second_original(folder: Path, **settings: object) -> None:
    save_pretrained(make_model("mamba2", mixer={"name": "ssd", "d_state": 8, "head_dim": 8}), folder)
    ssm = {"layer": "Mamba2", "d_state": 8, "headdim": 8, **settings}
    description = {"d_model": 16, "n_layer": 2, "vocab_size": 16, "ssm_cfg": ssm}
    (folder / "config.json").write_text(json.dumps(description))
    path = folder / "model.safetensors"
    weights = {name.replace("embeddings.", "embedding."): value for name, value in load_file(path).items()}
    save_file(weights, path)


def save_native(folder: Path) -> None:
    save_pretrained(make_model("s4", norm="layer"), folder, format="native")


def save_hybrid(folder: Path) -> None:
    save_pretrained(make_model("hybrid"), folder, format="native")


SAVED: dict[str, Callable[[Path], None]] = {
    "hf": lambda folder: save_pretrained(make_model(), folder),
    "hf mamba2": lambda folder: save_pretrained(make_model("mamba2"), folder),
    "original": save_original,
    "second original": save_second_original,
    "native": save_native,
    "hybrid": save_hybrid,
}


def is_refused_or_read(folder: Path) -> None:
    """Load, which must succeed or say in one line of what folder what is wrong."""
    said = None
    try:
        from_pretrained(folder)
    except UserError as error:
        said = str(error)
    check_sentence(said, folder)


def check_sentence(said: str | None, path: Path) -> None:
    """Check that what was said, if anything, is one line that names the file or folder."""
    assert said is None or (str(path) in said and "\n" not in said)


def places(table: Any) -> list[tuple[str | int, ...]]:
    """Return the path to each value in nested tables and lists."""
    parts = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ()
    return [place for key, value in parts for place in [(key,), *((key, *rest) for rest in places(value))]]


def replaced(table: Any, place: tuple[str | int, ...], value: Any) -> Any:
    copied = json.loads(json.dumps(table))
    inner = copied
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copied


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "hybrid")) for kind in SAVED]
)
def test_any_value_in_a_description_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    SAVED[kind](tmp_path)
    path = tmp_path / "config.json"
    description = json.loads(path.read_text())
    for place in places(description):
        for value in BAD_VALUES:
            path.write_text(json.dumps(replaced(description, place, value)))
            is_refused_or_read(tmp_path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"ssm_cfg": []}, None),
        ({"ssm_cfg": [1]}, "must be a table"),
        ({"ssm_cfg": "x"}, "must be a table"),
        ({"pad_vocab_size_multiple": 0}, "pad_vocab_size_multiple 0 is no whole number"),
        ({"vocab_size": "dna"}, "vocab_size 'dna' is no whole number"),
        ({"vocab_size": 1e30}, "no whole number"),
        ({"d_model": "16"}, "d_model='16' cannot be read"),
        ({"n_layer": 1000}, "for 1000 layers"),
        ({"n_layer": 10**9}, "n_layer=1000000000 cannot be read: it should be less than or equal to 1000"),
        ({"ssm_cfg": {"d_conv": -1}}, r"ssm_cfg\.d_conv=-1 cannot be read: it should be greater than 0"),
        ({"d_model": 10**5}, "has shape"),
        ({"d_model": 10**9}, "its sizes are too large"),
        ({"ssm_cfg": {"layer": []}}, "has no layer here"),
    ],
)
def test_what_is_wrong_with_an_original_is_said(
    tmp_path: Path, settings: dict[str, object], reason: str | None
) -> None:
    save_original(tmp_path, **settings)
    if reason is None:
        from_pretrained(tmp_path)
    else:
        with pytest.raises(UserError, match=reason):
            from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 10**6, "{" + '"a":{' * 10**5, "", "null", "[]", "9" * 10**5, "\0", "{}"]
)
def test_text_that_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    save_native(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json|has no layers here"):
        from_pretrained(tmp_path)


def test_garbage_for_weights_is_refused(tmp_path: Path) -> None:
    save_original(tmp_path)
    path, generator = tmp_path / "pytorch_model.bin", torch.Generator().manual_seed(0)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(20):
            place = int(torch.randint(len(damaged), (), generator=generator))
            damaged[place] = int(torch.randint(256, (), generator=generator))
        cut = int(torch.randint(len(damaged), (), generator=generator))
        for content in (damaged, damaged[:cut], damaged[cut:]):
            path.write_bytes(content)
            is_refused_or_read(tmp_path)
    for content in (b"\x80\x02}q\x00.", b"\x80\x02]q\x00.", b"\x80\x04K\x01.", b"(dp0\n.", b"garbage", b""):
        path.write_bytes(content)
        with pytest.raises(UserError):
            from_pretrained(tmp_path)
    for content in ({"a": 1}, {1: torch.zeros(1)}, [torch.zeros(1)], torch.zeros(1)):
        torch.save(content, path)
        with pytest.raises(UserError, match="no table of tensors"):
            from_pretrained(tmp_path)


@pytest.mark.parametrize("value", [*BAD_VALUES, {"weight_map": []}, {"weight_map": {"a": 1}}, "[" * 10**6])
def test_damaged_indexes_are_refused(tmp_path: Path, value: object) -> None:
    save_pretrained(make_model(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    index = tmp_path / "model.safetensors.index.json"
    for content in (value, {"weight_map": value}, {"weight_map": {"a": value}}):
        index.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(UserError, match=r"index\.json|weights"):
            from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["..", ".", "/etc/passwd", "a/../../b", "a\\b", "a\0b", ""])
def test_indexes_name_files_beside_them(tmp_path: Path, name: str) -> None:
    save_pretrained(make_model(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="outside its folder"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["hf", "native"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_are_floating(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    SAVED[kind](tmp_path)
    path = tmp_path / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("norm.weight"))
    save_file({**weights, name: weights[name].to(dtype)}, path, metadata=about)
    with pytest.raises(UserError, match=f"{name} holds .* not floating-point numbers"):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_generate_nothing(value: float) -> None:
    model = make_model()
    with torch.no_grad():
        model.blocks[1].out_proj.weight[0, 0] = value
    with pytest.raises(UserError, match=r"blocks\.1\.out_proj\.weight holds NaN or infinity"):
        next(generate(model, torch.zeros(1, 3, dtype=torch.int64), 4))


@pytest.mark.parametrize("folder", ["~no-such-user/x", "a\0b", "x" * 5000])
def test_names_that_no_folder_has(folder: str) -> None:
    with pytest.raises(UserError, match="no folder"):
        from_pretrained(folder)


def test_an_original_without_its_defaults(tmp_path: Path) -> None:
    save_original(tmp_path / "whole")
    expected = from_pretrained(tmp_path / "whole")(torch.arange(9)[None])
    for number, change in enumerate([{"ssm_cfg": None}, {"ssm_cfg": {}}, None]):
        folder = tmp_path / str(number)
        save_original(folder, **(change or {}))
        if change is None:
            description = json.loads((folder / "config.json").read_text())
            del description["ssm_cfg"]
            (folder / "config.json").write_text(json.dumps(description))
        assert torch.equal(from_pretrained(folder)(torch.arange(9)[None]), expected)


def test_the_default_bounds_of_the_step_size(tmp_path: Path) -> None:
    save_second_original(tmp_path / "unbounded", dt_limit=[0.0, float("inf")])
    from_pretrained(tmp_path / "unbounded")
    save_second_original(tmp_path / "bounded", dt_limit=[0.0, 1.0])
    with pytest.raises(UserError, match=r"dt_limit=\[0.0, 1.0\] has no layer here"):
        from_pretrained(tmp_path / "bounded")


def test_what_changes_no_number_here_is_kept(tmp_path: Path) -> None:
    save_pretrained(make_model("mamba2"), tmp_path / "hf")
    path = tmp_path / "hf" / "config.json"
    kept = {
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
        "pad_token_id": 4,
        "residual_in_fp32": False,
        "time_step_floor": 1e-5,
        "chunk_size": 32,
    }
    path.write_text(json.dumps({**json.loads(path.read_text()), **kept}))
    save_pretrained(from_pretrained(tmp_path / "hf"), tmp_path / "native", format="native")
    save_pretrained(from_pretrained(tmp_path / "native"), tmp_path / "back")
    back = json.loads((tmp_path / "back" / "config.json").read_text())
    assert kept == {key: back[key] for key in kept}

    save_original(tmp_path / "original", residual_in_fp32=False, ssm_cfg={"dt_rank": 1, "dt_scale": 2.0})
    save_pretrained(from_pretrained(tmp_path / "original"), tmp_path / "converted")
    converted = json.loads((tmp_path / "converted" / "config.json").read_text())
    assert (converted["residual_in_fp32"], converted["time_step_scale"]) == (False, 2.0)


def test_files_are_made_with_the_users_permissions(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        for format in ("hf", "native"):
            save_pretrained(make_model(), tmp_path / format, format=format)
            modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / format).iterdir()}
            assert modes == {0o644}
    finally:
        os.umask(before)


@pytest.fixture(params=["mamba", "transformer", "retnet"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, LanguageModel]:
    """Return a saved generation of two prompts of unlike lengths, and its model."""
    model = make_model(request.param)
    prompts = [torch.arange(length) % 16 for length in (3, 5)]
    generation = Generation(model, prompts, Sampling(repetition_penalty=1.5, top_k=4))
    list(islice(generation, 2))
    generation.save(tmp_path / "state", model_id="one")
    return tmp_path / "state", model


def test_damaged_states_are_refused(state: tuple[Path, LanguageModel]) -> None:
    path, model = state
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    tensors = load_file(path)

    def tried(about: dict[str, str], tensors: dict[str, torch.Tensor]) -> bool:
        """Return whether the state is taken, in which case it goes on."""
        save_file(tensors, path, metadata=about)
        try:
            generation = Generation.load(path, model, model_id="one")
        except UserError as error:
            check_sentence(str(error), path)
            return False
        return len(next(generation)) == 2

    assert tried(about, tensors)
    for key in about:
        values = json.loads(about[key]) if key in ("sampling", "groups") else about[key]
        for text in ("", "null", "[]", "[" * 10**6, "NaN"):
            assert not tried({**about, key: text}, tensors)
        assert not tried({name: value for name, value in about.items() if name != key}, tensors)
        for place in places(values):
            for value in BAD_VALUES:
                tried({**about, key: json.dumps(replaced(values, place, value))}, tensors)
    for name, tensor in tensors.items():
        assert not tried(about, {other: value for other, value in tensors.items() if other != name})
        for changed in (tensor[:-1], tensor[None], tensor.to(torch.complex64), tensor.new_zeros(())):
            assert not tried(about, {**tensors, name: changed.contiguous()}), (name, changed)
    groups = json.loads(about["groups"])
    groups[0][0] = 1e30
    assert not tried({**about, "groups": json.dumps(groups)}, tensors)
    for name in tensors:
        if name.endswith("pending"):
            assert not tried(about, {**tensors, name: torch.full_like(tensors[name], 99)})
