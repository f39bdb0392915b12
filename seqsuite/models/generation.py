"""Generation token by token, from an explicit state."""

from collections.abc import Iterator

import torch
from torch import Tensor

from seqsuite.models.backbone import BackboneState, LanguageModel
from seqsuite.models.decoding import make_decoder


def sample(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw token ids (B,) from logits (B, V); a temperature of 0 takes the most likely one."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompt: Tensor,
    length: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    state: BackboneState | None = None,
) -> Iterator[Tensor]:
    """Yield ``length`` tokens (B,), one at a time, after a prompt (B, L) with L ≥ 1.

    Memory is that of the model's state: constant in length for recurrent mixers, growing for attention.

    Args:
        model: The model, in evaluation mode.
        prompt: Token ids to start from.
        length: How many tokens to generate.
        temperature: Sharpness: 0 is greedy, 1 samples the model's own distribution.
        generator: Source of randomness; torch's global one if not given.
        state: State to continue from; a fresh one if not given.
    """
    logits, state = model.prefill(prompt, state or model.initial_state(prompt.shape[0]))
    logits, decoder = logits[:, -1], make_decoder(model, state)
    for index in range(length):
        token = sample(logits, temperature, generator)
        yield token
        if index + 1 < length:
            logits = decoder.step(token)
