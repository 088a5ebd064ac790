"""Frames: where they stand in a file, and how they are read, written and marked."""

from hpcflow.structures.extxyz import format, parse
from hpcflow.structures.index import elements, frames, scan
from hpcflow.structures.merge import concatenate, tag

__all__ = ["concatenate", "elements", "format", "frames", "parse", "scan", "tag"]
