"""What a worker writes down of the image it runs in."""

import pytest

from hpcflow.worker.image import image_of

DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("hf1 abc /images/a b.sif", {"image": "/images/a b.sif", "image_digest": "abc"}),
        ("hf1 - docker:me/mace:1", {"image": "docker:me/mace:1"}),
        (
            f"hf1 - docker://me/mace@sha256:{DIGEST}",
            {"image": f"docker://me/mace@sha256:{DIGEST}", "image_digest": DIGEST},
        ),
        ("hf2 abc of another job", {}),
        ("", {}),
    ],
)
def test_name_and_digest_are_those_that_the_job_says(said: str, found: dict[str, str]) -> None:
    assert image_of("hf1.0-x", {"HPCFLOW_IMAGE": said}) == found
