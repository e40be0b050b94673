"""The site builds without a warning and without network, and no link in it is dead."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

import domainmetric as dm
from tests.docs.pages import DOCS

LINK = re.compile(r'<(?:a|link|img|script)\b[^>]*?\b(?:href|src)="([^"]+)"')
PLACE = re.compile(r'\bid="([^"]+)"')


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_without_a_warning_and_has_no_dead_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path)]
    offline = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=offline, timeout=1700, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    reference = "".join(page.read_text() for page in (tmp_path / "reference").glob("*.html"))
    assert [name for name in dm.__all__ if f'id="domainmetric.{name}"' not in reference] == []
    assert dead_links(tmp_path) == []
    assert "Number of voters." in reference  # a field's docstring


def dead_links(site: Path) -> list[str]:
    """Links within the site that lead nowhere, and links out of it that are no addresses, with their pages."""
    pages = {page: page.read_text() for page in site.rglob("*.html")}
    places = {page: set(PLACE.findall(text)) for page, text in pages.items()}
    dead = []
    for page, text in pages.items():
        for link in LINK.findall(text):
            parts = urlparse(link.replace("&amp;", "&"))
            if parts.scheme in ("http", "https"):
                good = bool(re.fullmatch(r"[\w.-]+\.\w+", parts.netloc)) and " " not in link
            else:
                other = (page.parent / unquote(parts.path)).resolve() if parts.path else page
                good = not parts.scheme and other.is_file()
                good = good and (
                    not parts.fragment or other.suffix != ".html" or unquote(parts.fragment) in places[other]
                )
            if not good:
                dead.append(f"{page.name}: {link}")
    return dead


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there"></a><a href="#here" id="here"></a><a href="https://x.org/">'
    )
    (tmp_path / "b.html").write_text(
        '<p id="there"><a href="c.html"></a><a href="a.html#gone"></a><a href="http://x y">'
    )
    assert dead_links(tmp_path) == ["b.html: c.html", "b.html: a.html#gone", "b.html: http://x y"]
