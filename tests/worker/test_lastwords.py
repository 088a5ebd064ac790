"""Which line of a failed program's output is shown."""

from __future__ import annotations

import pytest

from hpcflow.worker.lastwords import last_words

RULE = "-" * 74
REFUSAL = f"""
{RULE}
mpirun has detected an attempt to run as root.

Running as root is *strongly* discouraged as any mistake can result in damage.
We reiterate our advice against doing so - please proceed at your own risk.
{RULE}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (REFUSAL, "mpirun has detected an attempt to run as root."),
        (f"starting\n{REFUSAL}cannot open a.inp\n", "cannot open a.inp"),
        (f"{RULE}\nHeading\n{RULE}\nbody\ncannot open a.inp\n", "cannot open a.inp"),
        (f"{RULE}\nan opened box\ncannot open a.inp\n", "cannot open a.inp"),
        ("cannot read x\n    ^^^\n 7\n\n", "cannot read x"),
        ("1\n404\n\n", "404"),
        ("Datei nicht gefunden: Übergröße\n", "Datei nicht gefunden: Übergröße"),
        ("\n \n", ""),
    ],
)
def test_the_line_that_says_why(text: str, expected: str) -> None:
    assert last_words(text) == expected
