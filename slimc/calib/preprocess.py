"""What is done to an image before the model gets it, as text or YAML; nothing is guessed.

resize=256,crop=224,scale=1/255,mean=[0.485,0.456,0.406],std=[0.229,0.224,0.225],layout=nchw
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from slimc.errors import SlimcError, did_you_mean
from slimc.io.yaml_file import read_yaml

MAX_SIDE = 1 << 14  # pixels
YAML_SUFFIXES = (".yaml", ".yml")
CHOICES = {
    "layout": ("nchw", "nhwc"),
    "channels": ("rgb", "bgr", "gray"),
    "dtype": ("f32", "f16", "u8", "i8"),
}
_DTYPES = {"f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8}
_PART = re.compile(r"\s*([\w-]+)\s*=\s*(\[[^\[\]]*\]|[^,\[\]]*)\s*(?:,|$)")
_EXAMPLE = "for example resize=256,crop=224,scale=1/255,layout=nchw"


@dataclass(frozen=True)
class Preprocess:
    """y = (x * scale - mean) / std of pixels x in 0..255, after resize and crop.

    resize: height and width, or one number: of the shorter side, the longer follows; crop: height
    and width of the middle; channels: rgb, bgr or gray; mean, std: one number, or one for each
    channel; dtype: of what the model gets.
    """

    layout: str
    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    channels: str = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "f32"

    @classmethod
    def of(cls, source: str | Path) -> Preprocess:
        """Read text, or a `.yaml` file of the same keys. Raises SlimcError `bad-preprocess`."""
        if Path(source).suffix in YAML_SUFFIXES:
            given = _from_yaml(Path(source))
        else:
            given = _from_text(str(source))
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise _bad(f"there is no '{name}'", did_you_mean(name, known))
        if "layout" not in given:
            raise _bad("the layout is not given", "layout=nchw or layout=nhwc")
        made = cls(**{name: _typed(name, value) for name, value in given.items()})
        made._check()
        return made

    def __str__(self) -> str:
        parts = [f"{field.name}={_text(getattr(self, field.name))}" for field in fields(self)]
        return ",".join(part for part in parts if not part.endswith("=[]"))

    @property
    def depth(self) -> int:
        """How many channels come out."""
        return 1 if self.channels == "gray" else 3

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after resize."""
        if len(self.resize) == 1:
            ratio = Fraction(self.resize[0], min(height, width))
            return max(1, round(height * ratio)), max(1, round(width * ratio))
        return (self.resize[0], self.resize[1]) if self.resize else (height, width)

    def cropped(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of what comes out of an image."""
        if not self.crop:
            return self.resized(height, width)
        return self.crop[0], self.crop[-1]

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of what comes out of an image, one sample."""
        size = self.cropped(height, width)
        return (1, self.depth, *size) if self.layout == "nchw" else (1, *size, self.depth)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Crop, number and lay out. pixels: u8[H,W,3] (RGB) or u8[H,W,1], resized."""
        height, width = self.crop[:1] + self.crop[-1:] if self.crop else pixels.shape[:2]
        top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        x = pixels[top : top + height, left : left + width]
        if self.channels == "bgr":
            x = x[:, :, ::-1]
        if self.dtype in ("f32", "f16"):
            mean, std = (np.array(n, np.float32) for n in (self.mean, self.std))
            x = (x * np.float32(self.scale) - mean) / std
        elif self.dtype == "i8":
            x = x.astype(np.int16) - 128
        x = x.astype(_DTYPES[self.dtype])[None]
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if self.layout == "nchw" else x)

    @property
    def numpy(self) -> np.dtype:
        """The element type of what comes out."""
        return np.dtype(_DTYPES[self.dtype])

    def _check(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                value = getattr(self, name)
                raise _bad(f"{name} is '{value}'", did_you_mean(value, choices))
        for name in ("resize", "crop"):
            sides = getattr(self, name)
            if len(sides) > 2 or not all(0 < side <= MAX_SIDE for side in sides):
                raise _bad(f"{name} takes one or two numbers of pixels up to {MAX_SIDE}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.depth):
                raise _bad(f"{name} takes one number, or {self.depth}, for {self.channels}")
        if not all(np.isfinite([self.scale, *self.mean, *self.std])) or 0 in self.std:
            raise _bad("scale, mean and std must be finite, and std not 0")
        numbered = (self.scale, self.mean, self.std) != (1.0, (0.0,), (1.0,))
        if self.dtype in ("u8", "i8") and numbered:
            raise _bad(f"scale, mean and std make no {self.dtype}", "leave them out, or dtype=f32")


def _from_text(text: str) -> dict[str, str | list[str]]:
    given: dict[str, str | list[str]] = {}
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise _bad(f"'{text[at:]}' is not of the form key=value", _EXAMPLE)
        name, value = part[1], part[2].strip()
        if name in given:
            raise _bad(f"'{name}' is given twice")
        listed = value.startswith("[")
        given[name] = [one.strip() for one in value[1:-1].split(",")] if listed else value
        at = part.end()
    return given


def _from_yaml(path: Path) -> dict[str, str | list[str]]:
    try:
        found = read_yaml(path)
    except OSError as broken:
        raise _bad(f"'{path}' cannot be read: {broken.strerror}") from broken
    except ValueError as broken:
        raise _bad(f"'{path}': {broken}", _EXAMPLE) from broken
    return {
        name: [str(word) for word in value] if isinstance(value, list) else str(value)
        for name, value in found.items()
    }


def _typed(name: str, value: str | list[str]) -> Any:
    if name in CHOICES:
        if isinstance(value, list):
            raise _bad(f"{name} takes one word")
        return value.lower()
    words = value if isinstance(value, list) else [value]
    try:
        if name in ("resize", "crop"):
            sides = [side for word in words for side in word.split("x")]
            return tuple(int(side) for side in sides)
        numbers = tuple(_number(word) for word in words)
    except (ValueError, ZeroDivisionError, OverflowError) as wrong:
        raise _bad(f"{name}={_text(value):.60} is no number", _EXAMPLE) from wrong
    if name == "scale":
        if len(numbers) != 1:
            raise _bad("scale takes one number")
        return numbers[0]
    return numbers


def _number(word: str) -> float:
    above, slash, below = word.partition("/")
    return float(above) / float(below) if slash else float(above)


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{','.join(_text(one) for one in value)}]"
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _bad(message: str, help: str = "") -> SlimcError:
    return SlimcError("bad-preprocess", message, "option --preprocess", help)
