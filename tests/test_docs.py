"""The gallery's rules, and the check of links."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("plot_*.py"))


def test_there_are_at_least_twelve_examples():
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_where_its_claim_ends(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
    assert "# Limits" in lines


@pytest.fixture
def broken_links(tmp_path):
    """Return a function that writes pages and returns their broken links."""
    spec = importlib.util.spec_from_file_location(
        "check_links", DOCS / "check_links.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def check(**pages):
        for name, text in pages.items():
            path = tmp_path / f"{name}.html"
            path.write_text(text, encoding="utf-8")
        return module.broken_links(tmp_path)

    return check


def test_links_that_lead_somewhere_are_left_alone(broken_links):
    page = '<h1 id="top">a</h1><a href="#top">up</a><a href="b.html#m%C3%B6re">b</a>'
    other = '<a name="möre" href=".">a</a><a href="https://example.org/x">x</a>'
    assert broken_links(index=page, b=other) == []


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ('<a href="c.html">', "no such file"),
        ('<img src="c.png">', "no such file"),
        ('<svg><a xlink:href="c.html#d"></a></svg>', "no such file"),
        ('<a href="#nothing">', "no such anchor"),
        ('<a href="b.html#nothing">', "no such anchor"),
    ],
)
def test_links_that_lead_nowhere_are_named(broken_links, tag, reason):
    (line,) = broken_links(index=tag, b="")
    assert line.startswith("index.html: ")
    assert line.endswith(reason)


def test_a_folder_without_pages_is_no_success(broken_links):
    assert len(broken_links()) == 1
