"""Shell completion of ``key=value`` arguments and of runs, for bash, zsh and fish.

Click's own classes do not know such arguments: bash cuts words at ``=``, zsh would put a space after
``task=``, and fish would cut answers at commas. The scripts hide errors, which would tear the prompt.
"""

import os
from collections.abc import Sequence

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from seqsuite.errors import UserError
from seqsuite.registry import did_you_mean

SHELLS = ("bash", "zsh", "fish")
COMPLETE_VARIABLE = "_SEQSUITE_COMPLETE"
"""Set by the shell scripts; the command line then answers with completions and does nothing else."""

_FIRST = ("task=", "model=", "scale=", "seed=", "task.", "model.", "train.", "run.")
_PATHS = ("task.path", "run.output")


def script(shell: str) -> str:
    """Return what a shell has to evaluate for completion, as in ``eval "$(seqsuite completion bash)"``.

    Raises:
        UserError: if the shell is not one of :data:`SHELLS`.
    """
    if shell not in SHELLS:
        raise UserError(
            f"Unknown shell {shell!r}: choose from {', '.join(SHELLS)}.{did_you_mean(shell, SHELLS)}"
        )
    return _CLASSES[shell](click.Command("seqsuite"), {}, "seqsuite", COMPLETE_VARIABLE).source()


def register() -> None:
    """Put this module's classes in place of Click's; to be called before Click answers a shell."""
    for name, completion in _CLASSES.items():
        add_completion_class(completion, name)


def complete_override(incomplete: str, given: Sequence[str] = ()) -> list[CompletionItem[str]]:
    """Return what a ``key=value`` argument can go on with, each item as the whole argument.

    Without a dot only the choices and the sections are offered (``task=``, ``train.``), after it the
    section's keys; after ``=`` the known values, also after a comma (``model=mamba,s4``).

    Args:
        incomplete: What is typed of the argument.
        given: The arguments before it: they say whose options ``task.`` and ``model.`` have.
    """
    key, equals, values = incomplete.partition("=")
    taken = {argument.partition("=")[0] for argument in given}
    if not equals and "." not in key:
        known = [name for name in _FIRST if name.startswith(key) and name.removesuffix("=") not in taken]
        return [CompletionItem(name) for name in known]
    if not equals:
        known = [name for name in _keys(key, given) if name.startswith(key) and name not in taken]
        return [CompletionItem(f"{name}=") for name in known]
    if key in _PATHS:
        return [CompletionItem(values, type="file")]
    done, comma, last = values.rpartition(",")
    chosen = done.split(",")
    return [
        CompletionItem(f"{key}={done}{comma}{value}")
        for value in _keys(key, given).get(key, [])
        if value.startswith(last) and value not in chosen
    ]


def complete_run(incomplete: str, experiment: str) -> list[CompletionItem[str]]:
    """Return the names of finished runs, newest first, and ``latest``; nothing if there is no store.

    Args:
        incomplete: What is typed of the name.
        experiment: MLflow experiment that the runs are in.
    """
    from seqsuite.experiments.tracking.reader import open_reader

    try:
        names = [run.name for run in open_reader(experiment).cells() if run.status == "FINISHED"]
    except UserError:
        return []
    known = dict.fromkeys(["latest", *names])
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


def complete_model(incomplete: str, experiment: str) -> list[CompletionItem[str]]:
    """Return the names of finished runs, or leave a folder to the shell; see :func:`complete_run`."""
    if "/" in incomplete or incomplete.startswith("."):
        return [CompletionItem(incomplete, type="dir")]
    return complete_run(incomplete, experiment)


def _keys(key: str, given: Sequence[str]) -> dict[str, list[str]]:
    """Return the keys that can be set and their values."""
    from seqsuite.experiments.config.resolve import override_keys
    from seqsuite.models.presets import sizes

    if key == "model.size":
        return {key: list(sizes(_single(given, "model") or "mamba"))}
    try:
        return override_keys(_single(given, "task"), _single(given, "model") or "mamba")
    except UserError:  # a name before this argument is wrong, which its own error will say
        return override_keys(None, None)


def _single(given: Sequence[str], key: str) -> str | None:
    """Return the value of a key that is given once and is not several."""
    values = [argument.partition("=")[2] for argument in given if argument.startswith(f"{key}=")]
    return values[0] if len(values) == 1 and "," not in values[0] else None


class _Bash(BashComplete):
    """Completion in bash by the whole line.

    Bash cuts words at the characters of ``COMP_WORDBREAKS`` and replaces only the last piece, so an answer
    must leave out what stands before it. The space after a finished argument is part of the answer.
    """

    source_template = """\
%(complete_func)s() {
    local line IFS=$'\\n'
    COMPREPLY=()
    while read -r line; do
        if [[ $line == file ]]; then
            compopt -o default +o nospace
        else
            COMPREPLY+=("$line")
        fi
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nospace -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's, and what of the latter stands before the cursor."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        self._cut = 1 + max(incomplete.rfind(mark) for mark in os.environ["COMP_WORDBREAKS"])
        self._incomplete = incomplete
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return the answer's line: the word's last piece, or a mark that bash should look for files."""
        if item.type in ("file", "dir"):
            return "file"
        # Values of --option=value come without the part before them.
        value = item.value
        if value.startswith(self._incomplete[: self._cut]):
            value = value[self._cut :]
        return value if item.value.endswith(("=", ".")) else f"{value} "


class _Zsh(ZshComplete):
    """Completion in zsh, with a space only after what is finished."""

    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local type value help
    local -a finished open
    (( ! $+commands[%(prog_name)s] )) && return 1
    while IFS= read -r type && IFS= read -r value && IFS= read -r help; do
        if [[ $type == file || $type == dir ]]; then
            compset -P '*='
            _files
        elif [[ $value == *[=.] ]]; then
            open+=("$value")
        else
            finished+=("$value")
        fi
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
%(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)
    (( $#open )) && compadd -S '' -a open
    (( $#finished )) && compadd -a finished
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


class _Fish(FishComplete):
    """Completion in fish, with commas and paths in values."""

    source_template = """\
function %(complete_func)s
    set -l token (commandline -t)
    set -l key (string match -r '^[^=]*=' -- $token)
    for answer in (env COMP_WORDS=(commandline -cp | string collect) COMP_CWORD=$token \
%(complete_var)s=fish_complete %(prog_name)s 2>/dev/null)
        set -l parts (string split --max 1 ',' -- $answer)
        if contains $parts[1] file dir
            for path in (__fish_complete_path (string replace -r '^[^=]*=' '' -- $token))
                echo $key$path
            end
        else
            echo $parts[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


_CLASSES: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}
