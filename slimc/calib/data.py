"""Calibration data: feeds, one after another, as often as asked."""

from __future__ import annotations

from typing import Any

Data = Any
