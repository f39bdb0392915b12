"""From settings to a checked configuration."""

import json

import pytest

from seqsuite.errors import UserError
from seqsuite.experiments.config.grid import resolve_grid
from seqsuite.experiments.config.resolve import override_keys, resolve
from seqsuite.experiments.config.scales import preset
from seqsuite.experiments.config.schema import SCALES, CellConfig
from seqsuite.models import MODELS
from seqsuite.tasks import TASKS


def cell(**settings: str) -> CellConfig:
    return resolve({"task": "selective_copying", **{k.replace("__", "."): v for k, v in settings.items()}})


def test_later_layers_win():
    assert cell().model.name == "mamba"
    assert cell().train.steps == preset("selective_copying")["cpu"]["train"]["steps"]
    assert cell(scale="paper").train.steps == 400_000
    assert cell(scale="paper", train__steps="5").train.steps == 5
    assert cell(model="s4").model.mixer.name == "s4"
    assert cell(model__mixer="s4d", model__mixer__d_state="8").model.mixer.arguments()["d_state"] == 8


def test_another_mixer_loses_the_presets_options_for_the_old_one():
    config = resolve({"task": "text", "model": "transformer", "model.mixer": "s4d"})
    assert config.model.block.arguments()["bias"] is True
    assert config.model.mixer.name == "s4d"


def test_none_is_a_value_and_for_blocks_a_name():
    assert cell(train__clip=None).train.clip is None
    assert cell(model__block=None).model.block.name == "none"


def test_a_named_size_is_between_the_tasks_preset_and_the_users_settings():
    assert (cell(model__size="130m").model.n_layer, cell(model__size="130m").model.d_model) == (24, 768)
    assert cell(model__size="130m", model__n_layer="3").model.n_layer == 3
    assert cell(model__size="130m", scale="smoke").model.d_model == 768
    small = cell(model="transformer++", model__size="125m")
    assert (small.model.n_layer, small.model.mixer.arguments()["n_heads"]) == (12, 12)
    other = cell(model="transformer", model__size="1.3b", model__mixer="s4")
    assert (other.model.d_model, other.model.mixer.name) == (2048, "s4")


def test_further_layers_are_choices_with_options():
    hybrid = cell(model="hybrid", model__layers__attention__mixer__n_heads="4").model
    assert hybrid.backbone.arguments()["pattern"] == ("main*3", "attention")
    assert hybrid.layers["attention"].mixer.arguments()["n_heads"] == 4
    assert hybrid.layers["attention"].block.arguments()["mlp"] == "swiglu"
    mixed = resolve(
        {
            "task": "text",
            "model.backbone.pattern": ["main*2", "wide"],
            "model.layers.wide.block": "transformer",
            "model.layers.wide.mixer": "retention",
            "model.layers.wide.mixer.value_expand": "3",
        }
    ).model
    assert mixed.layers["wide"].mixer.arguments()["value_expand"] == 3
    inherited = cell(model__layers__mamba__mixer__d_state="7").model.layers["mamba"]
    assert (inherited.block.name, inherited.mixer.arguments()["d_state"]) == ("mamba", 7)
    unet = cell(model__backbone="unet", model__backbone__outer="s4").model
    assert unet.backbone.arguments()["outer"] == "s4"


@pytest.mark.parametrize("task", TASKS.names())
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("model", MODELS.names())
def test_every_preset_is_valid_for_every_model(task, scale, model):
    assert resolve({"task": task, "model": model, "scale": scale}).scale == scale


def test_configurations_survive_json():
    config = cell(model="s4", train__steps="7")
    again = CellConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert again.cell_id("data") == config.cell_id("data")


def test_identity_is_what_decides_the_result():
    assert cell(run__output="elsewhere").cell_id("data") == cell().cell_id("data")
    assert cell().cell_id("other data") != cell().cell_id("data")
    assert cell(seed="1").cell_id("data") != cell().cell_id("data")
    assert cell(seed="1").group_id("data") == cell().group_id("data")
    assert cell(train__learning_rate="0.5").group_id("data") != cell().group_id("data")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "dnb"}, "Unknown task 'dnb': choose from .*Did you mean 'dna'"),
        ({"task": None}, "Unknown task 'none'"),
        ({"model": "manba"}, "Unknown model 'manba'.*Did you mean 'mamba'"),
        ({"model": "attention"}, "'attention' is a mixer, not a model: write .* model.mixer=attention"),
        ({"modle": "mamba"}, "Unknown key 'modle'.*Did you mean 'model'"),
        ({"scale": "cup"}, "Unknown scale 'cup'.*Did you mean 'cpu'"),
        ({"train.step": "5"}, "Unknown key 'train.step'.*Did you mean 'train.steps'"),
        ({"task.lenght": "5"}, "Unknown key 'task.lenght'.*Did you mean 'task.length'"),
        ({"model.mixer.dstate": "5"}, "Unknown key 'model.mixer.dstate'.*Did you mean 'model.mixer.d_state'"),
        ({"model.mixer": "s7"}, "Unknown mixer 's7'"),
        ({"train.steps": "many"}, "train.steps=many cannot be used: input should be a valid integer"),
        ({"train.steps": "0"}, "train.steps=0 cannot be used: input should be greater than 0"),
        ({"train.learning_rate": "nan"}, "train.learning_rate=nan cannot be used"),
        ({"train.schedule": "square"}, "train.schedule=square cannot be used: input should be 'cosine'"),
        ({"seed": "-1"}, "seed=-1 cannot be used"),
        ({"train": "5"}, "train=5 cannot be set: train is a table"),
        ({"model.size": "131m"}, "model 'mamba' has no size '131m': choose from .*Did you mean '130m'"),
        (
            {"model": "s4", "model.size": "130m"},
            "'s4' has no size '130m': set model.d_model and model.n_layer",
        ),
        ({"model.backbone": "unit"}, "Unknown backbone 'unit'.*Did you mean 'unet'"),
        ({"model.backbone": "unet", "model.backbone.pools": "4"}, "Did you mean 'model.backbone.pool'"),
        ({"model.backbone.pattern": "mamba"}, "model.backbone.pattern=mamba cannot be used"),
        ({"model.layers.x.mixer": "s4"}, "model.layers.x has no block: set model.layers.x.block"),
        ({"model.layers.x.mixer.d_state": "4"}, "model.layers.x has no block"),
        (
            {
                "model.layers.x.block": "none",
                "model.layers.x.mixer": "s4",
                "model.layers.x.mixer.dstate": "4",
            },
            "Unknown key 'model.layers.x.mixer.dstate'.*Did you mean 'model.layers.x.mixer.d_state'",
        ),
        ({"model.layers.x": "s4"}, "model.layers.x=s4 cannot be set"),
        ({"train.steps": "5", "train.steps.x": "1"}, "cannot be set"),
        ({"train.steps.x": "1", "train.steps": "5"}, "train.steps=5 cannot be set"),
        ({"model.layers": []}, r"model.layers=\[\] cannot be set"),
        ({"model.size.x": "1"}, "model.size=.* cannot be used"),
        ({"model.mixer": []}, r"Unknown mixer '\[\]'|Unknown mixer \[\]"),
        ({"scale": None}, "Unknown scale None"),
        ({"task": "dna", "task.path": "~nouser/x"}, "~nouser names no user"),
        ({"task": "dna", "task.path": "a\0b"}, "a path has no zero bytes"),
        ({"run.output": "~nouser/x"}, "~nouser names no user"),
        ({"seed": "18446744073709551616"}, "seed=18446744073709551616 cannot be used"),
        ({"train.steps": "1e-3"}, "train.steps=1e-3 cannot be used"),
        ({"train.lr": "1"}, "Did you mean 'train.learning_rate'"),
        ({"train.bs": "1"}, "Did you mean 'train.batch_size'"),
        ({"steps": "10"}, "Did you mean 'train.steps'"),
        ({"task.path": "x"}, "Unknown key 'task.path'.*Did you mean 'task.length'"),
        ({"run.name": "a/b"}, "run.name=a/b cannot be used"),
        ({"run.name": ".."}, "run.name=.. cannot be used"),
    ],
)
def test_bad_settings_are_named_in_one_sentence(settings, message):
    with pytest.raises(UserError, match=message) as raised:
        resolve({"task": "selective_copying", **settings})
    assert "\n" not in str(raised.value)


def test_whole_numbers_may_have_an_exponent():
    assert cell(train__steps="1e3").train.steps == 1000
    assert cell(task__length="1.2e2", task__num_tokens="4").task.arguments()["length"] == 120
    assert cell(train__learning_rate="1e3").train.learning_rate == 1000.0
    assert cell(run__experiment="1e3").run.experiment == "1e3"


def test_none_is_a_name_where_the_type_has_it():
    assert cell(model="transformer", model__positions=None).model.positions == "none"
    assert (
        cell(model="transformer", model__mixer__positions=None).model.mixer.arguments()["positions"] == "none"
    )


def test_a_files_settings_are_under_the_users():
    base = {"model.name": "mamba", "model.mixer.name": "s6", "model.mixer.d_state": 5, "train.steps": 7}
    config = resolve({"task": "dna", "model.d_model": "9"}, base)
    assert (config.model.mixer.arguments()["d_state"], config.train.steps, config.model.d_model) == (5, 7, 9)
    other = resolve({"task": "dna", "model.mixer": "s4d"}, base)
    assert other.model.mixer.arguments()["d_state"] == 64
    assert resolve({"task": "dna", "run.name": "x"}, {"run.experiment": "y"}).run.experiment == "y"


def test_a_task_must_be_named():
    with pytest.raises(UserError, match="Which task"):
        resolve({"model": "mamba"})


def test_every_key_that_completion_offers_can_be_set():
    keys = override_keys("selective_copying", "mamba")
    assert {
        "task",
        "model",
        "train.steps",
        "task.length",
        "model.mixer.d_state",
        "model.block.expand",
    } <= set(keys)
    assert keys["train.schedule"] == ["cosine", "linear", "wsd", "constant"]
    for key, choices in keys.items():
        for choice in choices:
            assert len(resolve_grid([{"task": "selective_copying", key: choice}])) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model.size": "5.5"}, "The model 'mamba' has no size '5.5': choose from "),
        ({"model.size": ["a"]}, "model.size=[a] cannot be used: it is a name, such as 130m."),
        (
            {"model.layers.x.block": "none", "model.layers.x.mixer.d_state": "4"},
            "model.layers.x has no mixer: set model.layers.x.mixer, besides its options.",
        ),
        (
            {"train.steps": "5", "train.steps.x": "1"},
            "'train.steps.x' cannot be set: 'steps' is a single value and has no options.",
        ),
        (
            {"model.layers": "x"},
            "model.layers=x cannot be set: write model.layers.NAME.block and model.layers.NAME.mixer.",
        ),
        ({"train.steps": "0"}, "train.steps=0 cannot be used: input should be greater than 0."),
        (
            {"train.steps": "10-20"},
            "train.steps=10-20 cannot be used: input should be a valid integer, unable to parse string as an "
            "integer. A range is written train.steps=10..20.",
        ),
        (
            {"model.backbone.x": "1", "model.backbone": "isotropic"},
            "Unknown key 'model.backbone.x': choose from model.backbone.pattern.",
        ),
    ],
)
def test_a_bad_setting_is_told_word_for_word(settings: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as raised:
        resolve({"task": "selective_copying", **settings})
    assert str(raised.value).startswith(told)


def test_keys_are_offered_without_tables_and_with_few_choices() -> None:
    keys = override_keys("selective_copying", None)
    assert list(keys) == sorted(keys)
    assert [key for key in keys if key.endswith(".name")] == ["run.name"]
    assert "model.layers" not in keys
    assert not any(key.startswith("model.mixer.") for key in keys)
    assert (keys["seed"], keys["scale"]) == ([], ["smoke", "cpu", "gpu", "paper"])
    assert ("task.length" in keys, "task.path" in keys) == (True, False)
    assert {"task.length", "task.path"} <= set(override_keys(None, None))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model.backbone.pattern", "main", r"as in model\.backbone\.pattern=\[a,b\]"),
    ],
)
def test_a_list_without_brackets_is_told_how_it_is_written(key: str, value: str, said: str) -> None:
    with pytest.raises(UserError, match=f"{key}={value} cannot be used: it takes a list, .* {said}"):
        resolve({"task": "dna", key: value})
