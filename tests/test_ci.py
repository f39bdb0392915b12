"""``.ci/run`` as it is called, where something that it needs is missing."""

import shutil
import subprocess
from pathlib import Path

RUN = Path(__file__).parents[1] / ".ci/run"


def test_without_a_browser_nothing_passes(tmp_path: Path) -> None:
    """Tests of pages would be skipped, and all would seem well."""
    bash, dirname = shutil.which("bash"), shutil.which("dirname")
    assert bash is not None
    assert dirname is not None
    (tmp_path / "dirname").symlink_to(dirname)
    ended = subprocess.run([bash, RUN], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("chromium is not installed")
