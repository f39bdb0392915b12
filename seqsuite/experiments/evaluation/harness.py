"""Our models as the lm-evaluation-harness asks for them (https://github.com/EleutherAI/lm-evaluation-harness).

This module needs the extra ``eval``.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from seqsuite.errors import UserError
from seqsuite.experiments.evaluation.tokenizers import Tokenizer
from seqsuite.models.generation import Generation
from seqsuite.models.sampling import Sampling
from seqsuite.models.scoring import score
from seqsuite.models.sequence_model import LanguageModel

_MOST_TOKENS = 256  # generated where a task does not say how many, as in the harness's own models
_SAMPLED = ("temperature", "top_k", "top_p", "repetition_penalty")
_UNSAMPLED = {"until", "max_gen_toks", "do_sample"}


class HarnessModel(TemplateLM):  # type: ignore[misc]  # the harness has no types
    """A model and its tokenizer, answering the harness's three kinds of requests.

    A text is scored with all that comes before it in sight, however long, unless the model has learned
    positions; then it is cut into windows as the harness does for its own models.

    Args:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        batch_size: Requests that are computed together.
        seed: Seed of what is sampled, where a task asks for it.
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, *, batch_size: int = 16, seed: int = 0
    ) -> None:
        super().__init__()
        self.model, self.tokens, self.batch_size, self.seed = model, tokenizer, batch_size, seed

    @property
    def eot_token_id(self) -> int:
        """Return the token that stands before a text; the harness puts it where there is no context."""
        return self.tokens.prefix

    @property
    def tokenizer_name(self) -> str:
        """Return what identifies the tokenizer."""
        return self.tokens.name

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return the ids of a text; special ones are never added."""
        return self.tokens.encode(string)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-likelihood of each whole text."""
        windows: list[tuple[list[int], list[int]]] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            tokens = self.tokens.encode(request.args[0])
            longest = self.model.longest_input or max(len(tokens), 1)
            for window in get_rolling_token_windows(tokens, self.eot_token_id, longest, 1):
                windows.append(make_disjoint_window(window))
                owners.append(owner)
        totals = [0.0] * len(requests)
        scores = self._score(windows, disable_tqdm)
        for owner, (log_likelihood, _) in zip(owners, scores, strict=True):
            totals[owner] += log_likelihood
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return what the model goes on with after each context, up to a stop or the most tokens."""
        answers = [""] * len(requests)
        prompts = [self.tokens.encode(request.args[0]) or [self.eot_token_id] for request in requests]
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        batches = [
            batch
            for group in groups.values()
            for batch in self._batches(group, lambda number: len(prompts[number]))
        ]
        for batch in tqdm(batches, desc="generating", disable=disable_tqdm):
            settings = requests[batch[0]].args[1]
            made = self._generate([prompts[number] for number in batch], settings)
            for number, answer in zip(batch, made, strict=True):
                answers[number] = answer
                self.cache_hook.add_partial("generate_until", requests[number].args, answer)
        return answers

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        """Return each continuation's log-likelihood after its context, and whether it is the likeliest."""
        answers = self._score([request[1:] for request in requests], disable_tqdm)
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", request[0], answer)
        return answers

    def _score(
        self, pairs: Sequence[tuple[list[int], list[int]]], disable_tqdm: bool
    ) -> list[tuple[float, bool]]:
        """Score the second of each pair after the first, in batches of like length."""
        answers: list[tuple[float, bool]] = [(0.0, True)] * len(pairs)
        sequences = [self._cut(context + continuation) for context, continuation in pairs]
        batches = self._batches(range(len(pairs)), lambda number: len(sequences[number]))
        for batch in tqdm(batches, desc="scoring", disable=disable_tqdm):
            scores = score(self.model, [sequences[number] for number in batch])
            for number, (log_likelihood, greedy) in zip(batch, scores, strict=True):
                length = len(pairs[number][1])
                if length:
                    answers[number] = (
                        log_likelihood[-length:].sum().item(),
                        bool(greedy[-length:].all()),
                    )
        return answers

    def _cut(self, tokens: list[int]) -> torch.Tensor:
        """Return the last tokens that the model can take; the very last is only a target."""
        longest = self.model.longest_input
        return torch.tensor(tokens if longest is None else tokens[-(longest + 1) :])

    def _batches(self, numbers: Iterable[int], length: Callable[[int], int]) -> list[list[int]]:
        """Group numbers by length, longest first, so that a lack of memory shows at once."""
        ordered = sorted(numbers, key=length, reverse=True)
        return [ordered[start : start + self.batch_size] for start in range(0, len(ordered), self.batch_size)]

    def _generate(self, prompts: list[list[int]], settings: Mapping[str, Any]) -> list[str]:
        """Go on after prompts, with one task's settings, until each has met a stop."""
        most, until = _ends_of(settings)
        longest = self.model.longest_input
        if longest is not None and most > longest:
            raise UserError(
                f"max_gen_toks={most} is more than this model's {longest} positions: lower it in the task."
            )
        kept = slice(None) if longest is None else slice(-(longest - most + 1), None)
        generation = Generation(
            self.model,
            [torch.tensor(prompt[kept]) for prompt in prompts],
            sampling_of(settings),
            seed=self.seed,
        )
        made: list[list[int]] = [[] for _ in prompts]
        answers: list[str | None] = [None] * len(prompts)
        for step in range(most):
            for row, token in enumerate(next(generation).tolist()):
                if answers[row] is not None:
                    continue
                ended = token == self.tokens.end
                made[row] += [] if ended else [token]
                text = self.tokens.decode(made[row])
                stops = [text.index(stop) for stop in until if stop in text]
                if ended or stops or step + 1 == most:
                    answers[row] = text[: min(stops, default=None)]
            if None not in answers:
                break
        return [answer or "" for answer in answers]


def _ends_of(settings: Mapping[str, Any]) -> tuple[int, list[str]]:
    """Return the most tokens of an answer, and the texts that end it before.

    Raises:
        UserError: if a task says something else there.
    """
    most, until = settings.get("max_gen_toks", _MOST_TOKENS), settings.get("until") or []
    until = [until] if isinstance(until, str) else until
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise UserError(
            f"The task's generation_kwargs have max_gen_toks: {most}, which is no number above 0."
        )
    if not isinstance(until, list) or not all(isinstance(stop, str) and stop for stop in until):
        raise UserError(f"The task's generation_kwargs have until: {until}, which is no list of texts.")
    return most, until


def sampling_of(settings: Mapping[str, Any]) -> Sampling:
    """Return how a task's ``generation_kwargs`` draw tokens; greedily, unless ``do_sample`` is set.

    Raises:
        UserError: if there is a setting that we do not have.
    """
    unknown = settings.keys() - {*_SAMPLED, *_UNSAMPLED}
    if unknown:
        raise UserError(
            f"The task's generation_kwargs have {min(unknown)}, which seqsuite has not: it has "
            f"{', '.join(sorted({*_SAMPLED, *_UNSAMPLED}))}."
        )
    given = {key: settings[key] for key in _SAMPLED if settings.get(key) is not None}
    try:
        return Sampling(**{**given, **({} if settings.get("do_sample") else {"temperature": 0.0})})
    except ValueError as error:
        raise UserError(f"The task's generation_kwargs cannot be used: {error}.") from error
