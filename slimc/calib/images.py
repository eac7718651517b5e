"""A folder of images as feeds, preprocessed as declared. Only this module decodes images."""

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
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")  # no other decoder of Pillow is tried
MAX_PIXELS = 1 << 26  # per file: 200 MB as RGB
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # 8 bits, or fewer


@dataclass(frozen=True)
class Images:
    """A folder of images and its preprocessing: `Images("photos/", "resize=...")`."""

    path: str | Path
    """The folder."""
    preprocess: str | Preprocess
    """Preprocessing steps, as text, as a `.yaml` file or parsed."""

    @property
    def steps(self) -> Preprocess:
        """The parsed preprocessing. Raises SlimcError `bad-preprocess`."""
        preprocess = self.preprocess
        return preprocess if isinstance(preprocess, Preprocess) else Preprocess.of(preprocess)


def list_images(folder: Path) -> list[Path]:
    """Return the images in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


@dataclass(frozen=True)
class Album:
    """Images grouped into feeds: consecutive ones of one size, at most `batch` per feed."""

    graph: Graph
    """The graph that the feeds are for."""
    steps: Preprocess
    """The preprocessing of every image."""
    files_per_feed: tuple[tuple[Path, ...], ...]
    """The files of each feed."""
    shapes: Mapping[Path, tuple[int, ...]]
    """Shape of each image after preprocessing."""
    left_over: int
    """Images that fill no feed of a fixed batch size."""

    @classmethod
    def of(cls, files: Sequence[Path], steps: Preprocess, graph: Graph, batch: int) -> Album:
        """Group files by the sizes in their headers; no image is decoded yet.

        Raises SlimcError `calib-mismatch`, `calib-unreadable`, `image-too-large`.
        """
        if len(graph.inputs) != 1:
            count = len(graph.inputs)
            message = f"images need a graph with one input, and this one has {count}"
            raise SlimcError(
                "calib-mismatch", message, help="bind the other inputs, or give .npz files"
            )
        shape = tensor_type(graph, graph.inputs[0]).shape
        fixed = shape[0] if shape and isinstance(shape[0], int) else 0
        shapes = {file: _sample_shape(file, steps) for file in files}
        feeds: list[list[Path]] = []
        for file in files:
            last = feeds[-1] if feeds else []
            if last and len(last) < (fixed or batch) and shapes[last[0]] == shapes[file]:
                last.append(file)
            else:
                feeds.append([file])
        full = [tuple(feed) for feed in feeds if not fixed or len(feed) == fixed]
        left_over = len(files) - sum(len(feed) for feed in full)
        return cls(graph, steps, tuple(full), shapes, left_over)

    def specs(self) -> tuple[dict[str, Spec], ...]:
        """Return the type and shape of every feed."""
        name = self.graph.inputs[0]
        return tuple(
            {name: Spec(self.steps.numpy, (len(feed), *self.shapes[feed[0]][1:]))}
            for feed in self.files_per_feed
        )

    def feeds(self) -> Iterator[Feed]:
        """Decode the feeds one by one; only one is in memory."""
        for files in self.files_per_feed:
            parts = [self.steps.apply(_decode_image(file, self.steps)) for file in files]
            yield {self.graph.inputs[0]: np.concatenate(parts)}

    def digest(self) -> str:
        """Return a digest of the files and their preprocessing."""
        digest = sha256(f"{self.steps} {[len(feed) for feed in self.files_per_feed]}\n".encode())
        for file in (file for feed in self.files_per_feed for file in feed):
            digest.update(f"{file.name} {sha256(file.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()


def _sample_shape(file: Path, steps: Preprocess) -> tuple[int, ...]:
    """Return the shape of an image after preprocessing, from the header of its file."""
    with _open_image(file) as image:
        width, height = image.size
    resized = steps.size_after_resize(height, width)
    if steps.crop and (steps.crop[0] > resized[0] or steps.crop[-1] > resized[1]):
        size = f"{resized[0]}x{resized[1]}"
        raise SlimcError(
            "calib-mismatch",
            f"an image of {size} pixels is smaller than the crop {steps.crop[0]}x{steps.crop[-1]}",
            f"'{file}'",
            "resize to the crop or more: resize=256,crop=224",
        )
    return steps.shape(height, width)


def _decode_image(file: Path, steps: Preprocess) -> np.ndarray:
    """Decode and resize (bilinear, with antialias). Returns u8[H,W,3] or u8[H,W,1]."""
    from PIL import Image

    with _open_image(file) as image:
        width, height = image.size
        try:
            plain = image.convert("L" if steps.channels == "gray" else "RGB")
        except (OSError, ValueError, SyntaxError, MemoryError) as error:
            raise _unreadable_error(file, str(error)) from error
    size = steps.size_after_resize(height, width)
    if size != (height, width):
        plain = plain.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    array = np.asarray(plain, np.uint8)
    return array if array.ndim == 3 else array[:, :, None]


def _open_image(file: Path) -> Any:
    """Open an image without decoding it, and check the size and mode in its header."""
    image = _import_pillow()
    try:
        picture = image.open(file, formats=FORMATS)
    except image.DecompressionBombError as error:
        raise _too_large_error(file, str(error)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable_error(file, str(error)) from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise _too_large_error(
            file, f"{width} x {height} pixels exceed the limit of {MAX_PIXELS:,}"
        )
    if picture.mode not in MODES:
        picture.close()
        raise _unreadable_error(file, f"pixels of mode {picture.mode} have more than 8 bits")
    return picture


def _import_pillow() -> Any:
    # Loaded here: only images need it, and it is an extra.
    try:
        from PIL import Image
    except ImportError as error:
        raise SlimcError(
            "images-missing", "reading images needs Pillow", help="pip install 'slimc[images]'"
        ) from error
    return Image


def _unreadable_error(file: Path, why: str) -> SlimcError:
    return SlimcError("calib-unreadable", why, f"'{file}'", "remove it, or save it again")


def _too_large_error(file: Path, why: str) -> SlimcError:
    return SlimcError("image-too-large", why, f"'{file}'", "downscale it, or remove it")
