"""``.ci/run`` as it is called, where something that it needs is missing."""

import shutil
import subprocess
from pathlib import Path

RUN = Path(__file__).parents[1] / ".ci/run"


def test_that_pages_are_not_tested_is_said(tmp_path: Path) -> None:
    """Without a browser their tests are skipped, and all would seem well."""
    bash, dirname = shutil.which("bash"), shutil.which("dirname")
    assert bash is not None
    assert dirname is not None
    (tmp_path / "dirname").symlink_to(dirname)
    ended = subprocess.run([bash, RUN], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert ended.returncode != 0  # there is no make either
    assert ended.stderr.startswith("chromium could not be installed: the tests of pages are skipped.")
