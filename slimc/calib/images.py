"""A folder of images as feeds, by declared preprocessing: the one place that decodes images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from slimc.calib.feeds import Spec, tensor_type
from slimc.calib.preprocess import Preprocess
from slimc.errors import SlimcError
from slimc.execute.ort import Feed
from slimc.ir.graph import Graph

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # no other decoder of Pillow sees the file
MAX_PIXELS = 1 << 26  # of a file: 200 MB as RGB
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # 8 bits, or fewer


@dataclass(frozen=True)
class Images:
    """A folder of images, and what is to be done to them: `Images("photos/", "resize=...")`."""

    path: str | Path
    preprocess: str | Preprocess

    @property
    def steps(self) -> Preprocess:
        """What is done to them. Raises SlimcError `bad-preprocess`."""
        given = self.preprocess
        return given if isinstance(given, Preprocess) else Preprocess.of(given)


def files_of(folder: Path) -> list[Path]:
    """Return the images in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


@dataclass(frozen=True)
class Album:
    """Images cut into feeds: neighbours of one size together, at most `batch`."""

    graph: Graph
    steps: Preprocess
    feeds_of: tuple[tuple[Path, ...], ...]
    shapes: Mapping[Path, tuple[int, ...]]
    left_over: int

    @classmethod
    def of(cls, files: Sequence[Path], steps: Preprocess, graph: Graph, batch: int) -> Album:
        """Look at the sizes that the files announce; none is decoded yet.

        Raises SlimcError `calib-mismatch`, `calib-unreadable`, `image-too-large`.
        """
        if len(graph.inputs) != 1:
            count = len(graph.inputs)
            message = f"images serve graphs with one input, and this one has {count}"
            raise SlimcError("calib-mismatch", message, help="bind the others, or give .npz files")
        shape = tensor_type(graph, graph.inputs[0]).shape
        fixed = shape[0] if shape and isinstance(shape[0], int) else 0
        shapes = {file: _shape(file, steps) for file in files}
        feeds: list[list[Path]] = []
        for file in files:
            last = feeds[-1] if feeds else []
            if last and len(last) < (fixed or batch) and shapes[last[0]] == shapes[file]:
                last.append(file)
            else:
                feeds.append([file])
        whole = [tuple(feed) for feed in feeds if not fixed or len(feed) == fixed]
        left_over = len(files) - sum(len(feed) for feed in whole)
        return cls(graph, steps, tuple(whole), shapes, left_over)

    def specs(self) -> tuple[dict[str, Spec], ...]:
        """Return type and shape of every feed."""
        name = self.graph.inputs[0]
        return tuple(
            {name: Spec(self.steps.numpy, (len(feed), *self.shapes[feed[0]][1:]))}
            for feed in self.feeds_of
        )

    def feeds(self) -> Iterator[Feed]:
        """Decode the feeds one after another; only one is in memory."""
        for files in self.feeds_of:
            parts = [self.steps.apply(_pixels(file, self.steps)) for file in files]
            yield {self.graph.inputs[0]: np.concatenate(parts)}

    def digest(self) -> str:
        """Return a digest of the files and of what is done to them."""
        digest = sha256(f"{self.steps} {[len(feed) for feed in self.feeds_of]}\n".encode())
        for file in (file for feed in self.feeds_of for file in feed):
            digest.update(f"{file.name} {sha256(file.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()


def _shape(file: Path, steps: Preprocess) -> tuple[int, ...]:
    """Return the shape that a file gives, from its header."""
    with _opened(file) as image:
        width, height = image.size
    resized = steps.resized(height, width)
    if steps.crop and (steps.crop[0] > resized[0] or steps.crop[-1] > resized[1]):
        size = f"{resized[0]}x{resized[1]}"
        raise SlimcError(
            "calib-mismatch",
            f"an image of {size} pixels is smaller than the crop {steps.crop[0]}x{steps.crop[-1]}",
            f"'{file}'",
            "resize to the crop or more: resize=256,crop=224",
        )
    return steps.shape(height, width)


def _pixels(file: Path, steps: Preprocess) -> np.ndarray:
    """Decode and resize (bilinear, with antialias). Returns u8[H,W,3] or u8[H,W,1]."""
    from PIL import Image

    with _opened(file) as image:
        width, height = image.size
        try:
            plain = image.convert("L" if steps.channels == "gray" else "RGB")
        except (OSError, ValueError, SyntaxError, MemoryError) as error:
            raise _unreadable(file, str(error)) from error
    size = steps.resized(height, width)
    if size != (height, width):
        plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(plain, np.uint8)
    return array if array.ndim == 3 else array[:, :, None]


def _opened(file: Path) -> Any:
    """Open an image without decoding it, and check what it announces."""
    image = _library()
    try:
        opened = image.open(file, formats=FORMATS)
    except image.DecompressionBombError as error:
        raise _too_large(file, str(error)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(file, str(error)) from error
    width, height = opened.size
    if width * height > MAX_PIXELS:
        opened.close()
        raise _too_large(file, f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
    if opened.mode not in MODES:
        opened.close()
        raise _unreadable(file, f"pixels of mode {opened.mode} have more than 8 bits")
    return opened


def _library() -> Any:
    # Loaded here: only images need it, and it is an extra.
    try:
        from PIL import Image
    except ImportError as error:
        raise SlimcError(
            "images-missing", "reading images needs Pillow", help="pip install 'slimc[images]'"
        ) from error
    return Image


def _unreadable(file: Path, why: str) -> SlimcError:
    return SlimcError("calib-unreadable", why, f"'{file}'", "take it out, or save it again")


def _too_large(file: Path, why: str) -> SlimcError:
    return SlimcError("image-too-large", why, f"'{file}'", "make it smaller, or take it out")
