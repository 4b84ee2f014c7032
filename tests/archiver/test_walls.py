"""Each wall by itself, in a process of its own: what it takes away is gone, for threads and children, too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.walls import require_walls
from shared.errors import Misconfigured

BEGIN = (
    "import os, socket, subprocess, sys, threading\nfrom pathlib import Path\nfrom archiver import walls\n"
)
ROOT = Path(__file__).parents[2]


def run(code: str, *arguments: object) -> tuple[int, str]:
    """Exit code and output of a process that runs this behind the imports."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may read, with a file in it."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "file").write_text("content")
        yield Path(name)
        assert (Path(name) / "file").read_text() == "content"
        assert [path.name for path in Path(name).iterdir()] == ["file"]


WRITES = {
    "create": "open(folder / 'new', 'w')",
    "overwrite": "open(folder / 'file', 'w')",
    "append": "open(folder / 'file', 'a')",
    "truncate": "os.truncate(folder / 'file', 0)",
    "open with O_TRUNC": "os.open(folder / 'file', os.O_RDONLY | os.O_TRUNC)",
    "remove": "os.unlink(folder / 'file')",
    "rename": "os.rename(folder / 'file', folder / 'other')",
    "link": "os.link(folder / 'file', folder / 'other')",
    "symlink": "os.symlink('a', folder / 'other')",
    "folder": "os.mkdir(folder / 'other')",
    "fifo": "os.mkfifo(folder / 'other')",
    "elsewhere": "open('/tmp/parley-walls-evil', 'w')",
    "in a thread": "t = threading.Thread(target=attempt); t.start(); t.join(); sys.exit(found)",
    "in a child": "subprocess.run(['sh', '-c', f'echo x > {folder}/new'], check=True)",
}
ATTEMPT = """
folder = Path(sys.argv[1])
found = 7
def attempt():
    global found
    try: open(folder / 'new', 'w')
    except PermissionError: found = 0
"""


@pytest.mark.parametrize("write", WRITES)
def test_nothing_can_be_written(folder: Path, write: str) -> None:
    """After `confine` there is no way to change a file, in the folder that may be read or elsewhere."""
    reads = "assert walls.confine([folder])\nassert (folder / 'file').read_text() == 'content'\n"
    code = ATTEMPT + reads + WRITES[write]
    if write == "in a child":
        code = code.replace("[folder]", "[Path('/')]")
    status, said = run(code, folder)
    if write == "in a thread":
        assert status == 0, said
    else:
        assert status == 1
        assert "PermissionError" in said or "CalledProcessError" in said, said


def test_nothing_else_can_be_read(folder: Path) -> None:
    """Only what was named; a second call can only take away."""
    code = "folder = Path(sys.argv[1])\nwalls.confine([folder])\nwalls.confine([Path('/')])\n"
    status, said = run(code + "(folder / 'file').read_text()\nopen('/etc/passwd')", folder)
    assert status == 1
    assert "PermissionError: [Errno 13] Permission denied: '/etc/passwd'" in said


def test_nobody_can_be_called(folder: Path) -> None:
    """No connection leaves the process, not even to this machine."""
    code = "walls.confine([Path(sys.argv[1])])\nsocket.create_connection(('127.0.0.1', 9))"
    status, said = run(code, folder)
    assert status == 1
    assert "PermissionError" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_nobody(folder: Path, tmp_path: Path) -> None:
    """For good, if the archive can be read then; else it stays who it is, and other walls must hold."""
    code = (
        "can = walls.can_become_nobody(Path(sys.argv[1]))\n"
        "if can: walls.become_nobody()\n"
        "print(can, os.getuid(), os.geteuid(), os.getgroups())\n"
    )
    back = "try: os.setuid(0); print('root again')\nexcept PermissionError: print('never')\n"
    writes = "try: open(sys.argv[1], 'w'); print('written')\nexcept PermissionError: print('refused')"
    assert run(code + back + writes, folder / "file") == (0, "True 65534 65534 []\nnever\nrefused\n")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    (private / "file").touch()
    assert run(code, private / "file")[1].startswith("False 0 0 ")


def test_memory_files_and_time_end() -> None:
    """What is above a limit fails, or ends the process."""
    limits = "walls.limit(memory_bytes=10**9, cpu_s=1)\n"
    assert "MemoryError" in run(limits + "bytearray(2 * 10**9)")[1]
    assert run(limits + "while True: pass")[0] == -24
    assert "PermissionError" not in run(limits)[1]


def test_it_ends_with_its_parent() -> None:
    """Whoever is killed takes its sandboxes with it; one that is orphaned already ends at once."""
    assert run("walls.die_with(os.getppid())\nprint('lives')") == (0, "lives\n")
    assert run("walls.die_with(1 if os.getppid() != 1 else 2)\nprint('lives')")[0] == -9


def test_without_a_wall_nothing_runs() -> None:
    """Where neither Landlock nor another user keeps it from writing, only a setting lets it run."""
    with pytest.raises(Misconfigured, match="PARLEY_SQL_UNCONFINED"):
        require_walls(confined=False, can_be_nobody=False, unconfined_allowed=False)
    require_walls(confined=True, can_be_nobody=False, unconfined_allowed=False)
    require_walls(confined=False, can_be_nobody=True, unconfined_allowed=False)
    require_walls(confined=False, can_be_nobody=False, unconfined_allowed=True)
