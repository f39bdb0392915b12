"""Fetching, against a server on loopback that misbehaves as servers and networks do."""

import errno
import hashlib
import io
import shutil
import tarfile
import threading
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from seqsuite.errors import UserError
from seqsuite.tasks.prepare import download as module
from seqsuite.tasks.prepare.download import download
from seqsuite.tasks.prepare.fetch import data_folder, fetch, is_present
from seqsuite.tasks.prepare.manifest import damaged_files
from seqsuite.tasks.prepare.recipes import Division, Recipe, RemoteFile, find_recipe, recipes

CONTENT = bytes(range(256)) * 8_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``content``; cuts the connection after ``cuts.pop(0)`` bytes of an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.status, self.tag = CONTENT, list[int](), 200, '"one"'
        self.asked: list[str | None] = []
        self.served = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        assert self.headers["User-Agent"].startswith("seqsuite/")
        start = 0
        if wanted and self.headers.get("If-Range") == server.tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.content) and wanted:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(server.status if server.status != 200 else 206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", server.tag)
        self.end_headers()
        if server.status == 200:
            sent = body[: server.cuts.pop(0)] if server.cuts else body
            self.wfile.write(sent)
            server.served += len(sent)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def get(server: Server, folder: Path, sha256: str | None = DIGEST) -> Path:
    return download(RemoteFile(server.url, sha256=sha256), folder, lambda *_: None, pause=0)


def test_a_file_arrives_whole_and_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    path = download(
        RemoteFile(server.url, sha256=DIGEST), tmp_path, lambda *state: seen.append(state), pause=0
    )
    assert path.read_bytes() == CONTENT
    assert [item.name for item in tmp_path.iterdir()] == ["data.bin"]
    assert seen[-1] == ("data.bin", len(CONTENT), len(CONTENT))
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_cut_connections_are_taken_up_where_they_broke(server: Server, tmp_path: Path) -> None:
    server.cuts = [600_000, 500_000]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.served - len(CONTENT) < 2 * module.BLOCK  # what a cut costs at most
    assert len(server.asked) == 3


def test_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.cuts = [1_100_000, 0, 0, 0]
    with pytest.raises(UserError, match=r"1\.\d MB have arrived and are kept: run the command again"):
        get(server, tmp_path)
    assert not (tmp_path / "data.bin").exists()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.served - len(CONTENT) < module.BLOCK


def test_what_was_whole_when_the_power_went_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    (tmp_path / "data.bin.part.json").write_text('{"version": "\\"one\\""}')
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.served == 0


@pytest.mark.parametrize("beginning", [b"x" * 1000, b"x" * 3_000_000])
def test_the_beginning_of_another_version_is_dropped(
    server: Server, tmp_path: Path, beginning: bytes
) -> None:
    (tmp_path / "data.bin.part").write_bytes(beginning)
    (tmp_path / "data.bin.part.json").write_text('{"version": "\\"zero\\""}')
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_beginning_of_unknown_version_is_dropped(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has not the checksum it should have"):
        get(server, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, r"refuses it \(403\)"), (404, r"no such file \(404\)"), (500, "answers 500")],
)
def test_refusals_are_one_sentence(server: Server, tmp_path: Path, status: int, message: str) -> None:
    server.status = status
    with pytest.raises(UserError, match=message):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="no connection to the server"):
        download(RemoteFile("http://127.0.0.1:9/data.bin"), tmp_path, lambda *_: None, pause=0)
    with pytest.raises(UserError, match="cannot be fetched"):
        download(RemoteFile("nonsense://x/data.bin"), tmp_path, lambda *_: None, pause=0)


def test_proxies_of_the_environment_are_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/data.bin"))
    file = RemoteFile("http://data.example/data.bin", sha256=DIGEST)
    assert download(file, tmp_path, lambda *_: None, pause=0).read_bytes() == CONTENT


def test_too_little_space_is_said_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1_000_000))
    with pytest.raises(UserError, match=r"data\.bin needs 2\.0 MB more, .* 1\.0 MB free"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_has_arrived(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full(io.FileIO):
        def write(self, block: Any, /) -> int:
            if self.tell() > 300_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(block)

    def full(path: Path, mode: str = "r", **options: Any) -> object:
        return Full(path, mode) if path.suffix == ".part" else real(path, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(
            UserError, match=r"No space left on device; 0\.3 MB have arrived.*free some space"
        ):
            get(server, tmp_path)
    assert not (tmp_path / "data.bin").exists()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={5 * module.BLOCK}-"


def recipe(server: Server, unpack: Literal["zip", "tar"] | None = None) -> Recipe:
    digest = hashlib.sha256(server.content).hexdigest()
    file = RemoteFile(server.url, sha256=digest, unpack=unpack)
    return Recipe("tiny", "A tiny set", "text", "none", "http://127.0.0.1", (file,), ".")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQSUITE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def packed(kind: str, names: list[str]) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = len(name)
                tar.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_are_unpacked_and_the_set_declared_whole(server: Server, root: Path, kind: str) -> None:
    server.content = packed(kind, ["a/b.txt", "c.txt"])
    tiny = recipe(server, kind)
    assert not is_present(tiny)
    folder = fetch(tiny, lambda *_: None, pause=0)
    assert folder == root / "tiny"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "b.txt",
        "c.txt",
        "manifest.json",
    ]
    assert is_present(tiny)
    fetch(tiny, lambda *_: None, pause=0)
    assert len(server.asked) == 1
    assert damaged_files(folder) == []
    (folder / "c.txt").write_text("C.txt")
    assert damaged_files(folder) == ["c.txt"]
    (folder / "c.txt").unlink()
    assert not is_present(tiny)


def divided(server: Server) -> Recipe:
    """An archive of a file of 100 bytes, which are divided 90, 5 and 5."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("whole", bytes(range(1, 101)))
    server.content = buffer.getvalue()
    return replace(recipe(server, "zip"), path="splits", division=Division("whole", "splits", 90, 5, 5))


def split_files(folder: Path) -> list[bytes]:
    return [(folder / "splits" / f"{split}.txt").read_bytes() for split in ("train", "validation", "test")]


def test_a_set_that_is_one_file_is_divided_as_its_field_has_it(server: Server, root: Path) -> None:
    tiny = divided(server)
    folder = fetch(tiny, lambda *_: None, pause=0)
    assert split_files(folder) == [bytes(range(1, 91)), bytes(range(91, 96)), bytes(range(96, 101))]
    assert is_present(tiny)
    assert damaged_files(folder) == []
    (folder / "splits" / "test.txt").write_bytes(b"cut")
    assert not is_present(tiny)


def test_a_set_from_before_it_was_divided_is_divided_without_another_download(
    server: Server, root: Path
) -> None:
    tiny = divided(server)
    folder = fetch(replace(tiny, division=None), lambda *_: None, pause=0)
    assert not is_present(tiny)
    fetch(tiny, lambda *_: None, pause=0)
    assert [len(part) for part in split_files(folder)] == [90, 5, 5]
    assert is_present(tiny)
    assert len(server.asked) == 1


def test_a_damaged_set_from_before_it_was_divided_is_fetched_again(server: Server, root: Path) -> None:
    tiny = divided(server)
    folder = fetch(replace(tiny, division=None), lambda *_: None, pause=0)
    (folder / "whole").write_bytes(bytes(100))
    fetch(tiny, lambda *_: None, pause=0)
    assert split_files(folder)[1] == bytes(range(91, 96))


def test_a_file_of_another_size_than_declared_is_not_divided(server: Server, root: Path) -> None:
    tiny = replace(divided(server), division=Division("whole", "splits", 90, 5, 6))
    with pytest.raises(UserError, match="has 100 bytes where its recipe divides 101 into splits"):
        fetch(tiny, lambda *_: None, pause=0)
    assert not is_present(tiny)
    assert not (data_folder(tiny) / "splits").exists()


@pytest.mark.parametrize("name", ["enwik8", "text8"])
def test_hundred_million_bytes_are_divided_as_publications_do(name: str) -> None:
    division = find_recipe(name).division
    assert division is not None
    assert division.file == name
    assert list(division.sizes.values()) == [90_000_000, 5_000_000, 5_000_000]


def test_of_two_at_once_one_waits(server: Server, root: Path) -> None:
    tiny = recipe(server)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: fetch(tiny, lambda *_: None, pause=0), range(2)))
    assert folders == [root / "tiny"] * 2
    assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_broken_archive_is_one_sentence(server: Server, root: Path, kind: str) -> None:
    server.content = packed(kind, [f"{number}.txt" for number in range(50)])[:-400]
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(recipe(server, kind), lambda *_: None, pause=0)
    assert not is_present(recipe(server, kind))


def test_a_damaged_member_of_an_archive_is_one_sentence(server: Server, root: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", CONTENT)
    broken = bytearray(buffer.getvalue())
    broken[40:60] = bytes(20)
    server.content = bytes(broken)
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch(recipe(server, "zip"), lambda *_: None, pause=0)
    assert not is_present(recipe(server, "zip"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_write_nothing_outside_their_folder(server: Server, root: Path, kind: str) -> None:
    server.content = packed(kind, ["../../escaped.txt", "good.txt"])
    tiny = recipe(server, kind)
    if kind == "tar":
        with pytest.raises(UserError, match="cannot be unpacked"):
            fetch(tiny, lambda *_: None, pause=0)
    else:
        fetch(tiny, lambda *_: None, pause=0)
    assert not (root.parent / "escaped.txt").exists()
    assert not (root / "escaped.txt").exists()


def test_every_recipe_is_complete() -> None:
    assert {"hg38", "wikitext103", "enwik8", "text8", "youtubemix", "sc09", "maestro"} <= set(recipes())
    for known in recipes().values():
        assert known.summary
        assert known.licence
        assert known.homepage.startswith("http")
        for file in known.files:
            assert file.url.startswith("http")
            assert file.name
            assert file.sha256 is None or len(file.sha256) == 64
    with pytest.raises(UserError, match="Did you mean 'hg38'"):
        find_recipe("hg37")
    assert data_folder(find_recipe("hg38")).name == "hg38"


def test_a_cut_connection_is_tried_four_times_and_each_pause_is_twice_as_long(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    server.cuts = [1_000] * 3  # less than is written at once
    file = RemoteFile(server.url, sha256=DIGEST)
    assert download(file, tmp_path / "a", lambda *_: None, pause=0.5).read_bytes() == CONTENT
    assert len(server.asked) == 4
    assert waited == [0.5, 1.0, 2.0]
    server.cuts = [1_000] * 4
    with pytest.raises(UserError, match=r"\(the connection was cut\); 0\.0 MB have arrived"):
        download(file, tmp_path / "b", lambda *_: None, pause=0)
    assert len(server.asked) == 8


@pytest.mark.parametrize("short", [0, 1])
def test_64_mib_of_the_disk_are_left_free(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    free = len(CONTENT) + 2**26 - short
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, free))
    if short:
        with pytest.raises(UserError, match=r"needs 2\.0 MB more"):
            get(server, tmp_path)
    else:
        assert get(server, tmp_path).read_bytes() == CONTENT
