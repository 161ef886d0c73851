"""Running an artifact in a process of its own, for runtimes that may end their process: parent and child."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from arbex.errors import ArbexError, BackendError
from runtimes import isolated
from runtimes.base import Prediction, Runtime

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import numpy as np
    from numpy.typing import NDArray

CODE = "from runtimes.apart import serve_parent; serve_parent()"
"""Code of the child process."""


class ChildError(Exception):
    """What a child reported; the cause of the parent's error."""


class RuntimeApart(Runtime):
    """Runs another runtime in a child process. If that ends by itself, an error says so, and this process goes on.

    Attributes:
        inside: The other runtime.
        names: The class names that it found in the file.
    """

    inside: ClassVar[type[Runtime]]
    names: tuple[str, ...] | None = None
    ended: Any = None

    def load(self) -> None:
        """Starts the child, which loads the artifact."""
        from multiprocessing.connection import Connection  # slow to import

        ours, theirs = socket.socketpair()
        place = f"{self.inside.__module__}:{self.inside.__qualname__}"
        arguments = [place, str(self.path.resolve()), str(self.side), str(self.threads or 0), str(theirs.fileno())]
        self.complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it is open as long as the child runs
        with theirs:
            self.child = subprocess.Popen(
                isolated.python(CODE, *arguments),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self.complaints,
                stderr=self.complaints,
            )
        self.connection = Connection(ours.detach())
        self.ended = weakref.finalize(self, end, self.connection, self.child, self.complaints)
        try:
            labels = json.loads(self.receive("load"))
        except BaseException:
            self.close()
            raise
        self.names = None if labels is None else tuple(labels)

    @classmethod
    def alone(cls) -> type[Runtime]:
        """Returns the other runtime; see ``Runtime.alone``."""
        return cls.inside

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names in the file."""
        return self.names

    def run_batch(self, images: NDArray[np.uint8]) -> Prediction:
        """Sends images to the child and returns its answers."""
        import numpy as np

        stream = io.BytesIO()
        np.save(stream, images)
        try:
            self.connection.send_bytes(stream.getvalue())
        except OSError as error:
            raise self.failed("run") from error
        with np.load(io.BytesIO(self.receive("run"))) as answers:
            return Prediction(*(answers[field] for field in Prediction._fields))

    def receive(self, action: str) -> bytes:
        """Returns what the child sends.

        Raises:
            BackendError: If it sends an error, or has ended.
        """
        try:
            succeeded, content = self.connection.recv_bytes() == b"1", self.connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise self.failed(action) from error
        if succeeded:
            return content
        told = json.loads(content)
        raise BackendError(told["problem"], remedy=told["remedy"]) from ChildError(told["cause"])

    def failed(self, action: str) -> BackendError:
        """Returns the error for a child that has ended by itself."""
        code = self.child.wait()
        self.complaints.seek(0)
        lines = [line for line in self.complaints.read().decode(errors="replace").splitlines() if line.strip()]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = f", after it said: {lines[-1].strip().rstrip('.')}" if lines else ""
        return BackendError(
            f"{self.name} cannot {action} {self.path}: its process ended with {how}{said}.",
            remedy="The file may be damaged. Copy it again, or export it again.",
        )

    def close(self) -> None:
        """Ends the child."""
        if self.ended is not None:
            self.ended()


def end(connection: Connection, child: subprocess.Popen[bytes], complaints: IO[bytes]) -> None:
    """Ends a child, which stops when its connection is closed."""
    connection.close()
    child.wait()
    complaints.close()


def serve_parent() -> None:
    """Loads the artifact on the command line of this child and answers its parent until the connection is closed.

    The arguments are the class of the runtime as ``module:name``, the artifact, the side of its input in pixels, the
    number of threads (0 stands for the runtime's choice), and the file descriptor of the connection.
    """
    from multiprocessing.connection import Connection

    place, artifact, side, threads, descriptor = sys.argv[1:]
    connection = Connection(int(descriptor))
    try:
        module, _, attribute = place.partition(":")
        runtime_class: type[Runtime] = getattr(import_module(module), attribute)
        with runtime_class(Path(artifact), int(side), threads=int(threads) or None) as runtime:
            send(connection, json.dumps(runtime.labels).encode())
            answer_all(connection, runtime)
    except ArbexError as error:
        told = {"problem": error.problem, "remedy": error.remedy, "cause": repr(error.__cause__)}
        send(connection, json.dumps(told).encode(), succeeded=False)
    except EOFError:
        pass
    leave()


def answer_all(connection: Connection, runtime: Runtime) -> None:
    """Answers batches of images until the connection is closed, which raises EOFError."""
    import numpy as np

    while True:
        answers = runtime.run(np.load(io.BytesIO(connection.recv_bytes()), allow_pickle=False))
        stream = io.BytesIO()
        np.savez(stream, **answers._asdict())
        send(connection, stream.getvalue())


def send(connection: Connection, content: bytes, *, succeeded: bool = True) -> None:
    """Sends an answer, after whether it is one or an error."""
    connection.send_bytes(b"1" if succeeded else b"0")
    connection.send_bytes(content)


def leave() -> None:
    """Ends this process at once: some vendors' libraries crash while they are unloaded, when all is done and sent."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
