"""Tokenizers beside models: the files to take along, and the one for models whose tokens are bytes."""

import json
import shutil
from pathlib import Path

from seqsuite.models.formats.files import check_inside

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "generation_config.json",
)
"""Files that Hugging Face's tools keep beside a model and that say nothing of its layers."""


def copy_files(source: Path, destination: Path) -> None:
    """Copy the tokenizer's files, as many as there are, from one folder to another.

    Raises:
        UserError: if one is a link out of its folder.
    """
    found = [source / name for name in FILES if (source / name).is_file()]
    for path in found:
        check_inside(source, path)
    for path in found:
        shutil.copyfile(path, destination / path.name)


def write_byte_tokenizer(folder: Path) -> None:
    """Write a tokenizer that ``transformers`` loads and whose ids are the bytes of UTF-8 text.

    It is a byte-level BPE without merges. Such a vocabulary writes each byte as one printable character:
    those that are printable in Latin-1 as themselves, the others, in order, as the characters from U+0100 on
    (`GPT-2's encoder <https://github.com/openai/gpt-2/blob/master/src/encoder.py>`_).
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)}
    others = iter(range(256, 512))
    vocabulary = {chr(byte if byte in printable else next(others)): byte for byte in range(256)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
