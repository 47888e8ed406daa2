"""Has every number of the rendered page a card? Read off the HTML, with nothing known of its making."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from fffbench.report import cards, render
from fffbench.results.store import load

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
VOID = {"meta", "link", "br", "img", "input", "path", "hr"}
GAIN = re.compile(r"\d[\d.]*x \[|\d x \[")  # a measured ratio with its interval
MEASURED_WITH_INTERVAL = re.compile(r"\d[\d.]*x \[")
MEASURED = re.compile(r"\d[\d.]*x(?![\w%])|\d[\d.]* (?:s|ms|us|ns)\b")
ELSEWHERE = {"p", "shown"}  # classes of what others published


class Numbers(HTMLParser):
    """Elements that say which quantity they are, and cells of columns of numbers; the ids and links there are."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.ids, self.links, self.cards, self.bare = set(), set(), {}, []
        self._open = []  # tag, attributes, text and links of every open element
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("td", "th", "tr", "li", "tbody") and any(one[0] == tag for one in self._open[-3:]):
            self._leave(tag)  # a closing tag that HTML lets one leave out
        if "id" in given:
            self.ids.add(given["id"])
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
            for one in self._open:
                one[3].append(given["href"])
        if "data-to" in given:
            self.links.add(given["data-to"])
        if tag not in VOID:
            self._open.append((tag, given, [], []))

    def handle_endtag(self, tag):
        if any(one[0] == tag for one in self._open):
            self._leave(tag)

    def _leave(self, tag):
        while self._open:
            last = self._open.pop()
            self._look(*last)
            if last[0] == tag:
                break

    def handle_data(self, data):
        for one in self._open:
            one[2].append(data)

    def _look(self, tag, given, texts, links):
        classes = set((given.get("class") or "").split())
        within = [one[1].get("class") or "" for one in self._open]
        said = re.sub(r"\s+", " ", "".join(texts)).strip()
        if "card" in classes:
            self.cards[given["id"]] = said
        if any("card" in name.split() for name in within) and tag != "div":
            return
        if any("samples" in name.split() for name in within):  # what numbers lead to: the samples themselves
            return
        named = given.get("data-q") or given.get("data-l")
        of_numbers = tag == "td" and "n" in classes and not classes & ELSEWHERE and "w" not in classes
        sentence = bool({"lede", "facts", "ladders"} & classes) and MEASURED.search(said)
        if (
            named or (of_numbers and MEASURED.search(said)) or sentence or (tag == "td" and GAIN.search(said))
        ) and said:
            self.bare += [] if any(self._leads(link) for link in links) else [f"{tag} {said[:80]}"]

    @staticmethod
    def _leads(link):
        return re.match(r"#(n|d|m|a|y|r|claim)-|all\.html#|(history|regressions)\.csv|results/published/", link)


def without_card(folder):
    """The numbers of the pages in ``folder`` that lead to no card, and the links that lead nowhere."""
    pages = {name: Numbers((folder / name).read_text(encoding="utf-8")) for name in ("index.html", "all.html")}
    found = []
    for name, page in pages.items():
        found += [f"{name}: no card: {said}" for said in page.bare]
        for link in sorted(page.links):
            path, _, anchor = link.partition("#")
            if re.match(r"https?://", path):
                continue
            if path and not (folder / unquote(path)).is_file():
                found.append(f"{name}: no file: {link}")
            elif anchor and path in ("", *pages) and anchor not in pages[path or name].ids:
                found.append(f"{name}: no such place: {link}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("page")
    render(load(RESULTS), out, folder=RESULTS)
    return out


def test_every_number_leads_to_a_card_and_every_link_to_a_place(folder):
    page = Numbers((folder / "index.html").read_text(encoding="utf-8"))
    assert len({link for link in page.links if re.match(r"#[nmd]-", link)}) > 200
    assert without_card(folder) == []


@pytest.mark.parametrize("kind", ["n", "m", "d"])
def test_a_number_whose_card_or_link_is_missing_is_found(folder, tmp_path, kind):
    text = (folder / "index.html").read_text(encoding="utf-8")
    link = re.search(rf'<td class=n[^>]*><a href="#({kind}-\w+)"', text)[1]
    for broken, complaint in (
        (re.sub(rf'<article class="card" id="{link}".*?</article>', "", text, flags=re.DOTALL), "no such place"),
        (re.sub(rf'(<td class=n[^>]*>)<a href="#{link}">(.*?)</a>', r"\1\2", text), "no card"),
    ):
        assert broken != text
        for path in folder.iterdir():
            if path.name != "index.html":
                target = tmp_path / path.name
                target.exists() or target.symlink_to(path)
        (tmp_path / "index.html").write_text(broken, encoding="utf-8")
        found = without_card(tmp_path)
        assert found
        assert all(complaint in one for one in found)


def test_every_mark_of_a_chart_and_every_number_of_the_picker_leads_to_a_card(folder):
    """Marks and the list under the chart have the same cards; those that no table shows are in the archive."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    figures = dict(re.findall(r'<figure id="([^"]+)">(.*?)</figure>', text, re.DOTALL))
    assert {"hero", "batch", "width", "why", "roofline", "ladder-chart"} <= set(figures)
    for name, figure in figures.items():
        listed = re.search(r'<details class="numbers">.*?</details>', figure, re.DOTALL)[0]
        links = set(re.findall(r'href="([^"]+)"', listed))
        assert len(links) >= (8 if name == "hero" else 4), name
        for drawing in re.findall(r"<svg.*?</svg>", figure, re.DOTALL):
            assert set(re.findall(r'data-to="([^"]+)"', drawing)) == links, name
        assert not MEASURED_WITH_INTERVAL.search(re.sub(r"<a .*?</a>", "", listed)), name
    ids = {
        name: set(re.findall(r"\bid=\"?([\w-]+)", (folder / name).read_text())) for name in ("index.html", "all.html")
    }
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    rows = [by[4] for _, devices in data["rows"] for by in devices if by]
    cells = [cell[3] for *_, by in data["runs"] for cell in by.values()]
    assert len(rows) > 30
    assert len(cells) > 500
    for to in rows:
        path, _, anchor = to.partition("#")
        assert anchor in ids[path or "index.html"]
    assert set(cells) <= ids["all.html"]


def test_a_card_names_both_sides_samples_file_run_date_commit_state_fingerprint_and_command(folder):
    cards = Numbers((folder / "index.html").read_text(encoding="utf-8")).cards
    text = (folder / "index.html").read_text(encoding="utf-8")
    measured = {name: said for name, said in cards.items() if name[:2] in ("n-", "m-")}
    assert len(measured) > 200
    for name, said in measured.items():
        whole = re.search(rf'<article class="card" id="{name}".*?</article>', text, re.DOTALL)[0]
        sides = whole.count('<div class="side">')
        assert sides >= 1 + (" over " in said.split("run ")[0]), said
        assert whole.count("<svg ") == sides
        origins = len(re.findall(r"\d{4}-\d\d-\d\d, commit \w+, (?:clean|dirty)", said))
        assert origins in (1, sides), said  # sides of one run say it once, below them
        last = whole.rindex('<div class="side">')
        assert origins == sides or "fingerprint</a>" not in whole[:last]
        for mark in ('<a href="results/', "fingerprint</a>", "run <code>"):
            assert whole.count(mark) >= origins, (mark, said)
        assert "These cells again: fffbench run" in said


def test_a_derived_figure_says_how_and_of_which_numbers(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    derived = re.findall(r'<article class="card" id="d-\w+".*?</article>', text, re.DOTALL)
    assert len(derived) >= 10
    for card in derived:
        assert re.search(r'<li><a href="#[nma]-\w+">', card)


def test_a_raw_file_beside_the_page_is_the_one_among_the_results(folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    paths = {unquote(path) for path in re.findall(r'href="(results/[^"]+\.json)"', text)}
    assert len(paths) > 20
    for path in paths:
        assert (folder / path).read_bytes() == (ROOT / path).read_bytes()
        json.loads((folder / path).read_bytes())


def test_a_page_with_its_most_cards_leads_to_samples_in_the_archive_and_nowhere_else(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "MOST", 20)
    render(load(RESULTS), tmp_path, folder=RESULTS)
    page = Numbers((tmp_path / "index.html").read_text(encoding="utf-8"))
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<div data-q="n-\w+"><a href="all\.html#r-\w+">', text)
    assert len({link for link in page.links if link.startswith("#n-")}) < 250
    assert without_card(tmp_path) == []
