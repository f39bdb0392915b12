"""The sample of a finished cell, in the task's own format."""

from pathlib import Path

import torch

from seqsuite.models.generation import generate
from seqsuite.models.sequence_model import LanguageModel
from seqsuite.tasks.base import Task


def write_sample(model: LanguageModel, task: Task, length: int, path: Path, *, seed: int = 0) -> list[int]:
    """Write a sample of at most ``length`` generated tokens, after the task's prompt, to ``path``.

    It is shorter where the model has learned positions for fewer.

    Returns:
        The generated tokens, without the prompt.
    """
    prompt = task.prompt()
    if model.longest_input is not None:
        length = min(length, model.longest_input - len(prompt))
    tokens = [int(token) for token in generate(model, [torch.from_numpy(prompt)], length, seed=seed)]
    task.render([*prompt.tolist(), *tokens], path)
    return tokens
