"""Answers to the lm-evaluation-harness, against its own model for transformers on the same weights."""

from pathlib import Path

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from seqsuite.errors import UserError
from seqsuite.experiments.evaluation.harness import HarnessModel, sampling_of
from seqsuite.experiments.evaluation.tokenizers import Bytes, Pretrained, tokenizer_for
from seqsuite.models import MODELS, save_pretrained
from seqsuite.models.build import build_model
from seqsuite.models.config import ModelConfig
from seqsuite.models.formats.tokenizer import write_byte_tokenizer
from seqsuite.models.generation import generate
from seqsuite.models.sampling import Sampling
from seqsuite.models.sequence_model import LanguageModel

PAIRS = [
    ("The cat sat", " on the mat"),
    ("The cat sat ", "on"),
    ("naïve", " — 漢字"),
    ("x", "y" * 40),
    ("a longer context than the others have, by far", "."),
]
TEXTS = ["One text.", "Another one,\nof two lines, and longer than the first.", "é"]


def make_model(name: str = "mamba", seqlen: int = 64) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig(name=name, **{**MODELS.load(name)(), "d_model": 24, "n_layer": 2})
    model = build_model(config, vocab_size=256, seqlen=seqlen).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(20)
    return model


def asked(kind: str, *arguments: tuple[object, ...]) -> list[Instance]:
    return [Instance(kind, {}, request, number) for number, request in enumerate(arguments)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a byte tokenizer that transformers loads."""
    made = tmp_path_factory.mktemp("model")
    save_pretrained(make_model(), made)
    write_byte_tokenizer(made)
    return made


@pytest.fixture(scope="module")
def theirs(folder: Path) -> HFLM:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.pad_token = "Ā"  # the zero byte, which no text here has
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return HFLM(model, tokenizer=tokenizer, prefix_token_id=10, device="cpu", batch_size=2, max_length=2048)


@pytest.fixture(params=["bytes", "tokenizer"])
def ours(folder: Path, request: pytest.FixtureRequest) -> HarnessModel:
    return HarnessModel(
        make_model(), Bytes() if request.param == "bytes" else Pretrained(folder), batch_size=2
    )


def test_likelihoods_are_those_of_the_harness(ours: HarnessModel, theirs: HFLM) -> None:
    requests = asked("loglikelihood", *PAIRS)
    expected = theirs.loglikelihood(requests, disable_tqdm=True)
    for (value, greedy), (their_value, their_greedy) in zip(
        ours.loglikelihood(requests, disable_tqdm=True), expected, strict=True
    ):
        assert value == pytest.approx(their_value, rel=1e-5)
        assert greedy == their_greedy


def test_whole_texts_are_those_of_the_harness(theirs: HFLM) -> None:
    requests = asked("loglikelihood_rolling", *((text,) for text in TEXTS))
    ours = HarnessModel(make_model(), Bytes(), batch_size=2)
    expected = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert ours.loglikelihood_rolling(requests, disable_tqdm=True) == pytest.approx(expected, rel=1e-5)


def test_a_text_longer_than_learned_positions_is_cut_into_windows() -> None:
    model, text = make_model("transformer", seqlen=16), "0123456789" * 4
    (found,) = HarnessModel(model, Bytes()).loglikelihood_rolling(asked("", (text,)), disable_tqdm=True)
    tokens = [ord("\n"), *text.encode()]
    expected = 0.0
    for start, end in ((0, 16), (16, 32), (24, 40)):  # each window as long as can be
        scores = model(torch.tensor([tokens[start:end]]))[0].double().log_softmax(-1)
        first = {0: 0, 16: 16, 24: 32}[start]
        expected += sum(scores[t - start, tokens[t + 1]].item() for t in range(first, end))
    assert found == pytest.approx(expected, rel=1e-6)


def test_an_answer_is_scored_after_as_much_of_the_context_as_there_are_positions_for() -> None:
    short = HarnessModel(make_model("transformer", seqlen=16), Bytes())
    context, answer = "words that no one can hold in mind ", "at once"
    fitting = (context + answer)[-17 : -len(answer)]  # the last letter is a target only
    (cut,), (whole,) = (
        short.loglikelihood(asked("loglikelihood", (before, answer))) for before in (context, fitting)
    )
    assert cut == whole


def test_generated_texts_are_those_of_the_harness(ours: HarnessModel, theirs: HFLM) -> None:
    contexts = [context for context, _ in PAIRS]
    free = asked("generate_until", *((text, {"until": [], "max_gen_toks": 12}) for text in contexts))
    expected = [
        theirs.generate_until([request], disable_tqdm=True)[0] for request in free
    ]  # one by one: its left padding changes what a recurrent model computes
    assert ours.generate_until(free, disable_tqdm=True) == expected
    stop = expected[0][5]
    stopped = asked("generate_until", *((text, {"until": [stop], "max_gen_toks": 12}) for text in contexts))
    answers = ours.generate_until(stopped, disable_tqdm=True)
    assert answers == [text.partition(stop)[0] for text in expected]


def test_an_answer_comes_after_as_much_of_the_prompt_as_there_are_positions_for() -> None:
    model, text = make_model("transformer", seqlen=16), "The cat sat on the mat, and the dog beside it"
    request = asked("generate_until", (text, {"max_gen_toks": 4}))
    (answer,) = HarnessModel(model, Bytes()).generate_until(request, disable_tqdm=True)
    kept = torch.tensor(list(text.encode()[-13:]))  # the last of four new tokens is never read
    tokens = [int(token) for token in generate(model, [kept], 4, temperature=0)]
    assert answer == Bytes().decode(tokens)


def test_generation_ends_at_the_end_token() -> None:
    model, tokenizer = make_model(), Bytes()
    prompt = torch.tensor(tokenizer.encode("The cat sat"))
    tokens = [int(token) for token in generate(model, [prompt], 8, temperature=0)]
    tokenizer.end = tokens[3]
    request = asked("generate_until", ("The cat sat", {"max_gen_toks": 8}))
    answer = HarnessModel(model, tokenizer).generate_until(request, disable_tqdm=True)
    assert answer == [tokenizer.decode(tokens[: tokens.index(tokens[3])])]


@pytest.mark.parametrize(
    ("settings", "sampling"),
    [
        ({"until": ["\n"], "temperature": 0.7}, Sampling(temperature=0)),
        ({"do_sample": True, "temperature": 0.7, "top_k": 5}, Sampling(temperature=0.7, top_k=5)),
        ({"do_sample": False, "top_p": 0.9, "max_gen_toks": 3}, Sampling(temperature=0, top_p=0.9)),
    ],
)
def test_settings_of_a_task(settings: dict[str, object], sampling: Sampling) -> None:
    assert sampling_of(settings) == sampling


def test_what_cannot_be_asked_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="num_beams, which seqsuite has not"):
        sampling_of({"num_beams": 4})
    with pytest.raises(UserError, match="generation_kwargs cannot be used"):
        sampling_of({"do_sample": True, "top_p": 2.0})
    for until in (5, ["", "\n"], ["\n", 5]):
        with pytest.raises(UserError, match=r"until: .* which is no list of texts"):
            HarnessModel(make_model(), Bytes()).generate_until(
                asked("", ("text", {"until": until})), disable_tqdm=True
            )
    model = HarnessModel(make_model("transformer", seqlen=16), Bytes())
    with pytest.raises(UserError, match="max_gen_toks=17 is more than this model's 16 positions"):
        model.generate_until(asked("", ("text", {"max_gen_toks": 17})), disable_tqdm=True)
    assert model.generate_until(asked("", ("text" * 9, {"max_gen_toks": 16})), disable_tqdm=True)
    save_pretrained(make_model(), tmp_path)
    with pytest.raises(UserError, match="not one of text"):
        tokenizer_for(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        tokenizer_for(tmp_path)


def test_nothing_is_certain_and_a_text_without_tokens_too() -> None:
    model = HarnessModel(make_model(), Bytes())
    assert model.loglikelihood(asked("", ("context", "")), disable_tqdm=True) == [(0.0, True)]
    assert model.loglikelihood_rolling(asked("", ("",)), disable_tqdm=True) == [0.0]


def test_an_answer_has_at_least_one_token_and_is_drawn_from_the_first_seed() -> None:
    model = make_model()
    ours, prompt = HarnessModel(model, Bytes()), torch.tensor(list(b"text"))
    settings = {"max_gen_toks": 1, "do_sample": True, "temperature": 2.0}
    expected = [int(token) for token in generate(model, [prompt], 1, temperature=2.0, seed=0)]
    answer = ours.generate_until(asked("", ("text", settings)), disable_tqdm=True)
    assert answer == [Bytes().decode(expected)]
    for most in (0, True, "5"):
        with pytest.raises(UserError, match=f"max_gen_toks: {most}, which is no number above 0"):
            ours.generate_until(asked("", ("text", {"max_gen_toks": most})), disable_tqdm=True)
