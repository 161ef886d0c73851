"""Running code as a user for whom permissions hold: root, as which tests often run, may read everything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NOBODY, IMPOSSIBLE = 65534, 99

HARNESS = f"""
import contextlib, io, os, sys
os.chdir(sys.argv[1])  # from there, relative paths need no rights in the folders above
code = compile(sys.argv[2], "<code>", "exec")
if not hasattr(os, "setuid"):
    sys.exit({IMPOSSIBLE})
if os.getuid() == 0:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        exec(code, {{}})  # loads what it imports, which an ordinary user may not be able to read
    try:
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
    except OSError:
        sys.exit({IMPOSSIBLE})
exec(code, {{}})
"""


def run_unprivileged(code: str, folder: Path) -> str:
    """Runs code in a child process, in a folder, as a user who is not root.

    As root, the code runs twice: once to import what it needs, and then without rights.

    Returns:
        What the code, in its second run, wrote to stdout and stderr.
    """
    folder.chmod(0o755)
    command = [sys.executable, "-c", HARNESS, str(folder), code]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode == IMPOSSIBLE:
        pytest.skip("needs a system with users, and the right to become another one")
    assert done.returncode == 0, done.stdout
    return done.stdout
