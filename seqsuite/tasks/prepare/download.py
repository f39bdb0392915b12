"""Fetching a public file: checked, resumable, and never half a file taken for a whole one."""

import errno
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from seqsuite import __version__
from seqsuite.errors import UserError
from seqsuite.tasks.prepare.manifest import replace_text
from seqsuite.tasks.prepare.recipes import RemoteFile
from seqsuite.tasks.sources.files import reason_of

Progress = Callable[[str, int, int | None], None]
"""Is called with the file's name, the bytes there are and the bytes in all, if they are known."""

BLOCK = 1 << 16
_TRIES = 4  # times that a cut connection is taken up again
_TIMEOUT = 60.0  # seconds without a byte
_SPARE = 1 << 26  # bytes of the disk to leave free


@dataclass
class RangeDownloader:
    """A downloader for pooch that goes on where an earlier one was cut.

    What has arrived lies in ``partial``; beside it, which version of the file it is of. Proxies are those of
    the environment (``HTTPS_PROXY``).

    Args:
        file: What to fetch.
        partial: Where to keep what has arrived.
        progress: Told how far it is.
        pause: Seconds before the first new try; each next one waits twice as long.
    """

    file: RemoteFile
    partial: Path
    progress: Progress
    pause: float = 1.0

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch ``url`` and move it to ``output_file``; the signature is pooch's.

        Raises:
            UserError: if it cannot be fetched or written; what has arrived is kept.
        """
        import requests

        for attempt in range(_TRIES):
            try:
                self._fetch(url)
                break
            except (
                requests.ConnectionError,
                requests.Timeout,
                requests.exceptions.ChunkedEncodingError,
            ) as error:
                if attempt == _TRIES - 1:
                    raise UserError(
                        f"{url} cannot be fetched ({_reason(error)}); {self._arrived()}: "
                        "run the command again to go on."
                    ) from error
                time.sleep(self.pause * 2**attempt)
            except requests.RequestException as error:
                raise UserError(f"{url} cannot be fetched: {_reason(error)}.") from error
            except OSError as error:
                advice = (
                    "free some space" if error.errno == errno.ENOSPC else "choose another by SEQSUITE_DATA"
                )
                raise UserError(
                    f"{str(self.partial.parent)!r} cannot be written: {reason_of(error)}; {self._arrived()}; "
                    f"{advice} and run the command again to go on."
                ) from error
        os.replace(self.partial, output_file)
        self._version_file.unlink(missing_ok=True)

    @property
    def _version_file(self) -> Path:
        return self.partial.with_name(self.partial.name + ".json")

    def _fetch(self, url: str) -> None:
        """Take up the file where it was cut, or begin it; return when it is whole."""
        import requests

        have = self.partial.stat().st_size if self.partial.is_file() else 0
        version = self._version()
        if have and not version:  # nothing says that the server still has the same file
            have = 0
        headers = {"User-Agent": f"seqsuite/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return  # it was whole already
                self.partial.unlink()
                raise requests.ConnectionError("the server has another version of the file")
            _require_success(url, response.status_code)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                have = 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length is not None else self.file.size
            self._require_space((total or 0) - have)
            self._remember(response.headers)
            with self.partial.open("ab" if have else "wb") as handle:
                for block in response.iter_content(BLOCK):
                    handle.write(block)
                    have += len(block)
                    self.progress(self.file.name, have, total)
                handle.flush()
                os.fsync(handle.fileno())
        if total is not None and have < total:
            raise requests.ConnectionError(f"the connection was cut after {have} of {total} bytes")

    def _version(self) -> str:
        """Return by which mark the server will know whether the file is still the same."""
        try:
            return str(json.loads(self._version_file.read_text(encoding="utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _remember(self, headers: Mapping[str, str]) -> None:
        tag = headers.get("ETag", "")
        version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
        replace_text(self._version_file, json.dumps({"version": version}))

    def _require_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.partial.parent).free
        if needed + _SPARE > free:
            raise UserError(
                f"{self.file.name} needs {_megabytes(needed)} more, and {str(self.partial.parent)!r} has "
                f"{_megabytes(free)} free: free some space, or choose another place by SEQSUITE_DATA."
            )

    def _arrived(self) -> str:
        size = self.partial.stat().st_size if self.partial.is_file() else 0
        return f"{_megabytes(size)} have arrived and are kept"


def download(file: RemoteFile, folder: Path, progress: Progress, *, pause: float = 1.0) -> Path:
    """Fetch a file into ``folder``, where it appears only when it is whole and its checksum is right.

    Args:
        file: What to fetch. One that is there with the right checksum is not fetched again.
        folder: Where to.
        progress: Told how far it is.
        pause: Seconds before a cut connection is taken up again.

    Raises:
        UserError: if it cannot be fetched or written, or has another checksum.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    downloader = RangeDownloader(file, folder / f"{file.name}.part", progress, pause)
    try:
        path = pooch.retrieve(
            file.url,
            known_hash=file.sha256 and f"sha256:{file.sha256}",
            fname=file.name,
            path=folder,
            downloader=downloader,
        )
    except ValueError as error:  # pooch's word for a wrong checksum; it has removed the file
        raise UserError(
            f"{file.url} has not the checksum it should have, so it is not kept: either it has changed or "
            "it was damaged on its way; try again, and if that does not help its recipe is out of date."
        ) from error
    return Path(path)


def _require_success(url: str, status: int) -> None:
    reasons = {
        HTTPStatus.FORBIDDEN: "the server refuses it (403): it may want you to accept terms on its page",
        HTTPStatus.NOT_FOUND: "the server has no such file (404): it may have moved",
    }
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        reason = reasons.get(HTTPStatus(status)) if status in list(HTTPStatus) else None
        raise UserError(f"{url} cannot be fetched: {reason or f'the server answers {status}'}.")


def _reason(error: Exception) -> str:
    text = str(error)
    if "resolve" in text or "Connection refused" in text or "unreachable" in text:
        return "no connection to the server"
    return "the server is silent" if "timed out" in text else "the connection was cut"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
