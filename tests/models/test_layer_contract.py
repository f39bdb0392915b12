"""Every block × mixer gives the same numbers whichever way a sequence is fed."""

from itertools import pairwise

import pytest
import torch

from seqsuite.models import BLOCKS, MIXERS
from seqsuite.models.backbone import NORMS
from seqsuite.models.base import Block, State
from seqsuite.options import options_schema

WIDTH, BATCH = 16, 3
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
LENGTHS = (1, 2, 17, 40)

every_layer = pytest.mark.parametrize("mixer", MIXERS.names())
every_block = pytest.mark.parametrize("block", BLOCKS.names())
both_precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])


def make_block(block: str, mixer: str, dtype: torch.dtype = torch.float64) -> Block:
    torch.manual_seed(0)
    mixer_class = MIXERS.load(mixer)
    options = options_schema(mixer_class)(name=mixer).arguments()
    made = BLOCKS.load(block)(WIDTH, lambda width: mixer_class(width, **options), NORMS["rms"])
    return made.to(dtype)


def inputs(length: int, dtype: torch.dtype = torch.float64, batch: int = BATCH) -> torch.Tensor:
    return torch.randn(batch, length, WIDTH, dtype=dtype, generator=torch.Generator().manual_seed(length))


def relative_error(value: torch.Tensor, expected: torch.Tensor) -> float:
    return ((value - expected).norm() / expected.norm()).item()


def step_by_step(layer: Block, x: torch.Tensor) -> tuple[torch.Tensor, State]:
    state = layer.initial_state(x.shape[0], dtype=x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


@every_block
@every_layer
@both_precisions
@pytest.mark.parametrize("length", LENGTHS)
def test_parallel_equals_step_by_step(block, mixer, dtype, length):
    layer, x = make_block(block, mixer, dtype), inputs(length, dtype)
    whole, none = layer(x)
    _, after_whole = layer(x, layer.initial_state(BATCH, dtype=dtype))
    stepped, after_steps = step_by_step(layer, x)
    assert none is None
    assert relative_error(stepped, whole) < TOLERANCE[dtype]
    for key, value in after_whole.items():
        torch.testing.assert_close(value, after_steps[key], rtol=0, atol=10 * TOLERANCE[dtype])


@every_block
@every_layer
@both_precisions
@pytest.mark.parametrize("cuts", [(1,), (2, 3), (13, 30)])
def test_parallel_equals_any_split_into_chunks(block, mixer, dtype, cuts):
    layer, x = make_block(block, mixer, dtype), inputs(40, dtype)
    state, outputs = layer.initial_state(BATCH, dtype=dtype), []
    for chunk in torch.tensor_split(x, cuts, dim=1):
        y, state = layer(chunk, state)
        outputs.append(y)
    assert relative_error(torch.cat(outputs, dim=1), layer(x)[0]) < TOLERANCE[dtype]


@every_block
@every_layer
def test_packed_equals_separate(block, mixer):
    layer, x = make_block(block, mixer), inputs(31, batch=1)
    offsets = [0, 1, 6, 31]
    separate = [x[:, start:end] for start, end in pairwise(offsets)]
    states = [layer(part, layer.initial_state(1, dtype=x.dtype)) for part in separate]
    expected = torch.cat([y for y, _ in states], dim=1)
    fresh, _ = layer(x, None, torch.tensor(offsets))
    assert relative_error(fresh, expected) < 1e-10
    if mixer == "attention":
        with pytest.raises(ValueError, match="no state for packed sequences"):
            layer(x, layer.initial_state(3, dtype=x.dtype), torch.tensor(offsets))
        return
    packed, after = layer(x, layer.initial_state(3, dtype=x.dtype), torch.tensor(offsets))
    assert relative_error(packed, expected) < 1e-10
    for key, value in after.items():
        torch.testing.assert_close(value, torch.cat([state[key] for _, state in states]))


@every_block
@every_layer
def test_no_output_sees_a_later_input(block, mixer):
    layer, x = make_block(block, mixer), inputs(20)
    changed = x.clone()
    changed[:, 11] += 1
    before, after = layer(x)[0], layer(changed)[0]
    torch.testing.assert_close(after[:, :11], before[:, :11], rtol=0, atol=1e-12)
    assert (after[:, 11] - before[:, 11]).abs().max() > 1e-6


@every_block
@every_layer
def test_gradients_through_the_carried_state(block, mixer):
    layer, x = make_block(block, mixer), inputs(12)
    weights = torch.randn_like(x)

    def gradients(cut: int) -> list[torch.Tensor]:
        fed = x.clone().requires_grad_()
        state = layer.initial_state(BATCH, dtype=x.dtype)
        first, state = layer(fed[:, :cut], state)
        second, state = layer(fed[:, cut:], state)
        loss = (torch.cat([first, second], dim=1) * weights).sum()
        loss = loss + sum(value.abs().square().sum() for value in state.values())
        return list(torch.autograd.grad(loss, [fed, *layer.parameters()]))

    for one, other in zip(gradients(3), gradients(10), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@every_block
@every_layer
def test_state_size_counts_the_state(block, mixer):
    layer = make_block(block, mixer)
    for length in (1, 9):
        _, state = layer(inputs(length, batch=1), layer.initial_state(1, dtype=torch.float64))
        numbers = sum(value.numel() * (2 if value.is_complex() else 1) for value in state.values())
        assert numbers == layer.state_size(length)
