"""Preprocessing of images, declared as text or YAML; nothing is guessed.

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
    """y = (x * scale - mean) / std of pixels x in 0..255, after resize and crop."""

    layout: str
    """nchw or nhwc."""
    resize: tuple[int, ...] = ()
    """Height and width; one number: the shorter side, the longer one follows."""
    crop: tuple[int, ...] = ()
    """Height and width of the center; one number: both."""
    channels: str = "rgb"
    """rgb, bgr or gray."""
    scale: float = 1.0
    """Factor of the pixels."""
    mean: tuple[float, ...] = (0.0,)
    """One number, or one per channel."""
    std: tuple[float, ...] = (1.0,)
    """One number, or one per channel."""
    dtype: str = "f32"
    """Element type of the model input: f32, f16, u8 or i8."""

    @classmethod
    def of(cls, source: str | Path) -> Preprocess:
        """Parse text, or a `.yaml` file of the same keys. Raises SlimcError `bad-preprocess`."""
        if Path(source).suffix in YAML_SUFFIXES:
            values = _read_yaml(Path(source))
        else:
            values = _parse_text(str(source))
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise _bad_preprocess(f"unknown key '{name}'", did_you_mean(name, known))
        if "layout" not in values:
            raise _bad_preprocess("the layout is missing", "layout=nchw or layout=nhwc")
        preprocess = cls(**{name: _parse_value(name, value) for name, value in values.items()})
        preprocess._check()
        return preprocess

    def __str__(self) -> str:
        parts = [
            f"{field.name}={_format_value(getattr(self, field.name))}" for field in fields(self)
        ]
        return ",".join(part for part in parts if not part.endswith("=[]"))

    @property
    def depth(self) -> int:
        """Number of channels after preprocessing."""
        return 1 if self.channels == "gray" else 3

    def size_after_resize(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after resize."""
        if len(self.resize) == 1:
            ratio = Fraction(self.resize[0], min(height, width))
            return max(1, round(height * ratio)), max(1, round(width * ratio))
        return (self.resize[0], self.resize[1]) if self.resize else (height, width)

    def size_after_crop(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width after resize and crop."""
        if not self.crop:
            return self.size_after_resize(height, width)
        return self.crop[0], self.crop[-1]

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one sample after preprocessing."""
        size = self.size_after_crop(height, width)
        return (1, self.depth, *size) if self.layout == "nchw" else (1, *size, self.depth)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Crop, normalize and transpose. pixels: u8[H,W,3] (RGB) or u8[H,W,1], resized."""
        height, width = self.crop[:1] + self.crop[-1:] if self.crop else pixels.shape[:2]
        top_edge, left_edge = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
        image = pixels[top_edge : top_edge + height, left_edge : left_edge + width]
        if self.channels == "bgr":
            image = image[:, :, ::-1]
        if self.dtype in ("f32", "f16"):
            mean, std = (np.array(n, np.float32) for n in (self.mean, self.std))
            image = (image * np.float32(self.scale) - mean) / std
        elif self.dtype == "i8":
            image = image.astype(np.int16) - 128
        image = image.astype(_DTYPES[self.dtype])[None]
        return np.ascontiguousarray(image.transpose(0, 3, 1, 2) if self.layout == "nchw" else image)

    @property
    def numpy(self) -> np.dtype:
        """Element type after preprocessing."""
        return np.dtype(_DTYPES[self.dtype])

    def _check(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                value = getattr(self, name)
                raise _bad_preprocess(f"unknown {name} '{value}'", did_you_mean(value, choices))
        for name in ("resize", "crop"):
            sides = getattr(self, name)
            if len(sides) > 2 or not all(0 < side <= MAX_SIDE for side in sides):
                raise _bad_preprocess(f"{name} takes one or two numbers of pixels up to {MAX_SIDE}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.depth):
                raise _bad_preprocess(
                    f"{name} takes one number, or {self.depth}, for {self.channels}"
                )
        if not all(np.isfinite([self.scale, *self.mean, *self.std])) or 0 in self.std:
            raise _bad_preprocess("scale, mean and std must be finite, and std not 0")
        numbered = (self.scale, self.mean, self.std) != (1.0, (0.0,), (1.0,))
        if self.dtype in ("u8", "i8") and numbered:
            raise _bad_preprocess(
                f"scale, mean and std have no effect with dtype={self.dtype}",
                "omit them, or use dtype=f32",
            )


def _parse_text(text: str) -> dict[str, str | list[str]]:
    values: dict[str, str | list[str]] = {}
    position = 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            raise _bad_preprocess(f"'{text[position:]}' is not of the form key=value", _EXAMPLE)
        name, value = part[1], part[2].strip()
        if name in values:
            raise _bad_preprocess(f"'{name}' is given twice")
        listed = value.startswith("[")
        values[name] = [word.strip() for word in value[1:-1].split(",")] if listed else value
        position = part.end()
    return values


def _read_yaml(path: Path) -> dict[str, str | list[str]]:
    try:
        values = read_yaml(path)
    except OSError as broken:
        raise _bad_preprocess(f"'{path}' cannot be read: {broken.strerror}") from broken
    except ValueError as broken:
        raise _bad_preprocess(f"'{path}': {broken}", _EXAMPLE) from broken
    return {
        name: [str(word) for word in value] if isinstance(value, list) else str(value)
        for name, value in values.items()
    }


def _parse_value(name: str, value: str | list[str]) -> Any:
    if name in CHOICES:
        if isinstance(value, list):
            raise _bad_preprocess(f"{name} takes one word")
        return value.lower()
    words = value if isinstance(value, list) else [value]
    try:
        if name in ("resize", "crop"):
            sides = [side for word in words for side in word.split("x")]
            return tuple(int(side) for side in sides)
        numbers = tuple(_parse_number(word) for word in words)
    except (ValueError, ZeroDivisionError, OverflowError) as wrong:
        raise _bad_preprocess(
            f"{name}={_format_value(value):.60} is not a number", _EXAMPLE
        ) from wrong
    if name == "scale":
        if len(numbers) != 1:
            raise _bad_preprocess("scale takes one number")
        return numbers[0]
    return numbers


def _parse_number(word: str) -> float:
    above, slash, below = word.partition("/")
    return float(above) / float(below) if slash else float(above)


def _format_value(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{','.join(_format_value(element) for element in value)}]"
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _bad_preprocess(message: str, help: str = "") -> SlimcError:
    return SlimcError("bad-preprocess", message, "option --preprocess", help)
