"""Several processes train what one does: data parallel, sharded, with sequences split."""

import itertools

import pytest

MODELS = ("mamba", "mamba2", "s4", "transformer", "hybrid")
WAYS = {
    "ddp": {},
    "fsdp2": {"run.distributed": "fsdp2"},
    "accumulate": {"train.accumulate": "2"},
    "sequence": {"run.sequence_parallel": "2"},
    "sequence-fsdp2": {"run.sequence_parallel": "2", "run.distributed": "fsdp2"},
    "sequence-recomputed": {"run.sequence_parallel": "2", "train.checkpoint_activations": "true"},
    "chunk": {"train.chunk": "5"},
    "chunk-fsdp2": {"train.chunk": "5", "run.distributed": "fsdp2"},
    "recomputed": {"train.checkpoint_activations": "true", "run.distributed": "fsdp2"},
}

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}

AVERAGED = {"train.steps": "6", "train.ema": "0.9", "train.clip": "0.5"}


def case(model: str, dtype: str, **settings: str) -> dict[str, str]:
    return {
        "task": "selective_copying",
        "scale": "smoke",
        "task.length": "14",
        "task.num_tokens": "4",
        "task.eval_examples": "10",
        "model": model,
        "model.d_model": "32",
        "model.n_layer": "2",
        "train.steps": "3",
        "train.eval_every": "2",
        "train.eval_batch_size": "3",
        "train.batch_size": "8",
        "train.log_every": "1",
        "dtype": dtype,
        **settings,
    }


def same(curves, expected, tolerance: float) -> None:
    assert curves.keys() == expected.keys()
    for key, value in expected.items():
        assert curves[key] == pytest.approx(value, rel=tolerance, abs=tolerance), key


def test_two_processes_train_as_one_does_and_go_on_as_if_they_had_not_stopped(train_together) -> None:
    trained = {
        ("mamba", "float64"): ["ddp", "sequence-fsdp2", "chunk"],
        ("transformer", "float64"): ["sequence"],
        ("mamba", "float32"): ["fsdp2"],
    }
    cases = {
        f"{model}:{dtype}:{way}": case(model, dtype, **WAYS[way])
        for (model, dtype), ways in trained.items()
        for way in ways
    }
    averaged = case("mamba", "float64", **AVERAGED)
    sharded = averaged | WAYS["fsdp2"]
    parts = {f"until {step}": {**sharded, "name": "parts", "until": str(step)} for step in (3, 6)}
    moved = {"name": "moved", "until": "3"}
    curves = train_together({**cases, "quiet": sharded, **parts, "moved": {**sharded, **moved}}, 2)
    singles = {"averaged": averaged, **{":".join(key): case(*key) for key in trained}}
    single = train_together({**singles, "moved": {**averaged, **moved, "until": "6"}}, 1)
    for name in cases:
        key = name.rpartition(":")[0]
        same(curves[name], single[key], TOLERANCE[key.partition(":")[2]])
    same(curves["quiet"], single["averaged"], TOLERANCE["float64"])
    same(curves["moved"] | single["moved"], single["averaged"], TOLERANCE["float64"])
    assert curves["until 3"] | curves["until 6"] == curves["quiet"]  # to the last bit


MOVES = {
    "ddp": {2: (2, "ddp"), 4: (1, "ddp"), 6: (4, "ddp")},
    "sequence": {2: (2, "sequence"), 4: (1, "ddp"), 6: (4, "sequence")},
    "fsdp2": {2: (2, "fsdp2"), 3: (1, "ddp"), 4: (4, "fsdp2"), 6: (2, "fsdp2")},
    "fsdp2 and ddp": {2: (2, "ddp"), 3: (4, "fsdp2"), 6: (2, "ddp")},
}
"""Until which step how many processes train, and how."""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("moves", MOVES)
def test_other_numbers_of_processes_go_on(train_together, dtype, moves) -> None:
    plain, curve = case("mamba", dtype, **AVERAGED), {}
    for until, (world, way) in MOVES[moves].items():
        settings = case("mamba", dtype, **AVERAGED, **(WAYS[way] if world > 1 else {}))
        curve |= train_together({"resumed": {**settings, "until": str(until)}}, world)["resumed"]
    same(curve, train_together({"one": plain}, 1)["one"], TOLERANCE[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_way_trains_every_model_the_same(train_together, world, dtype) -> None:
    ways = {
        name: settings
        for name, settings in WAYS.items()
        if world > 1 or not any(key.startswith("run.") for key in settings)
    }
    cases = {
        f"{model}:{way}": case(model, dtype, **settings)
        for model, (way, settings) in itertools.product(MODELS, ways.items())
    }
    if world > 1:
        cases |= {
            f"{model}:all": case(model, dtype, **{"run.sequence_parallel": str(world)}) for model in MODELS
        }
    one = train_together({model: case(model, dtype) for model in MODELS}, 1) if world > 1 else {}
    for name, curves in (found := train_together(cases, world)).items():
        model = name.partition(":")[0]
        same(curves, one.get(model, found[f"{model}:ddp"]), TOLERANCE[dtype])
