"""Backbones of the user: found in the working folder, and nothing left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from arbex.errors import InputError
from arbex.models.custom import BackboneConfig, import_backbone, measure

MODULE = """
from torch import nn

class Nets:
    @staticmethod
    def small():
        import its_layers  # only when it is called
        return nn.Sequential(nn.Flatten(), its_layers.last())

value = 3
"""
LAYERS = "from torch import nn\n\ndef last():\n    return nn.LazyLinear(5)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "its_nets.py").write_text(MODULE)
    (tmp_path / "its_layers.py").write_text(LAYERS)
    monkeypatch.chdir(tmp_path)
    for name in ("its_nets", "its_layers"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_module_of_the_working_folder_is_imported_without_a_trace_in_the_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(sys.path)
    factory = import_backbone("its_nets:Nets.small")
    assert sys.path == before
    monkeypatch.chdir("/")  # what it imports when it is called is found all the same
    module, config = measure("its_nets:Nets.small", factory, 8)
    assert sys.path == before
    assert config == BackboneConfig(backbone="its_nets:Nets.small", image_size=8, out_features=5)
    assert module(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("its_nets", "'its_nets' names no callable. Allowed: package.module:callable"),
        ("its_nets:Nets.large", "cannot be imported: .*'large'"),
        ("their_nets:small", "cannot be imported: No module named 'their_nets'"),
        ("its_nets:value", "is of type int. Allowed: a callable"),
    ],
)
def test_a_backbone_that_cannot_be_called_is_refused(folder: Path, name: str, message: str) -> None:
    before = list(sys.path)
    with pytest.raises(InputError, match=message):
        import_backbone(name)
    assert sys.path == before


class Silent(nn.Module):
    """A module that fails without a message."""

    def forward(self, images: Tensor) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: 1 / 0, "cannot be built: ZeroDivisionError"),
        (lambda: 7, "returned int"),
        (lambda: nn.Conv2d(1, 2, 3), r"cannot take images \[2, 3, 8, 8\]"),
        (Silent, r"cannot take images \[2, 3, 8, 8\]: NotImplementedError"),
        (nn.Identity, r"returned \[2, 3, 8, 8\]"),
    ],
)
def test_what_does_not_map_images_to_vectors_is_refused(factory: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure("theirs", factory, 8)  # type: ignore[arg-type]
