"""The schema that imports end in, and references to images."""

import pyarrow
import pytest

from momo.datasets.manifest import MANIFEST_SCHEMA, ImageReference, parse_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("train/a.jpg", ImageReference("train/a.jpg")),
        ("00012.tar#51712+38231", ImageReference("00012.tar", 51712, 38231)),
        ("s3://bucket/00012.tar#0+1", ImageReference("s3://bucket/00012.tar", 0, 1)),
        ("odd#name+3.jpg", ImageReference("odd#name+3.jpg")),
        ("a#1+2#3+4", ImageReference("a#1+2", 3, 4)),
    ],
)
def test_references_are_read_as_they_are_written(text: str, reference: ImageReference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


def test_references_that_mean_something_else() -> None:
    with pytest.raises(ValueError, match="the reference to an image is empty"):
        parse_reference("")
    with pytest.raises(ValueError, match="'a.jpg#1.2' ends as|'a#1.2' ends as a reference to a part of a file does"):
        str(ImageReference("a#1+2"))


def test_schema() -> None:
    """Names and types that tools on both sides rely on."""
    row = dict(image="a.jpg", captions=["x", "y"], source="coco", id="9", width=640, height=480, sha256="00")
    table = pyarrow.Table.from_pylist([row, dict(image="b.jpg", captions=["z"])], schema=MANIFEST_SCHEMA)
    assert table.to_pylist()[0] == row
    assert table.to_pylist()[1]["width"] is None
    assert [str(field.type) for field in MANIFEST_SCHEMA] == [
        *("string", "list<item: string>", "string", "string", "int32", "int32", "string")
    ]
    assert [field.name for field in MANIFEST_SCHEMA if not field.nullable] == ["image", "captions"]
