"""A language model behind the face of mamba_ssm's ``MambaLMHeadModel``, for code that was written for it."""

from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from seqsuite.models.generation import Generation, check_weights
from seqsuite.models.pretrained import from_pretrained, save_pretrained
from seqsuite.models.sampling import Sampling
from seqsuite.models.sequence_model import LanguageModel


class CausalLMOutput(NamedTuple):
    """What the model returns.

    Attributes:
        logits: (B, L, V).
    """

    logits: Tensor


class MambaLMHeadModel(nn.Module):
    """Logits and generation as `mamba_ssm <https://github.com/state-spaces/mamba>`_'s class gives them.

    Args:
        model: The model behind it.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name: str | Path,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Load what :func:`~seqsuite.models.pretrained.from_pretrained` does, in evaluation mode.

        Args:
            pretrained_model_name: A folder, or a name on the Hugging Face hub.
            device: Where to.
            dtype: The weights'; float32 if not given.

        Raises:
            UserError: if there is no such model, it is damaged, or it has a layer that we have not.
        """
        return cls(from_pretrained(pretrained_model_name)).to(device=device, dtype=dtype).eval()

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the model in Hugging Face's format.

        Raises:
            UserError: if the folder cannot be written.
        """
        save_pretrained(self.model, Path(save_directory))

    def forward(
        self, input_ids: Tensor, position_ids: Tensor | None = None, num_last_tokens: int = 0
    ) -> CausalLMOutput:
        """Return logits (B, L, V) for token ids (B, L).

        Args:
            input_ids: Token ids (B, L).
            position_ids: Ignored, as there.
            num_last_tokens: If positive, only the last so many positions' logits are returned.
        """
        logits = self.model(input_ids)
        return CausalLMOutput(logits[:, -num_last_tokens:] if num_last_tokens > 0 else logits)

    def generate(
        self,
        input_ids: Tensor,
        max_length: int,
        top_k: int = 1,
        top_p: float = 0.0,
        temperature: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
    ) -> Tensor:
        """Return sequences (B, max_length): the prompts (B, L), and what the model goes on with.

        Args:
            input_ids: Token ids (B, L).
            max_length: Length of the whole, prompt included.
            top_k: Only the k most likely tokens are drawn: 1 takes the most likely, 0 is no limit.
            top_p: Only the most likely tokens with this probability together are drawn; 0 is no limit.
            temperature: Divides the logits.
            repetition_penalty: Divides the logits of tokens that the sequence has.
            seed: Of the draws; sequence b draws with ``seed + b``.

        Raises:
            UserError: if the weights are not finite.
            ValueError: if a setting is out of range.
        """
        check_weights(self.model)
        sampling = Sampling(
            repetition_penalty=repetition_penalty,
            temperature=temperature,
            top_k=top_k or None,
            top_p=top_p or 1.0,
        )
        wanted = max(max_length - input_ids.shape[1], 0)
        made = list(islice(Generation(self.model, input_ids, sampling, seed=seed), wanted))
        return torch.cat([input_ids, *(token.unsqueeze(1) for token in made)], dim=1)
