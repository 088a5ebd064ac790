"""``pytest tests/golden --regenerate`` writes the expected scripts anew; the difference is then reviewed as text."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the expected scripts anew")
