"""From a recipe to a folder of data: fetched, unpacked, and declared whole by its manifest."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from seqsuite.errors import UserError
from seqsuite.tasks.prepare.download import Progress, download
from seqsuite.tasks.prepare.manifest import damaged_files, read_manifest, write_manifest
from seqsuite.tasks.prepare.recipes import Division, Recipe, data_root
from seqsuite.tasks.prepare.streaming import is_streamed, stream_set
from seqsuite.tasks.sources.compression import BROKEN_ARCHIVE
from seqsuite.tasks.sources.files import reason_of

_BLOCK = 1 << 20  # bytes that are copied at once


def data_folder(recipe: Recipe) -> Path:
    """Return where a data set lies, or would."""
    return data_root() / recipe.name


def is_present(recipe: Recipe) -> bool:
    """Return whether a data set is there, whole and divided as its recipe has it."""
    manifest = read_manifest(data_folder(recipe))
    if manifest is None or recipe.division is None:
        return manifest is not None
    listed = {name: facts["size"] for name, facts in manifest["files"].items()}
    return recipe.division.sizes.items() <= listed.items()


def is_enough(recipe: Recipe, wanted: int | None) -> bool:
    """Return whether a data set is there; of one that is streamed, as many bytes of text as are wanted."""
    if recipe.stream is None:
        return is_present(recipe)
    return is_streamed(data_folder(recipe), wanted or recipe.stream.bytes)


def fetch(recipe: Recipe, progress: Progress, *, wanted: int | None = None, pause: float = 1.0) -> Path:
    """Fetch a data set, if it is not there, and return its folder.

    Args:
        recipe: Which.
        progress: Told how far it is.
        wanted: Bytes of text of a set that is streamed; by default the recipe's.
        pause: Seconds before a cut connection is taken up again.

    Raises:
        UserError: if a file cannot be fetched, written or unpacked; what has arrived of it is kept.
    """
    from filelock import FileLock

    folder = data_folder(recipe)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{recipe.name}.lock")):  # of two at once, one waits
            if is_enough(recipe, wanted):
                return folder
            if recipe.stream is not None:
                stream_set(recipe, folder, wanted or recipe.stream.bytes, progress)
            else:
                _fetch_all(recipe, folder, progress, pause)
    except OSError as error:
        raise UserError(f"{str(folder)!r} cannot be written: {reason_of(error)}.") from error
    return folder


def _fetch_all(recipe: Recipe, folder: Path, progress: Progress, pause: float) -> None:
    division = recipe.division
    files: list[Path] = []
    archives: list[Path] = []
    if division is not None and _is_undivided(division, folder):
        files.append(folder / division.file)
    else:
        files, archives = _arrive(recipe, folder, progress, pause)
    if division is not None:
        files += _divide(division, folder)
    names = [str(file.relative_to(folder)) for file in files]
    write_manifest(folder, names, {"name": recipe.name, "sources": [file.url for file in recipe.files]})
    for archive in archives:
        archive.unlink()


def _arrive(recipe: Recipe, folder: Path, progress: Progress, pause: float) -> tuple[list[Path], list[Path]]:
    """Fetch and unpack all files; return them, and the archives that they were in."""
    files: list[Path] = []
    archives: list[Path] = []
    for remote in recipe.files:
        path = download(remote, folder, progress, pause=pause)
        if remote.unpack is None:
            files.append(path)
        else:
            files += _unpack(path, remote.unpack, folder)
            archives.append(path)
    return files, archives


def _is_undivided(division: Division, folder: Path) -> bool:
    """Return whether the one file is there, undamaged, from when the set was not divided yet."""
    manifest = read_manifest(folder)
    return manifest is not None and list(manifest["files"]) == [division.file] and not damaged_files(folder)


def _divide(division: Division, folder: Path) -> list[Path]:
    """Write the file of each split and return them.

    Raises:
        UserError: if the file is missing or has another size than the splits in all, or the disk is full.
    """
    whole, total = folder / division.file, sum(division.sizes.values())
    size = whole.stat().st_size if whole.is_file() else 0
    if size != total:
        raise UserError(
            f"{str(whole)!r} has {size:,} bytes where its recipe divides {total:,} into splits: it is not "
            "the file that others have; remove the folder and fetch it again."
        )
    _require_space(total, folder)
    with whole.open("rb") as source:
        for name, left in division.sizes.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as part:
                while left:
                    left -= part.write(source.read(min(left, _BLOCK)))
    return [folder / name for name in division.sizes]


def _unpack(packed: Path, kind: str, folder: Path) -> list[Path]:
    """Unpack an archive into ``folder`` and return the files that were in it.

    Raises:
        UserError: if it is damaged, has files that would lie elsewhere, or does not fit on the disk.
    """
    partial = folder / f"{packed.name}.unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    extract: Callable[[Path, Path], None] = _extract_zip if kind == "zip" else _extract_tar
    try:
        extract(packed, partial)
    except (tarfile.TarError, *BROKEN_ARCHIVE) as error:
        raise UserError(f"The archive {str(packed)!r} cannot be unpacked: {reason_of(error)}.") from error
    files = []
    for item in sorted(partial.rglob("*")):
        if item.is_file():
            target = folder / item.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            item.replace(target)
            files.append(target)
    shutil.rmtree(partial)
    return files


def _extract_zip(packed: Path, folder: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        _require_space(sum(item.file_size for item in archive.infolist()), folder)
        archive.extractall(folder)


def _extract_tar(packed: Path, folder: Path) -> None:
    with tarfile.open(packed) as archive:
        _require_space(sum(item.size for item in archive), folder)
        archive.extractall(folder, filter="data")


def _require_space(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"The data needs {needed / 1e6:.0f} MB when unpacked, and {str(folder)!r} has {free / 1e6:.0f} "
            "MB free: free some space, or choose another place by SEQSUITE_DATA."
        )
