"""One of two processes that train every named model together: run by tests/models/test_torch_citizen.py.

``python parallel_worker.py RANK FOLDER`` writes ``FOLDER/RANK.json``: for each way and model
how far losses and gradients are from one process's, or the error.
"""

import json
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from seqsuite.models import MODELS
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.sequence_model import LanguageModel

VOCAB, SEQLEN, WORLD = 13, 24, 2


def make_model(name: str, device: str = "cpu") -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 16, "n_layer": 4})
    with torch.device(device):
        return build_model(config, vocab_size=VOCAB, seqlen=SEQLEN)


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(tokens).float().flatten(0, 1), tokens.flatten())


def distance(model: nn.Module, alone: nn.Module) -> float:
    """Return the largest difference of the gradients, over the size of them all."""
    size = torch.stack([parameter.grad.norm() for parameter in alone.parameters()]).norm()
    worst = 0.0
    for mine, other in zip(model.parameters(), alone.parameters(), strict=True):
        gradient = mine.grad.full_tensor() if isinstance(mine.grad, DTensor) else mine.grad
        worst = max(worst, ((gradient.float() - other.grad).norm() / size).item())
    return worst


def ddp(name: str, mine: Tensor, alone: LanguageModel) -> dict[str, float]:
    model = DistributedDataParallel(make_model(name))
    loss_of(model, mine).backward()
    return {"gradients": distance(model.module, alone)}


def sharded(name: str, policy: MixedPrecisionPolicy) -> LanguageModel:
    """Return a model that never was whole in this process's memory, with its modules' initial values."""
    model = make_model(name, "meta")
    mesh = init_device_mesh("cpu", (WORLD,))
    for block in model.blocks.layers():
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)
    model.to_empty(device="cpu")
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def fsdp2(name: str, mine: Tensor, alone: LanguageModel) -> dict[str, float]:
    whole = StateDictOptions(full_state_dict=True)
    model = sharded(name, MixedPrecisionPolicy())
    set_model_state_dict(model, alone.state_dict(), options=whole)
    loss_of(model, mine).backward()
    half = sharded(name, MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32))
    fresh = loss_of(half, mine)
    fresh.backward()
    half.zero_grad()
    set_model_state_dict(half, alone.state_dict(), options=whole)
    rounded = loss_of(half, mine)
    return {
        "gradients": distance(model, alone),
        "fresh loss": fresh.item(),
        "bfloat16": abs(rounded.item() - loss_of(alone, mine).item()),
    }


WAYS: dict[str, Callable[[str, Tensor, LanguageModel], dict[str, float]]] = {"ddp": ddp, "fsdp2": fsdp2}


def main(rank: int, folder: Path) -> None:
    meeting = (folder / "meeting").as_uri()
    dist.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=WORLD, timeout=timedelta(seconds=60)
    )
    tokens = torch.randint(VOCAB, (2 * WORLD, SEQLEN), generator=torch.Generator().manual_seed(1))
    found: dict[str, dict[str, dict[str, float] | str]] = {way: {} for way in WAYS}
    for name in MODELS.names():
        alone = make_model(name)
        loss_of(alone, tokens).backward()
        for way, run in WAYS.items():
            try:
                found[way][name] = run(name, tokens[rank::WORLD], alone)
            except Exception as error:  # the test shows it
                found[way][name] = f"{type(error).__name__}: {error}"
    (folder / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    # Of DTensor's own, on processors: random numbers and collectives have only been tried on GPUs.
    warnings.filterwarnings("ignore", category=UserWarning, module="torch")
    main(int(sys.argv[1]), Path(sys.argv[2]))
