"""The page in a real browser: headless Chromium, as it comes with the system.

Where there is none, these tests are skipped, and say so.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from domainmetric.report.build import make
from tests import tiny
from tests.report.made import HOSTILE, NAMES, NUM_TEST, ablation_folder, matched, run_folder

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ABSENT = "\N{EN DASH}"
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
]

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An ablation's page, a single run's, that of a run whose target has no labels, and of an ablation with a gap."""
    ablation = make(ablation_folder(tmp_path_factory.mktemp("ablation")), names=NAMES)
    run = make(run_folder(tmp_path_factory.mktemp("run") / "run", matches=False), names=NAMES)
    unlabelled = make(run_folder(tmp_path_factory.mktemp("unlabelled") / "run", labelled=False), names=NAMES)
    folder = ablation_folder(tmp_path_factory.mktemp("gap"))
    (folder / "runs/v1-s0/report.json").unlink()
    gap = make(folder, names=NAMES)
    return {"ablation": ablation.page, "run": run.page, "unlabelled": unlabelled.page, "gap": gap.page}


@pytest.fixture
def show(browser: Browser, pages: dict[str, Path]) -> Iterator[Open]:
    """Opens a page; at the end nothing may have been complained of or asked for."""
    wrong: list[str] = []
    contexts = []

    def open_page(which: str = "ablation", *, size: Any = LAPTOP, dark: bool = False, touch: bool = False) -> Page:
        scheme: Any = "dark" if dark else "light"
        context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=touch, is_mobile=touch)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: wrong.append(request.url) if outside(request.url) else None)
        page.goto(pages[which].as_uri())
        page.wait_for_selector("#how dl", timeout=60_000)
        page.wait_for_function("document.querySelector('#map canvas.points').placeOf(0)[0] > 0")  # it was drawn
        return page

    def outside(url: str) -> bool:
        return not url.startswith(("data:", *(path.as_uri() for path in pages.values())))

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def pixels(page: Page, selector: str) -> np.ndarray:
    """The pixels of a canvas, as the page drew them."""
    script = """canvas => [canvas.height, canvas.width,
        [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]]"""
    height, width, values = page.locator(selector).first.evaluate(script)
    return np.array(values).reshape(height, width, 4)[..., :3]


def shown_row(drawn: np.ndarray, side: str, split: str) -> int:
    """The row of the stored image that a thumbnail shows, by far more than any other."""
    images = getattr(tiny.pair(), side).load(split, root=Path(), size=tiny.SIZE).images.numpy().astype(int)
    apart = np.abs(images - drawn).mean((1, 2, 3))
    first, second = np.argsort(apart)[:2]
    assert apart[first] < 0.7 * apart[second]
    return int(first)


def column(page: Page, title: str) -> list[str]:
    """The texts of a column of the first table."""
    titles = page.locator("#results thead").first.locator("th").all_inner_texts()
    at = titles.index(title) + 1
    return page.locator("#results table").first.locator(f"tbody td:nth-child({at})").all_inner_texts()


@pytest.mark.parametrize("which", ["ablation", "run"])
@pytest.mark.parametrize("dark", [False, True])
def test_it_loads_without_complaint_and_without_a_request(show: Open, which: str, dark: bool) -> None:
    page = show(which, dark=dark)
    sections = page.locator("main > section").evaluate_all("all => all.map(one => one.id)")
    assert sections == ["results", "curves", "gaps", "confusion", "triplets", "map", "anchors", "how"]
    assert page.locator("nav a").count() == len(sections)
    for summary in page.locator("#curves summary").all():
        summary.click()
    assert page.locator("#curves svg path").count() > 0


def test_a_missing_seed_keeps_its_place(show: Open) -> None:
    page = show("gap")
    assert column(page, "each seed (0, 1)") == ["60.0 · 62.0", f"{ABSENT} · 82.0", f"{ABSENT} · {ABSENT}"]


@pytest.mark.parametrize("dark", [False, True])
def test_a_target_without_labels_is_told_and_leaves_nothing_empty(show: Open, dark: bool) -> None:
    page = show("unlabelled", dark=dark)
    sections = page.locator("main > section").evaluate_all("all => all.map(one => one.id)")
    assert sections == ["results", "curves", "gaps", "triplets", "map", "anchors", "how"]
    assert page.locator("tbody:empty, section > h2:only-child, select:empty").count() == 0
    assert "no accuracy is known" in page.locator("#lead").inner_text()
    words = " ".join(page.locator(f"#{name}").inner_text() for name in ("curves", "gaps", "map", "anchors"))
    assert "with labels that training does not see" not in words and "oracle" not in words.lower()
    assert "The target has no labels, so there is no accuracy" in words
    rows = [row.locator("td").all_inner_texts() for row in page.locator("#gaps tbody tr").all()]
    assert rows == [["entropy", "-0.25", "160"], ["snd", "3.5", "120"]]
    assert page.locator("#curves details[open] summary", has_text="Label-free scores").count() == 1


def test_the_map_judges_no_image_without_a_label(show: Open) -> None:
    page = show("unlabelled")
    canvas, tip = page.locator("#map canvas.points"), page.locator("#map .tip.picture")
    assert page.locator("#map-by").input_value() == "prediction"
    canvas.focus()
    told = set()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        truth, prediction = tip.inner_text().splitlines()[:2]
        told.add((truth.partition(":")[0], "no label" in truth, prediction[-1] in "✓✗"))
    assert told == {("source", False, True), ("target", True, False)}
    page.select_option("#map-by", "right")
    names = [text.split()[0] for text in page.locator("#map .legend button").all_inner_texts()]
    assert names == ["no", "wrong", "right"]
    assert page.locator("#map .legend .count").first.inner_text() == f"{NUM_TEST} / {NUM_TEST}"


def test_the_page_is_whole_as_soon_as_it_is_loaded(browser: Browser, pages: dict[str, Path]) -> None:
    """A screenshot is taken then. That pictures are decoded in time, nobody promises."""
    page = browser.new_page(viewport=LAPTOP)
    page.add_init_script("HTMLImageElement.prototype.decode = () => new Promise(() => {})")
    for path in pages.values():
        page.goto(path.as_uri())
        assert page.locator("#how dl").count() == 1
    page.close()


def test_hostile_names_are_shown_as_text(show: Open) -> None:
    page = show()
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.title().startswith(HOSTILE)
    assert HOSTILE in page.locator("#results table").nth(1).inner_text()
    assert page.locator("main script, main bold").count() == 0


def test_sorting(show: Open) -> None:
    page = show()
    head = page.locator("#results thead button", has_text="target accuracy")
    assert column(page, "target accuracy") == ["61.00%", "81.00%", ABSENT]
    head.click()
    assert column(page, "target accuracy") == ["81.00%", "61.00%", ABSENT]
    assert page.locator("#results th[aria-sort=descending]").first.inner_text().startswith("target accuracy")
    head.focus()
    page.keyboard.press("Enter")
    assert column(page, "target accuracy") == ["61.00%", "81.00%", ABSENT]  # what is absent stays last
    page.locator("#results thead button", has_text="variant").first.click()
    names = column(page, "variant")
    assert names[:2] == [HOSTILE, "nearest"] and names[2].startswith("pixel")


def test_the_right_image_is_under_the_pointer(show: Open) -> None:
    page = show()
    canvas = page.locator("#map canvas.points")
    canvas.scroll_into_view_if_needed()
    items = page.evaluate("JSON.parse(document.getElementById('data').textContent).map.items")
    seen = set()
    for at in range(3, 2 * NUM_TEST, 61):
        x, y = canvas.evaluate("(canvas, at) => canvas.placeOf(at)", at)
        box = canvas.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + x + 0.4, box["y"] + y + 0.4)
        tip = page.locator("#map .tip.picture")
        tip.wait_for(state="visible")
        cell = int(tip.locator("canvas").get_attribute("data-cell") or -1)
        near = canvas.evaluate("(canvas, cell) => [...Array(400).keys()].find(at => canvas.cellOf(at) === cell)", cell)
        found = canvas.evaluate("(canvas, at) => canvas.placeOf(at)", near)
        assert np.hypot(found[0] - x, found[1] - y) < 2  # the point itself, or one that covers it
        side, row = ("source", "target")[items["side"][cell]], items["row"][cell]
        assert shown_row(pixels(page, "#map .tip.picture canvas"), side, "test") == row
        assert f"{side}: {tiny.CLASSES[row % 4]}" in tip.inner_text()
        seen.add(side)
    assert seen == {"source", "target"}


def test_hover_forgives_a_near_miss_but_not_a_far_one(show: Open) -> None:
    page = show()
    canvas = page.locator("#map canvas.points")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    places = canvas.evaluate("canvas => [...Array(400).keys()].map(at => canvas.placeOf(at))")
    x, y = max(places, key=lambda place: place[0])  # nothing lies to its right
    tip = page.locator("#map .tip.picture")
    page.mouse.move(box["x"] + x + 12, box["y"] + y)
    tip.wait_for(state="visible")
    page.mouse.move(box["x"] + 3, box["y"] + box["height"] - 3)
    tip.wait_for(state="hidden")


def test_the_lasso_opens_its_images_in_a_grid(show: Open) -> None:
    page = show()
    canvas = page.locator("#map canvas.points")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    places = np.array(canvas.evaluate("canvas => [...Array(400).keys()].map(at => canvas.placeOf(at))"))
    low, high = np.quantile(places, 0.35, axis=0), np.quantile(places, 0.65, axis=0)
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]), (low[0], low[1])]
    page.mouse.move(box["x"] + low[0], box["y"] + low[1])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=8)
    page.mouse.up()
    figures = page.locator("#lasso-grid figure")
    cells = {int(c) for c in figures.locator("canvas").evaluate_all("all => all.map(one => one.dataset.cell)")}
    numbers = np.array(canvas.evaluate("canvas => [...Array(400).keys()].map(at => canvas.cellOf(at))"))
    sure, possible = (set(numbers[((places > low + w) & (places < high - w)).all(1)].tolist()) for w in (2, -2))
    assert sure <= cells <= possible and len(sure) > 5 and len(cells) == figures.count()
    counts = [text.split(" / ") for text in page.locator("#map .legend .count").all_inner_texts()]
    assert sum(int(shown) for shown, _ in counts) == len(cells)
    assert sum(int(all_) for _, all_ in counts) == 2 * NUM_TEST
    page.get_by_role("button", name="Clear lasso").click()
    assert figures.count() == 0


def test_a_group_of_the_legend_alone(show: Open) -> None:
    page = show()
    page.locator("#map .legend button").nth(1).click()
    assert page.locator("#map .legend .count").all_inner_texts() == ["0 / 100", "100 / 100", "0 / 100", "0 / 100"]


def test_the_map_by_keyboard(show: Open) -> None:
    page = show()
    page.locator("#map canvas.points").focus()
    page.keyboard.press("ArrowRight")
    tip = page.locator("#map .tip.picture")
    tip.wait_for(state="visible")
    before = tip.locator("canvas").get_attribute("data-cell")
    page.keyboard.press("ArrowRight")
    assert tip.locator("canvas").get_attribute("data-cell") != before
    page.keyboard.press("Escape")
    tip.wait_for(state="hidden")


def test_the_anchor_browser_shows_the_right_images(show: Open) -> None:
    page = show()
    kept = matched(0)
    for at in (0, 5, 23):
        page.locator("#anchors .strip button").nth(at).click()
        row = kept["rows"][at]
        assert shown_row(pixels(page, "#anchors .target canvas"), "target", "train") == row
        line = page.locator("#anchors .strategy[data-variant=nearest]")
        for rank in range(2):
            selector = f"#anchors .strategy[data-variant=nearest] .anchor:nth-child({rank + 1}) canvas"
            assert shown_row(pixels(page, selector), "source", "train") == kept["source_index"][at, rank]
        right = kept["label"][at] == row % 4
        assert line.locator(".anchor.right").count() == (2 if right else 0)
        words = line.inner_text()
        assert f"{kept['similarity'][at, 0]:.2f}" in words
        assert ("not matched" in words) == (not kept["keep"][at])
        if kept["keep"][at]:
            assert f"matched {tiny.CLASSES[kept['label'][at]]} {'✓' if right else '✗'}" in words


def test_targets_by_class_by_error_and_at_random(show: Open) -> None:
    page = show()
    kept = matched(0)
    truth = kept["rows"] % 4
    strip = page.locator("#anchors .strip button")
    page.select_option("#anchors-class", "2")
    assert strip.count() == (truth == 2).sum()
    page.select_option("#anchors-class", "")
    page.select_option("#anchors-error", "any")
    wrong = (kept["label"] != truth) | ~kept["keep"]
    assert strip.count() == wrong.sum() and 0 < wrong.sum() < 40
    chosen = set()
    for _ in range(12):
        page.locator("#anchors-random").click()
        chosen.add(page.locator("#anchors .strip button[aria-pressed=true]").get_attribute("data-target"))
    assert len(chosen) > 1 and {int(at or -1) for at in chosen} <= set(np.flatnonzero(wrong).tolist())


def test_a_chosen_variant_is_shown_everywhere(show: Open) -> None:
    page = show()
    page.locator("#results .row-button", has_text="nearest").click()
    assert page.locator("#confusion > div:last-child h3").inner_text().startswith("nearest, 2 seeds")
    for section in ("triplets", "map"):
        chosen = page.locator(f"#{section} label select").first.evaluate("select => select.selectedOptions[0].text")
        assert chosen == "nearest, seed 0"


@pytest.mark.parametrize("which", ["ablation", "run", "unlabelled"])
def test_a_phone_scrolls_down_only(show: Open, which: str) -> None:
    page = show(which, size=PHONE, touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    canvas = page.locator("#map canvas.points")
    canvas.scroll_into_view_if_needed()
    x, y = canvas.evaluate("canvas => canvas.placeOf(7)")
    canvas.tap(position={"x": x, "y": y})
    page.locator("#map .tip.picture").wait_for(state="visible")


def test_dark_is_dark(show: Open) -> None:
    def brightness(page: Page) -> float:
        words = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        return float(np.mean([float(part) for part in words[4:-1].split(",")]))

    assert brightness(show(dark=False)) > 240
    assert brightness(show(dark=True)) < 40
