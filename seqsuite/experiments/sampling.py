"""Samples from a trained model, in the task's own format."""

from collections.abc import Iterator
from pathlib import Path

import torch

from seqsuite.models.backbone import LanguageModel
from seqsuite.models.generation import generate
from seqsuite.tasks.base import Task


def sample_tokens(
    model: LanguageModel, task: Task, length: int, *, temperature: float = 1.0, seed: int = 0
) -> Iterator[int]:
    """Yield the task's prompt and then ``length`` generated tokens, on the model's device."""
    device = model.embedding.weight.device
    prompt = torch.from_numpy(task.prompt()).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    yield from prompt.tolist()
    for token in generate(model, prompt.unsqueeze(0), length, temperature=temperature, generator=generator):
        yield int(token)


def write_sample(model: LanguageModel, task: Task, length: int, path: Path, *, seed: int = 0) -> list[int]:
    """Write a sample of at most ``length`` generated tokens, after the task's prompt, to ``path``.

    It is shorter where the model has learned positions for fewer.

    Returns:
        The generated tokens, without the prompt.
    """
    if model.longest_input is not None:
        length = min(length, model.longest_input - len(task.prompt()))
    tokens = list(sample_tokens(model, task, length, seed=seed))
    task.render(tokens, path)
    return tokens[-length:]
