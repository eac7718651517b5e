"""Calibration: data, observers, ranges."""
