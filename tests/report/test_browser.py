"""Does the page stand in a browser: at three widths, dark, printed, by keyboard, without script, on its own?

Headless Chromium, where there is one, on the page of the committed results. axe-core is taken from the folder named by
``FFFBENCH_AXE`` (``nox -s page`` installs it through npm) or from ``node_modules``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import chromium
import pytest

from fffbench.report import render
from fffbench.results.store import load

ROOT = Path(__file__).parents[2]
# minutes on two cores: `nox -s page` runs it
pytestmark = [pytest.mark.slow, pytest.mark.skipif(chromium.PATH is None, reason="no Chromium here")]
AXE = next(
    (
        path
        for folder in (os.environ.get("FFFBENCH_AXE"), ROOT / "node_modules")
        if folder and (path := Path(folder) / "axe-core" / "axe.min.js").is_file()
    ),
    None,
)
BYTES, PRINTED = 1_500_000, 14
HEIGHT = {1280: 900, 768: 1024, 375: 812}
SCREENS = {1280: 15, 375: 40}
BRIGHT, DIM = 180, 60  # of 255: paper and ink must lie on different sides, far apart
# what sticks out of the window although nothing lets a reader scroll to it
CUT = """[...document.querySelectorAll("p, h1, h2, h3, li, dt, dd, table, figure, svg, summary, select")].filter(one =>
  one.getClientRects().length && one.checkVisibility()
  && !one.closest(".scroll") && one.getBoundingClientRect().right > innerWidth + 1)
  .map(one => one.tagName + " " + one.textContent.slice(0, 60))"""
# tables whose last column ends beyond the window or beyond the frame that would scroll
HIDDEN_COLUMNS = """[...document.querySelectorAll("table")].filter(one => one.getClientRects().length).filter(table => {
  const frame = table.parentElement.getBoundingClientRect();
  return [...table.rows].some(row => row.cells.length && row.cells[row.cells.length - 1].getBoundingClientRect().right
    > Math.min(innerWidth, frame.right) + 1);
}).map(table => table.id || table.className)"""
# labels of one drawing that lie on each other, or leave it
TOUCHING = """[...document.querySelectorAll("figure svg")].filter(svg => svg.getClientRects().length).flatMap(svg => {
  const labels = [...svg.querySelectorAll("g[id*=tick] text")]
    .map(text => [text.textContent, text.getBoundingClientRect()])
    .filter(([text, box]) => text.trim() && box.width);
  const frame = svg.getBoundingClientRect(), found = [];
  labels.forEach(([text, a], index) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1) found.push(text + " leaves its drawing");
    for (const [other, b] of labels.slice(index + 1))
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > -3  // 16383 65535 must not read as one number
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2)
        found.push(text + " on " + other);
  });
  return found;
})"""
# follow every link from a number; what lands must show the number, in the window
LANDS = """(() => {
  const bad = [], links = [...document.querySelectorAll("a[href^='#n-'], a[href^='#m-'], a[href^='#d-']")];
  for (const link of links) {
    location.hash = link.getAttribute("href");
    const card = document.querySelector(".card:target"), box = card && card.querySelector("h2").getBoundingClientRect();
    const number = (link.textContent.match(/\\d[\\d.]*(x| \\w+)/) || link.textContent.split(/\\s/))[0];
    const inside = card && box.top >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
    if (!inside || !card.textContent.includes(number))
      bad.push(link.textContent + " to " + link.hash);
  }
  location.hash = "closed";
  return [links.length, bad];
})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return render(load(ROOT / "results"), tmp_path_factory.mktemp("page"), folder=ROOT / "results")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def tabs(browser, page):
    """A tab of each width, opened once."""
    found = {}

    def at(width):
        if width not in found:
            found[width] = browser.open(page.as_uri(), width, HEIGHT[width])
        return found[width]

    return at


def test_the_page_is_small(page):
    assert page.stat().st_size <= BYTES


@pytest.mark.parametrize("width", HEIGHT)
def test_nothing_is_cut_no_error_is_raised_and_no_request_leaves(tabs, page, width):
    tab = tabs(width)
    assert tab.run("innerWidth") == width
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(CUT) == []
    closed = "[...document.querySelectorAll('details')].filter(one => !one.open)"
    tab.run(f"window.closed_before = {closed}; closed_before.forEach(one => {{ one.open = true; }})")
    assert tab.run(CUT) == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    tab.run("closed_before.forEach(one => { one.open = false; })")
    assert tab.events("Runtime.exceptionThrown") == []
    assert tab.events("Runtime.consoleAPICalled") == []
    assert tab.events("Log.entryAdded") == []
    asked = [event["request"]["url"] for event in tab.events("Network.requestWillBeSent")]
    assert asked == [page.as_uri()]


@pytest.mark.parametrize("width", SCREENS)
def test_it_is_read_in_a_few_screens(tabs, width):
    height = tabs(width).run("document.documentElement.scrollHeight")
    assert height <= SCREENS[width] * HEIGHT[width]


def test_the_last_column_of_every_table_is_in_view_at_a_desk(tabs):
    tab = tabs(1280)
    assert tab.run("document.querySelectorAll('table').length") >= 5
    assert tab.run(HIDDEN_COLUMNS) == []


def test_the_last_column_of_every_table_of_the_archive_is_in_view_at_a_desk(browser, page):
    tab = browser.open(page.with_name("all.html").as_uri(), 1280)
    tab.run("document.querySelectorAll('details').forEach(box => { box.open = true; })")
    assert tab.run("document.querySelectorAll('table').length") > 30
    assert tab.run(HIDDEN_COLUMNS) == []
    assert tab.run("document.documentElement.scrollWidth") <= 1280
    tab.close()


@pytest.mark.parametrize("width", [375, 1280])
def test_no_tick_label_lies_on_another(tabs, width):
    tab = tabs(width)
    assert tab.run("document.querySelectorAll('figure svg').length") >= 8
    assert tab.run(TOUCHING) == []


@pytest.mark.parametrize("width", [375, 1280])
def test_each_link_from_a_number_lands_with_the_number_in_view(tabs, width):
    count, bad = tabs(width).run(LANDS)
    assert count > 100
    assert bad == []


def test_a_cards_link_to_its_samples_lands_on_them(browser, page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'href="(all\.html#r-\w+)"', text)
    for link in (links[0], links[-1]):
        tab = browser.open(page.parent.as_uri() + "/" + link, 1280)
        soon(tab, "document.querySelector(':target').getClientRects().length > 0")
        place = tab.run(
            "(() => { const box = document.querySelector(':target').getBoundingClientRect();"
            " return [box.top, box.bottom, box.right]; })()"
        )
        assert 0 <= place[0] <= place[1] <= 900
        assert place[2] <= 1280
        tab.close()


def soon(tab, condition):
    """Wait until ``condition`` holds: a key's effect comes when the browser gets to it."""
    waits = f"""(async () => {{
      for (let tries = 0; tries < 200 && !({condition}); tries++) await new Promise(done => setTimeout(done, 50));
      return {condition};
    }})()"""
    assert tab.run(waits), condition


def test_a_card_opens_and_closes_by_keyboard_and_gives_the_place_back(tabs):
    tab = tabs(1280)
    tab.run("document.querySelector('#answers a').focus()")
    before = tab.run("scrollY")
    for key, code in (("Enter", 13), ("Escape", 27)):
        for kind in ("keyDown", "keyUp"):
            more = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            tab.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)
        soon(tab, f"(document.querySelector('.card:target') !== null) === {str(key == 'Enter').lower()}")
        if key == "Enter":
            assert tab.run("document.activeElement.matches('.card:target')")
    soon(tab, "document.activeElement.matches('#answers a')")
    assert tab.run("scrollY") == before


def test_everything_that_can_be_clicked_can_be_reached_by_keyboard(tabs):
    reachable = (
        "[...document.querySelectorAll('a, button, input, select, summary')].filter(one => one.tabIndex < 0).length"
    )
    assert tabs(1280).run(reachable) == 0


def test_two_devices_and_two_runs_can_be_set_side_by_side(tabs):
    tab = tabs(1280)
    assert tab.run("document.querySelectorAll('#picker select').length") == 4
    before = tab.run("document.querySelector('#picker tbody').textContent")
    tab.run("(() => { const one = document.querySelectorAll('#picker select')[1]; one.value = 4;"
            " one.dispatchEvent(new Event('change')); })()")  # fmt: skip
    after = tab.run("document.querySelector('#picker tbody').textContent")
    assert before != after
    assert "x" in after


def test_without_script_the_page_reads_whole(browser, page):
    tab = browser.open("about:blank", 1280)
    tab.send("Emulation.setScriptExecutionDisabled", value=True)
    link = re.search(r'href="#(n-\w+)"', page.read_text(encoding="utf-8"))[1]
    tab.go(f"{page.as_uri()}#{link}")
    assert tab.run("document.querySelector('.card:target').getClientRects().length") == 1
    assert tab.run("document.querySelectorAll('main tr').length") > 40
    tab.close()


@pytest.mark.skipif(AXE is None, reason="no axe-core here (nox -s page installs it through npm)")
@pytest.mark.parametrize("width", [375, 1280])
def test_axe_has_no_serious_finding(tabs, width):
    tab = tabs(width)
    tab.run(AXE.read_text(encoding="utf-8"))
    ask = (
        "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.filter(one =>"
        " ['serious', 'critical'].includes(one.impact)).map(one => one.id + ' ' + one.nodes[0].html.slice(0, 200)))"
    )
    assert tab.run(ask) == []
    tab.run("location.hash = document.querySelector('#answers a').hash")
    assert tab.run(ask) == []
    tab.run("location.hash = 'closed'")


def brightness(colour):
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def test_dark_is_dark_and_light_is_light(browser, tabs, page):
    dark = browser.open(page.as_uri(), 768, 1024, dark=True)
    colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    paper, ink = tabs(768).run(colours)
    assert (brightness(paper) > BRIGHT, brightness(ink) < DIM) == (True, True)
    paper, ink = dark.run(colours)
    assert (brightness(paper) < DIM, brightness(ink) > BRIGHT) == (True, True)
    filled = dark.run("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert brightness(filled) > BRIGHT - 60
    dark.close()


def test_it_prints_to_a_few_pages(tabs):
    pages = len(re.findall(rb"/Type\s*/Page\b", tabs(1280).pdf()))
    assert 3 <= pages <= PRINTED


def test_a_click_on_a_mark_opens_its_card_here_or_in_the_archive(browser, page):
    tab = browser.open(page.as_uri(), 1280)
    mark = """document.querySelector("figure .wide [data-to^='#'] > *")"""
    tab.run(f"{mark}.dispatchEvent(new Event('click', {{bubbles: true}}))")
    assert tab.run("document.querySelector('.card:target h2').getClientRects().length") == 1
    elsewhere = tab.run("""[...document.querySelectorAll("figure [data-to^='all.html']")].map(one => one.dataset.to)""")
    tab.close()
    assert len(elsewhere) > 50
    for to in (elsewhere[0], elsewhere[len(elsewhere) // 2], elsewhere[-1]):
        tab = browser.open(page.with_name("all.html").as_uri() + "#" + to.partition("#")[2], 1280)
        box = "document.querySelector('.card:target h2').getBoundingClientRect()"
        assert tab.run(f"{box}.top >= 0 && {box}.bottom <= innerHeight && {box}.height > 0")
        tab.close()
