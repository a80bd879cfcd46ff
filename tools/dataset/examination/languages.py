"""Which language a text is in: as py3langid says where that is installed, and otherwise only its script."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

try:
    import py3langid
except ImportError:  # an extra: pip install 'momo-multimodal[doctor]'
    py3langid = None

# Which of the two; the page says so too.
METHOD = (
    "script only, for py3langid is not installed"
    if py3langid is None
    else "language by py3langid, which is unsure of short texts"
)
_LOOKED_AT = 400  # characters; more say no more


class Reading(NamedTuple):
    """language: ISO 639-1, None if it is not known. script: that of most letters, as Unicode names it, or 'none'."""

    language: str | None
    script: str


def read_language(text: str) -> Reading:
    text = text[:_LOOKED_AT]
    scripts = Counter(_script(char) for char in text if char.isalpha())
    script = scripts.most_common(1)[0][0] if scripts else "none"
    language = py3langid.classify(text)[0] if py3langid is not None and scripts else None
    return Reading(language, script)


@lru_cache(maxsize=4096)
def _script(char: str) -> str:
    """'Latin' of 'LATIN SMALL LETTER A'."""
    return unicodedata.name(char, "unknown").split()[0].split("-")[0].capitalize()
