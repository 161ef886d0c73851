"""A message shows the first line of what another package said, whatever that package's exception is like."""

from __future__ import annotations

import pytest

from arbex.errors import reason


class SpeechlessError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("wrong."), "wrong"),
        (ValueError("\n  wrong: 3\nin detail ..."), "wrong: 3"),
        (AssertionError(), "AssertionError"),
        (ValueError("\n"), "ValueError"),
        (SpeechlessError(), "SpeechlessError"),
    ],
)
def test_the_reason_is_one_line(error: Exception, expected: str) -> None:
    assert reason(error) == expected
