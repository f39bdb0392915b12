"""Every mixer, and every block around one, gives the same numbers whichever way a sequence is fed.

Each registered mixer is checked alone, with its default options and with those below; each block with two
mixers; and every block × mixer in short, for the state that both keep.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch

from seqsuite.models import BLOCKS, MIXERS
from seqsuite.models.base import Block, Mixer, SequenceLayer, State
from seqsuite.models.build import build_mixer
from seqsuite.models.sequence_model import NORMS
from seqsuite.options import named_options

WIDTH, BATCH, SEQLEN = 16, 3, 30
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
LENGTHS = (1, 2, 17, 40)

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "s6": [
        {"dt_rank": None, "selective_B": False},
        {"selective_C": False, "d_state": 1},
        {"A_init": "lin", "d_state": 4},
        {"A_init": "legs", "d_state": 4, "dt_rank": None, "selective_B": False, "selective_C": False},
    ],
    "s4d": [{"init": "real", "d_state": 5}, {"init": "legs", "d_state": 6}],
    "ssd": [{"d_state": 5, "head_dim": 4, "n_groups": 2}],
    "shift": [{"d_state": 1}],
    "gated_delta": [{"n_heads": 2, "value_expand": 1, "d_conv": 1}, {"negative_eigenvalues": True}],
    "hyena": [{"bands": 3, "filter_layers": 1}],
    "attention": [
        {"positions": "none"},
        {"positions": "xpos", "n_heads": 4, "n_kv_heads": 2},
        {"positions": "rotary", "window": 6},
        {"positions": "alibi", "n_heads": 4, "n_kv_heads": 1, "window": 14},
    ],
}
"""Options of a mixer, besides its defaults, that take another path through its code."""


def make_mixer(name: str, width: int, **options: Any) -> Mixer:
    return build_mixer(named_options(MIXERS, {"name": name, **options}), width, SEQLEN)


def make_block(block: str, mixer: str) -> SequenceLayer:
    made: SequenceLayer = BLOCKS.load(block)(WIDTH, lambda width: make_mixer(mixer, width), NORMS["rms"])
    return made


MIXER_CASES: dict[str, Callable[[], SequenceLayer]] = {
    f"{name}{options or ''}": lambda name=name, options=options: make_mixer(name, WIDTH, **options)
    for name in MIXERS.names()
    for options in ({}, *VARIANTS.get(name, []))
}
BLOCK_CASES: dict[str, Callable[[], SequenceLayer]] = {
    f"{block}/{mixer}": lambda block=block, mixer=mixer: make_block(block, mixer)
    for block in BLOCKS.names()
    for mixer in MIXERS.names()
}
FULLY_CHECKED = MIXER_CASES | {
    name: make for name, make in BLOCK_CASES.items() if name.endswith(("/s6", "/attention"))
}

every_layer = pytest.mark.parametrize("case", FULLY_CHECKED)
every_block_and_mixer = pytest.mark.parametrize("case", BLOCK_CASES)
both_precisions = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float64", "float32"])


def make_layer(case: str, dtype: torch.dtype = torch.float64) -> SequenceLayer:
    torch.manual_seed(0)
    return (MIXER_CASES | BLOCK_CASES)[case]().to(dtype)


def carries_packed_state(layer: SequenceLayer) -> bool:
    if isinstance(layer, Block):
        layer = layer.mixer
    assert isinstance(layer, Mixer)
    return layer.packed_state


def inputs(length: int, dtype: torch.dtype = torch.float64, batch: int = BATCH) -> torch.Tensor:
    return torch.randn(batch, length, WIDTH, dtype=dtype, generator=torch.Generator().manual_seed(length))


def relative_error(value: torch.Tensor, expected: torch.Tensor) -> float:
    return ((value - expected).norm() / expected.norm()).item()


def step_by_step(layer: SequenceLayer, x: torch.Tensor) -> tuple[torch.Tensor, State]:
    state = layer.initial_state(x.shape[0], dtype=x.dtype)
    outputs = []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        outputs.append(y)
    return torch.stack(outputs, dim=1), state


def in_chunks(layer: SequenceLayer, x: torch.Tensor, cuts: tuple[int, ...]) -> tuple[torch.Tensor, State]:
    state, outputs = layer.initial_state(x.shape[0], dtype=x.dtype), []
    for chunk in torch.tensor_split(x, cuts, dim=1):
        y, state = layer(chunk, state)
        outputs.append(y)
    return torch.cat(outputs, dim=1), state


@every_layer
@both_precisions
@pytest.mark.parametrize("length", LENGTHS)
def test_parallel_equals_step_by_step(case, dtype, length):
    layer, x = make_layer(case, dtype), inputs(length, dtype)
    with torch.no_grad():
        whole, none = layer(x)
        _, after_whole = layer(x, layer.initial_state(BATCH, dtype=dtype))
        stepped, after_steps = step_by_step(layer, x)
    assert none is None
    assert relative_error(stepped, whole) < TOLERANCE[dtype]
    assert after_whole.keys() == after_steps.keys()
    for key, value in after_whole.items():
        torch.testing.assert_close(value, after_steps[key], rtol=0, atol=10 * TOLERANCE[dtype])


@every_layer
@both_precisions
@pytest.mark.parametrize("cuts", [(1,), (2, 3), (13, 30)])
def test_parallel_equals_any_split_into_chunks(case, dtype, cuts):
    layer, x = make_layer(case, dtype), inputs(40, dtype)
    with torch.no_grad():
        assert relative_error(in_chunks(layer, x, cuts)[0], layer(x)[0]) < TOLERANCE[dtype]


@every_block_and_mixer
def test_every_block_keeps_its_state_beside_every_mixers(case):
    layer, x = make_layer(case), inputs(9)
    with torch.no_grad():
        whole, stepped = layer(x)[0], step_by_step(layer, x[:, :4])
        rest, after = layer(x[:, 4:], stepped[1])
    assert relative_error(torch.cat([stepped[0], rest], dim=1), whole) < 1e-10
    assert after.keys() == layer.initial_state(1).keys()


@every_layer
def test_packed_equals_separate_and_padded(case):
    layer, x = make_layer(case), inputs(31, batch=1)
    offsets = [0, 1, 6, 31]
    separate = [x[:, start:end] for start, end in pairwise(offsets)]
    states = [layer(part, layer.initial_state(1, dtype=x.dtype)) for part in separate]
    expected = torch.cat([y for y, _ in states], dim=1)
    fresh, _ = layer(x, None, torch.tensor(offsets))
    assert relative_error(fresh, expected) < 1e-10
    padded = torch.cat([torch.nn.functional.pad(part, (0, 0, 0, 25 - part.shape[1])) for part in separate])
    cut = [y[: part.shape[1]] for y, part in zip(layer(padded)[0], separate, strict=True)]
    assert relative_error(torch.cat(cut), expected[0]) < 1e-10
    if not carries_packed_state(layer):
        with pytest.raises(ValueError, match="no state for packed sequences"):
            layer(x, layer.initial_state(3, dtype=x.dtype), torch.tensor(offsets))
        return
    int32 = torch.tensor(offsets, dtype=torch.int32)
    packed, after = layer(x, layer.initial_state(3, dtype=x.dtype), int32)
    assert relative_error(packed, expected) < 1e-10
    for key, value in after.items():
        torch.testing.assert_close(value, torch.cat([state[key] for _, state in states]))


OFFSETS = [0, 9, 9, 10, 31, 39]
"""Of packed sequences: an empty one, one of a single position, and two that share a padded batch."""


def states_on_the_way(layer: SequenceLayer, sequences: int) -> State:
    """Return states after four positions each, as leaves that take gradients."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(sequences, 4, WIDTH, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        _, state = layer(x, layer.initial_state(sequences, dtype=torch.float64))
    return {
        key: value.clone().requires_grad_(value.is_floating_point() or value.is_complex())
        for key, value in state.items()
    }


def with_gradients(
    layer: SequenceLayer, x: torch.Tensor, before: State | None, y: torch.Tensor, after: State
) -> list[torch.Tensor]:
    """Return outputs, states, and the gradients of their sum by inputs, parameters and states before."""
    outputs = [y, *(value for value in after.values() if value.requires_grad)]
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(t.shape, dtype=torch.float64, generator=generator).to(t.dtype) for t in outputs]
    leaves = [x, *layer.parameters(), *(v for v in (before or {}).values() if v.requires_grad)]
    gradients = torch.autograd.grad(outputs, leaves, weights, materialize_grads=True)
    return [*outputs, *gradients]


def assert_equal_to_the_digit(actual: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        scale = max(theirs.abs().max().item() if theirs.numel() else 0, 1e-3)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("case", MIXER_CASES | BLOCK_CASES)
def test_packed_from_states_equals_separate_with_every_gradient(case):
    """From where there is a state for packed sequences; from the start where there is none."""
    layer, x = make_layer(case), inputs(OFFSETS[-1], batch=1).requires_grad_()
    before = states_on_the_way(layer, 5) if carries_packed_state(layer) else None
    ys, states = [], []
    for s, (start, end) in enumerate(pairwise(OFFSETS)):
        alone = None if before is None else {key: value[s : s + 1] for key, value in before.items()}
        if end > start:
            y, alone = layer(x[:, start:end], alone)
            ys.append(y)
        states.append(alone)
    after = {} if before is None else {key: torch.cat([state[key] for state in states]) for key in before}
    expected = with_gradients(layer, x, before, torch.cat(ys, dim=1), after)
    y, after = layer(x, before, torch.tensor(OFFSETS))
    assert (after is None) == (before is None)
    assert_equal_to_the_digit(with_gradients(layer, x, before, y, after or {}), expected)


@pytest.mark.parametrize("case", BLOCK_CASES)
def test_chunks_from_a_state_equal_steps_with_every_gradient(case):
    """The training path of truncated backpropagation, against the recurrence."""
    layer, x = make_layer(case), inputs(11).requires_grad_()
    before = states_on_the_way(layer, BATCH)
    state, ys = before, []
    for t in range(x.shape[1]):
        y, state = layer.step(x[:, t], state)
        ys.append(y)
    expected = with_gradients(layer, x, before, torch.stack(ys, dim=1), state)
    assert_equal_to_the_digit(with_gradients(layer, x, before, *layer(x, before)), expected)


@every_layer
def test_no_output_sees_a_later_input(case):
    layer, x = make_layer(case), inputs(20)
    changed = x.clone()
    changed[:, 11] += 1
    before, after = layer(x)[0], layer(changed)[0]
    torch.testing.assert_close(after[:, :11], before[:, :11], rtol=0, atol=1e-12)
    assert (after[:, 11] - before[:, 11]).abs().max() > 1e-6


@every_layer
def test_gradients_through_the_carried_state(case):
    layer, x = make_layer(case), inputs(12)
    weights = torch.randn_like(x)

    def gradients(cut: int) -> list[torch.Tensor]:
        fed = x.clone().requires_grad_()
        y, state = in_chunks(layer, fed, (cut,))
        loss = (y * weights).sum() + sum(value.abs().square().sum() for value in state.values())
        return list(torch.autograd.grad(loss, [fed, *layer.parameters()]))

    for one, other in zip(gradients(3), gradients(10), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@every_layer
def test_autocast_to_bfloat16_costs_a_percent_and_no_state(case):
    layer, x = make_layer(case, torch.float32), inputs(40, torch.float32)
    expected = layer(x)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(x, layer.initial_state(BATCH))
        stepped, _ = step_by_step(layer, x)
    assert relative_error(y.float(), expected) < 0.01
    assert relative_error(stepped.float(), expected) < 0.01
    for key in {"ssm", "sums", "retained", "delta"} & state.keys():
        assert state[key].dtype in (torch.float32, torch.complex64)
    y.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@every_layer
def test_state_size_counts_the_state(case):
    layer = make_layer(case)
    for length in (1, 9):
        _, state = layer(inputs(length, batch=1), layer.initial_state(1, dtype=torch.float64))
        numbers = sum(value.numel() * (2 if value.is_complex() else 1) for value in state.values())
        assert numbers == layer.state_size(length)


@every_layer
def test_every_tensor_is_made_on_the_inputs_device(case):
    """On the device "meta" an operation with a tensor of another device fails, as it would on a GPU."""
    layer, x = make_layer(case, torch.float32).to("meta"), torch.empty(2, 7, WIDTH, device="meta")
    state = layer.initial_state(2, device=torch.device("meta"))
    y, after = layer(x, layer(x, state)[1])
    stepped, _ = layer.step(x[:, 0], after)
    layer(x)[0].sum().backward()
    assert {y.device.type, stepped.device.type} == {"meta"}
    if isinstance(layer, Mixer):
        assert all(shown.values.device.type == "meta" for shown in layer.inspect(x).values())
