"""Decoding: every kind of image that users have, and every kind of file that is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from arbex.errors import DataError
from arbex.images import crop, find_images, load, read_image, resize
from tests.unprivileged import run_unprivileged

COLOR = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_lossless_formats_give_the_same_pixels(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / f"x.{suffix}")
    assert np.array_equal(read_image(tmp_path / f"x.{suffix}"), COLOR)


def test_gray_sixteen_bit_palette_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    gray = Image.fromarray(COLOR[:, :, 0])
    deep = Image.fromarray((COLOR[:, :, 0].astype(np.uint16)) * 257)
    for name, image in {
        "gray": gray,
        "deep": deep,
        "palette": Image.fromarray(COLOR).convert("P"),
        "alpha": Image.fromarray(COLOR).convert("RGBA"),
    }.items():
        image.save(tmp_path / f"{name}.png")
        assert read_image(tmp_path / f"{name}.png").shape == (20, 30, 3)
    assert np.array_equal(read_image(tmp_path / "deep.png"), read_image(tmp_path / "gray.png"))


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(COLOR).save(tmp_path / "x.jpg", exif=exif)
    assert read_image(tmp_path / "x.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOR).save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as image:
        assert np.array_equal(read_image(tmp_path / "x.png"), np.asarray(ImageOps.exif_transpose(image)))


def test_a_damaged_tag_beside_the_orientation_does_no_harm(tmp_path: Path) -> None:
    """Pillow's own function writes the tags anew, and fails with a TypeError, a struct.error or an AttributeError."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0  # a resolution, which is a fraction
    Image.fromarray(COLOR).save(tmp_path / "x.jpg", exif=exif)
    content = (tmp_path / "x.jpg").read_bytes()
    at = content.index(b"\x01\x1a\x00\x05") if b"MM" in content[:40] else content.index(b"\x1a\x01\x05\x00")
    kind = content[at : at + 4].replace(b"\x05", b"\x02")  # the fraction is said to be a text
    (tmp_path / "x.jpg").write_bytes(content[:at] + kind + content[at + 4 :])
    assert read_image(tmp_path / "x.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("name", ["x.JPG", "x.jfif", "x.webp", "x.jpe"])
def test_images_are_found_whatever_their_suffix(name: str, tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / name, "WEBP" if name.endswith("webp") else "JPEG")
    assert find_images(tmp_path) == [tmp_path / name]
    assert read_image(tmp_path / name).shape == (20, 30, 3)


def test_images_of_other_formats_are_not_left_out_in_silence(tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / "x.gif")
    (tmp_path / "notes.txt").write_text("not an image")
    assert find_images(tmp_path) == [tmp_path / "x.gif"]
    with pytest.raises(DataError, match="x.gif cannot be read as an image.*Allowed: PNG, JPEG, TIFF, BMP, WEBP"):
        read_image(tmp_path / "x.gif")


def test_resize_keeps_a_constant_and_averages_when_shrinking() -> None:
    assert (resize(np.full((50, 40, 3), 77, np.uint8), 16) == 77).all()
    board = np.indices((64, 64)).sum(0) % 2 * 255
    small = resize(np.repeat(board[:, :, None], 3, 2).astype(np.uint8), 8)
    assert np.abs(small.astype(int) - 127).max() <= 2  # antialiased: no moire


def test_load_gives_the_networks_input(tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / "x.png")
    pixels = load(tmp_path / "x.png", 64)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, resize(COLOR, 64))
    assert np.array_equal(resize(pixels, 64), pixels)


def test_a_crop_beyond_the_edge_repeats_the_edge() -> None:
    pixels = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, 2)
    cut = crop(pixels, (6, 6, 10, 10))  # a square of 13 around (11, 11): from 4 or 5 on, far beyond the edge
    assert cut.shape == (13, 13, 3)
    assert (cut[-1, -1] == 99).all()
    assert (cut[-5:, -5:] == 99).all()


def test_find_images_sorts_and_leaves_out_the_rest(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in find_images(tmp_path)] == ["a.jpg", "b.PNG"]


def test_garbage_is_refused_with_its_name_and_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    cases = {"cut.png": whole[: len(whole) // 2], "text.jpg": b"I am a text.", "empty.png": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read.*Replace or remove"):
            read_image(tmp_path / name)


def test_a_single_pixel_is_no_face(tmp_path: Path) -> None:
    Image.fromarray(COLOR[:1, :1]).save(tmp_path / "dot.png")
    with pytest.raises(DataError, match="1x1 pixels"):
        read_image(tmp_path / "dot.png")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "nowhere.png")


FIND = """
from pathlib import Path
from arbex.errors import DataError
from arbex.images import find_images
try:
    print([str(path) for path in find_images(Path("data"))])
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
@pytest.mark.parametrize("name", ["data", "data/anger", "data/anger/deep"])
def test_a_folder_that_cannot_be_read_is_named(name: str, mode: int, tmp_path: Path) -> None:
    (tmp_path / "data" / "anger" / "deep").mkdir(parents=True)
    for folder in ("data", "data/anger", "data/anger/deep"):
        (tmp_path / folder / "x.png").touch()
    (tmp_path / name).chmod(mode)
    said = run_unprivileged(FIND, tmp_path)
    (tmp_path / name).chmod(0o755)
    assert said.startswith(f"{name} cannot be read: Permission denied. ")


def test_a_hidden_folder_need_not_be_readable(tmp_path: Path) -> None:
    (tmp_path / "data" / ".trash").mkdir(parents=True, mode=0o700)
    (tmp_path / "data" / ".trash").chmod(0)
    (tmp_path / "data" / "x.png").touch()
    assert run_unprivileged(FIND, tmp_path) == "['data/x.png']\n"


def test_a_link_to_where_one_may_not_look_is_named(tmp_path: Path) -> None:
    for folder in ("data", "closed"):
        (tmp_path / folder).mkdir()
    (tmp_path / "closed" / "x.png").touch()
    (tmp_path / "data" / "link.png").symlink_to("../closed/x.png")
    (tmp_path / "data" / "notes.txt").symlink_to("../closed/x.txt")
    (tmp_path / "closed").chmod(0)
    assert run_unprivileged(FIND, tmp_path).startswith("data/link.png cannot be read: Permission denied. ")
    (tmp_path / "data" / "link.png").unlink()
    assert run_unprivileged(FIND, tmp_path) == "[]\n"
    (tmp_path / "closed").chmod(0o755)


def test_links_to_images_count_and_links_to_folders_and_to_nothing_do_not(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    for folder in (data, outside):
        folder.mkdir()
        (folder / "x.png").touch()
    (data / "link.png").symlink_to(outside / "x.png")
    (data / "folder").symlink_to(outside)
    (data / "nothing.png").symlink_to(outside / "nothing.png")
    (data / "loop.png").symlink_to(data / "loop.png")
    assert [p.name for p in find_images(data)] == ["link.png", "x.png"]
