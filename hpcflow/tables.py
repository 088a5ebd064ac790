"""Rows of CSV and JSON-lines files as inputs of tasks."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from hpcflow.errors import UserError


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``.csv``, ``.tsv`` or ``.jsonl`` file, in order. CSV values stay text.

    Raises
    ------
    UserError
        If the file is missing, a line is no JSON object, a CSV row has another number of fields than the header, or a
        column is named twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    if path.suffix in (".jsonl", ".ndjson"):
        return _json_lines(path, text)
    return _csv(path, text, "\t" if path.suffix == ".tsv" else ",")


def _json_lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: is not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number}: expected an object like {{"name": "a"}}, got {line.strip()[:40]}')
        rows.append(row)
    return rows


def _csv(path: Path, text: str, delimiter: str) -> list[dict[str, Any]]:
    lines = csv.reader(text.splitlines(keepends=True), delimiter=delimiter)
    header = next(lines, None)
    if not header:
        raise UserError(f"{path}: is empty; the first line must name the columns")
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{path}, line 1: names the column {name!r} twice; a row could keep only one of its values")
    rows = []
    for row in lines:
        if not row:
            continue
        if len(row) != len(header):
            raise UserError(f"{path}, line {lines.line_num}: has {len(row)} fields, the header has {len(header)}")
        rows.append(dict(zip(header, row, strict=True)))
    return rows
