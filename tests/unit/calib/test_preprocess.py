from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimc.calib.preprocess import Preprocess
from slimc.errors import SlimcError

TEXT = "resize=256, crop=224x160, scale=1/255, mean=[0.5,0.25,0], std=[0.5], layout=nhwc"


def test_text_round_trips() -> None:
    made = Preprocess.of(TEXT)
    assert (made.resize, made.crop) == ((256,), (224, 160))
    assert (made.mean, made.std, made.layout) == ((0.5, 0.25, 0.0), (0.5,), "nhwc")
    assert made.scale == pytest.approx(1 / 255)
    again = Preprocess.of(str(made))
    assert str(again) == str(made)


def test_yaml_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "images.yaml"
    file.write_text(
        "resize: 256\ncrop: 224x160\nscale: 1/255\nmean: [0.5, 0.25, 0]\nstd: 0.5\nlayout: nhwc\n"
    )
    assert Preprocess.of(file) == Preprocess.of(TEXT)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resize=4,layot=nchw", "unknown key 'layot'"),
        ("resize=4", "the layout is missing"),
        ("layout=nchww", "unknown layout 'nchww'"),
        ("layout=nchw,layout=nhwc", "given twice"),
        ("layout=nchw,crop=0", "crop takes"),
        ("layout=nchw,resize=1x2x3", "resize takes"),
        ("layout=nchw,resize=99999999", "resize takes"),
        ("layout=nchw,mean=[1,2]", "mean takes one number, or 3"),
        ("layout=nchw,std=0", "std not 0"),
        ("layout=nchw,scale=1/0", "is not a number"),
        ("layout=nchw,scale=__import__", "is not a number"),
        ("layout=nchw,scale=1e999999999999", "finite"),
        ("layout=nchw,dtype=u8,scale=1/255", "no effect with dtype=u8"),
        ("layout nchw", "key=value"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(SlimcError) as caught:
        Preprocess.of(text)
    assert caught.value.name == "bad-preprocess"
    assert message in caught.value.message


def test_yaml_is_read_safely(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    for text in ("!!python/object/apply:os.system [ls]", "- 1", "a: ["):
        file.write_text(text)
        with pytest.raises(SlimcError, match="bad-preprocess"):
            Preprocess.of(file)


def test_pixels_become_numbers() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    text = "crop=2x4,channels=bgr,scale=1/2,mean=[1,2,3],std=[2,2,4],layout=nchw"
    made = Preprocess.of(text).apply(pixels)
    inner = pixels[1:3, 1:5, ::-1].astype(np.float32)
    expected = (inner / 2 - [1, 2, 3]) / [2, 2, 4]
    assert made.dtype == np.float32
    assert np.allclose(made, expected.transpose(2, 0, 1)[None])


def test_bytes_stay_bytes() -> None:
    pixels = np.array([[[0], [255]]], np.uint8)
    unsigned = Preprocess.of("channels=gray,layout=nhwc,dtype=u8").apply(pixels)
    signed = Preprocess.of("channels=gray,layout=nhwc,dtype=i8").apply(pixels)
    assert (unsigned.dtype, unsigned.ravel().tolist()) == (np.uint8, [0, 255])
    assert (signed.dtype, signed.ravel().tolist()) == (np.int8, [-128, 127])


def test_sizes() -> None:
    shorter = Preprocess.of("resize=10,layout=nchw")
    assert shorter.size_after_resize(20, 45) == (10, 22)  # to even
    assert Preprocess.of("resize=3x5,layout=nhwc").shape(20, 40) == (1, 3, 5, 3)
    assert Preprocess.of("channels=gray,crop=7,layout=nchw").shape(20, 40) == (1, 1, 7, 7)
