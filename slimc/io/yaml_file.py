"""YAML of strangers: of bounded size, without aliases, and every scalar is a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from slimc.io.json_file import read_text

MAX_BYTES = 1 << 16  # what people write by hand has a page


class _Texts(yaml.BaseLoader):
    """Leaves scalars as they are written: `no` is no truth value, `012` no octal number."""

    def fetch_alias(self) -> NoReturn:
        """Refuse `*name`: a few of them stand for gigabytes."""
        raise ValueError(f"line {self.line + 1}: aliases (*name) are not read, write it out")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        known: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key is no text")
            if key.value in known:
                raise ValueError(f"line {line}: '{key.value}' is there twice")
            known.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the `key: value` lines of a file, values as texts, lists and tables of texts.

    Raises ValueError, which says what is wrong, and OSError.
    """
    try:
        found = yaml.load(read_text(path, MAX_BYTES), _Texts)
    except yaml.YAMLError as error:
        raise ValueError(f"it is no YAML: {error}") from error
    except RecursionError as error:
        raise ValueError("it is no YAML: it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no `key: value` lines")
    return found
