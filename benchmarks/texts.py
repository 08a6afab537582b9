"""Texts for benchmarks: a bible, word lists, and Python's own sources.

The first two are Debian's: ``apt-get install bible-kjv wamerican wdutch wfrench
witalian wngerman wportuguese wspanish``. The last one is always there.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import numpy as np

WORD_LISTS = Path("/usr/share/dict")
LANGUAGES = ("american-english", "dutch", "french", "italian", "ngerman")
LANGUAGES += ("portuguese", "spanish")
WORDS_PER_LANGUAGE = 40_000
TEST_TOKENS = 50_000


class Texts(NamedTuple):
    """Texts, what each belongs to, and how they are split into tokens."""

    texts: list[str]
    labels: list[str]
    how: dict[str, Any]


@cache
def bible() -> Texts:
    """Return the verses of the King James Bible in words, by book."""
    said = subprocess.run(
        ["bible", "-f", "gen1:1-rev22:21"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    verses = [line.split(" ", 1) for line in said.splitlines() if " " in line]
    books = [re.sub(r"\d+:\d+$", "", place) for place, _ in verses]
    return Texts([verse for _, verse in verses], books, {})


@cache
def words() -> Texts:
    """Return words of seven languages in characters."""
    texts, labels = [], []
    for language in LANGUAGES:
        lines = (WORD_LISTS / language).read_text(encoding="utf-8").split()
        lines = [word for word in lines if "'" not in word]
        order = np.random.default_rng(0).permutation(len(lines))
        texts += [lines[i] for i in order[:WORDS_PER_LANGUAGE]]
        labels += [language] * min(len(lines), WORDS_PER_LANGUAGE)
    return Texts(texts, labels, {"analyzer": "char"})


@cache
def python() -> Texts:
    """Return the definitions in Python's own sources in byte pairs, by module."""
    texts, labels = [], []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="ignore")
        parts = re.split(r"\n(?=def |class |async def |    def )", source)
        parts = [part for part in parts if part.strip()]
        texts += parts
        labels += [path.stem] * len(parts)
    return Texts(texts, labels, {"analyzer": "bpe", "lowercase": False})


CORPORA: dict[str, Callable[[], Texts]] = {
    "bible": bible,
    "words": words,
    "python": python,
}


def available() -> list[str]:
    """Return the names of the corpora that this machine has."""
    has = {
        "bible": which("bible") is not None,
        "words": all((WORD_LISTS / language).exists() for language in LANGUAGES),
        "python": True,
    }
    return [name for name in CORPORA if has[name]]


def split(name: str, n_tokens: int, seed: int) -> tuple[Texts, Texts]:
    """Return texts of about `n_tokens` tokens to fit on, and others to test with.

    The first of them, in random order; tests are of at most 50,000 tokens, the same
    ones for every size.
    """
    corpus = CORPORA[name]()
    order = np.random.default_rng(seed).permutation(len(corpus.texts))
    texts = [corpus.texts[i] for i in order]
    labels = [corpus.labels[i] for i in order]
    lengths = np.array(count_tokens(texts, corpus.how.get("analyzer", "word")))
    seen = lengths.cumsum()
    n_test = int(np.searchsorted(seen, TEST_TOKENS))
    n_fit = int(np.searchsorted(seen, seen[n_test] + n_tokens))
    test = Texts(texts[:n_test], labels[:n_test], corpus.how)
    return Texts(texts[n_test:n_fit], labels[n_test:n_fit], corpus.how), test


def count_tokens(texts: Sequence[str], analyzer: str) -> list[int]:
    """Return about how many tokens each text has, with its end."""
    if analyzer == "word":
        pattern = re.compile(r"(?u)\w+|[^\w\s]")
        return [len(pattern.findall(text)) + 1 for text in texts]
    per_token = 1 if analyzer == "char" else 2.5
    return [round(len(text) / per_token) + 1 for text in texts]
