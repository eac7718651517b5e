from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.calib.images import Images
from slimc.errors import SlimcError
from slimc.ir.text import parse_text

Image = pytest.importorskip("PIL.Image")
GRAPH = parse_text("graph (%x: f32[N,3,H,W]) -> (%y)\n  %y: f32[N,3,H,W] = Relu(%x) @r")
FIXED = parse_text("graph (%x: f32[2,3,4,4]) -> (%y)\n  %y: f32[2,3,4,4] = Relu(%x) @r")
RANDOM = np.random.default_rng(0)


def picture(path: Path, height: int, width: int) -> np.ndarray:
    pixels = RANDOM.integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(path: Path, side: int) -> None:
    """Write a small file that announces very many pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100000)
    start = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(start + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def refused(path: Path, text: str = "layout=nchw") -> SlimcError:
    with pytest.raises(SlimcError) as caught:
        list(Data.of(Images(path, text), GRAPH))
    return caught.value


def test_pixels_come_as_declared(tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a.png", 5, 7), picture(tmp_path / "b.bmp", 5, 7)
    data = Data.of(Images(tmp_path, "layout=nchw,scale=1/255"), GRAPH)
    (feed,) = data
    expected = np.stack([first, second]).transpose(0, 3, 1, 2) / np.float32(255)
    assert np.allclose(feed["x"], expected)
    assert (data.count, data.samples) == (1, 2)
    assert "layout=nchw" in data.title


def test_neighbours_of_one_size_share_a_feed(tmp_path: Path) -> None:
    for name, size in (("a.png", 5), ("b.jpg", 5), ("c.webp", 6), ("d.JPEG", 5)):
        picture(tmp_path / name, size, 4)
    data = Data.of(Images(tmp_path, "layout=nchw"), GRAPH)
    shapes = [feed["x"].shape for feed in data]
    # by name, capitals as they are
    assert shapes == [(2, 3, 5, 4), (1, 3, 6, 4), (1, 3, 5, 4)]
    assert data.specs is not None
    assert [one["x"].shape for one in data.specs] == shapes


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    for number in range(5):
        picture(tmp_path / f"{number}.png", 8, 8 + number)
    data = Data.of(Images(tmp_path, "resize=4x4,layout=nchw"), FIXED)
    assert [feed["x"].shape for feed in data] == [(2, 3, 4, 4)] * 2
    assert "1 left over" in data.describe()


def test_resize_is_that_of_pillow(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 10, 20)
    (feed,) = Data.of(Images(tmp_path, "resize=5,layout=nhwc,crop=5"), _nhwc())
    small = Image.fromarray(pixels).resize((10, 5), Image.Resampling.BILINEAR)
    assert np.array_equal(feed["x"][0], np.asarray(small, np.float32)[:, 2:7])


def _nhwc() -> object:
    return parse_text("graph (%x: f32[N,H,W,3]) -> (%y)\n  %y: f32[N,H,W,3] = Relu(%x) @r")


def test_digest_follows_files_and_preprocessing(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 4, 4)
    whole = Data.of(Images(tmp_path, "layout=nchw"), GRAPH).digest
    assert Data.of(Images(tmp_path, "layout=nchw"), GRAPH).digest == whole
    assert Data.of(Images(tmp_path, "layout=nchw,scale=2"), GRAPH).digest != whole
    picture(tmp_path / "a.png", 4, 4)
    assert Data.of(Images(tmp_path, "layout=nchw"), GRAPH).digest != whole


@pytest.mark.parametrize("side", [1 << 14, 1 << 20])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    bomb(tmp_path / "a.png", side)
    assert refused(tmp_path, "resize=4,layout=nchw").name == "image-too-large"


def test_files_that_are_no_such_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"GIF89a" + b"\0" * 99)
    assert refused(tmp_path).name == "calib-unreadable"
    picture(tmp_path / "a.png", 9, 9)
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    assert refused(tmp_path).name == "calib-unreadable"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "a.png")
    assert "more than 8 bits" in refused(tmp_path).message


def test_a_crop_needs_its_pixels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 4, 9)
    assert "smaller than the crop 5x5" in refused(tmp_path, "crop=5,layout=nchw").message


def test_what_else_is_missing(tmp_path: Path) -> None:
    assert refused(tmp_path).name == "calib-missing"
    picture(tmp_path / "a.png", 4, 4)
    with pytest.raises(SlimcError, match="no preprocessing is declared"):
        Data.from_path(tmp_path, GRAPH)
    two = parse_text("graph (%x: f32[N,3,H,W], %s: i64[]) -> (%y)\n  %y: f32[N,3,H,W] = Relu(%x)")
    with pytest.raises(SlimcError, match="one input"):
        Data.of(Images(tmp_path, "layout=nchw"), two)
    with pytest.raises(SlimcError, match="calib-mismatch"):
        Data.of(Images(tmp_path, "layout=nhwc"), GRAPH)
