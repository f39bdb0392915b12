"""Models behind the face of mamba_ssm's class."""

from pathlib import Path

import pytest
import torch

from seqsuite.errors import UserError
from seqsuite.models import MODELS, save_pretrained
from seqsuite.models.build import build_model
from seqsuite.models.compatibility import MambaLMHeadModel
from seqsuite.models.config import ModelConfig
from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import LanguageModel

TOKENS = torch.randint(16, (2, 7), generator=torch.Generator().manual_seed(0))


def make_model(name: str) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 2})
    return build_model(config, vocab_size=16, seqlen=20).eval()


@pytest.mark.parametrize("name", ["mamba", "mamba2"])
def test_it_loads_computes_generates_and_saves(tmp_path: Path, name: str) -> None:
    ours = make_model(name)
    save_pretrained(ours, tmp_path / "saved")
    model = MambaLMHeadModel.from_pretrained(tmp_path / "saved", device="cpu", dtype=torch.float32)
    logits = ours(TOKENS)
    assert torch.equal(model(TOKENS).logits, logits)
    assert torch.equal(model(TOKENS, num_last_tokens=3).logits, logits[:, -3:])
    greedy = torch.stack(list(generate(ours, TOKENS, 5, temperature=0)), dim=1)
    assert torch.equal(model.generate(TOKENS, max_length=12), torch.cat([TOKENS, greedy], dim=1))
    drawn = model.generate(TOKENS, max_length=12, top_k=0, top_p=0.9, temperature=0.7, seed=3)
    expected = torch.stack(list(generate(ours, TOKENS, 5, top_p=0.9, temperature=0.7, seed=3)), dim=1)
    assert torch.equal(drawn[:, 7:], expected)
    assert torch.equal(model.generate(TOKENS, max_length=4), TOKENS)

    model.save_pretrained(tmp_path / "again")
    assert torch.equal(MambaLMHeadModel.from_pretrained(tmp_path / "again")(TOKENS).logits, logits)
    half = MambaLMHeadModel.from_pretrained(tmp_path / "again", dtype=torch.bfloat16)
    assert half(TOKENS).logits.dtype == torch.bfloat16


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        MambaLMHeadModel.from_pretrained(tmp_path)
