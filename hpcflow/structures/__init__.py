"""Frames: where they stand in a file, and how they are read, written and marked."""

from hpcflow.structures.extxyz import format, parse
from hpcflow.structures.index import elements, frames, scan
from hpcflow.structures.marks import failed, tag

__all__ = ["elements", "failed", "format", "frames", "parse", "scan", "tag"]
