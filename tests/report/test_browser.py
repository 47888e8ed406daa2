"""Does the page stand in a browser: at a phone's, a tablet's and a desk's width, dark, printed, on its own?

Headless Chromium, where there is one. A probe appended to a copy of the page puts what it saw into the title.
"""

import json
import re
import shutil
import subprocess

import pytest
from synthetic import cell_id, quick_cells, write_run

from fffbench.plan.workload import Shape
from fffbench.report import render
from fffbench.results.store import load

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
SECONDS = 60
BRIGHT, DIM = 180, 60  # of 255: paper and ink must lie on different sides, far apart
# before the page's own script, so that it hears everything
LISTEN = """<script>
window.seen = [];
addEventListener("error", event => seen.push("error: " + (event.message || event.target.src)), true);
addEventListener("securitypolicyviolation", event => seen.push("request: " + event.blockedURI));
console.error = console.warn = (...words) => seen.push("console: " + words.join(" "));
</script>"""
# any request at all would break this policy, and be heard
POLICY = """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
script-src 'unsafe-inline'">"""
PROBE = """<script>addEventListener("load", () => {
const open = new URLSearchParams(location.search).has("open");
if (open) document.querySelectorAll("details").forEach(box => { box.open = true; });
const page = document.documentElement, style = getComputedStyle(document.body);
const shown = document.querySelectorAll("td, p, h2, h3, figure, dd").length;
const cut = [...document.querySelectorAll("p, h2, h3, h4, li, dt, dd, table, figure, svg, summary")].filter(one =>
  one.getClientRects().length && !one.closest(".scroll, .draw") && one.getBoundingClientRect().right > innerWidth + 1);
const small = [...document.querySelectorAll("a, button, input, summary, [tabindex]")].filter(one => one.tabIndex < 0);
const said = JSON.stringify({seen, width: innerWidth, wide: page.scrollWidth, shown, paper: style.backgroundColor,
  ink: style.color, cut: cut.map(one => one.textContent.slice(0, 60)), unreachable: small.length,
  buttons: document.querySelectorAll("th button").length,
  resources: performance.getEntriesByType("resource").map(entry => entry.name)});
setTimeout(() => parent.postMessage(said, "*"), 0);
});</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    cells = quick_cells()
    dense = Shape.dense(768, 4095)
    for cache in ("hot", "cold"):
        cells[cell_id("fff_cpu", batch=4096, cache=cache)] = 0.005
        cells[cell_id("dense_linear", batch=4096, cache=cache)] = 0.6
    write_run(folder / "results", cells=cells, skipped={cell_id("cmm_masked"): "needs 99 GB"})
    faulty = {
        cell_id("faulty_blas_fff2_published", batch=4096, cache="hot"): 0.02,
        cell_id("faulty_blas_ff3_published", shape=dense, batch=4096, cache="hot"): 0.8,
    }
    wrong = {"error": 1.0, "tolerance": 1e-6, "tokens": 9, "diverged": 0, "diverged_cap": 0}
    write_run(folder / "results", cells=faulty, run="ladder", changes={"family": "faulty", "check": wrong})
    html = render(load(folder / "results"), folder / "out").read_text(encoding="utf-8")
    probed = html.replace("<head>", f"<head>{POLICY}{LISTEN}", 1).replace("</body>", f"{PROBE}</body>", 1)
    assert probed.count("securitypolicyviolation") == 1
    path = folder / "out" / "probed.html"
    path.write_text(probed, encoding="utf-8")
    return path


def chromium(folder, *arguments):
    """What Chromium prints; its profile is a folder of its own."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += [f"--user-data-dir={folder}", "--virtual-time-budget=5000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def seen(page, folder, width, *arguments, query=""):
    """The probe's report at ``width``: the frame stands in for a narrow window, which headless Chromium widens."""
    frame = page.with_name(f"frame{width}{len(query)}.html")
    relay = "onmessage = event => { document.title = event.data; };"
    style = f"width:{width}px;height:900px;border:0"
    frame.write_text(
        f"<!doctype html><title>-</title><script>{relay}</script>"
        f'<iframe src="{page.name}{query}" style="{style}"></iframe>',
        encoding="utf-8",
    )
    printed = chromium(
        folder, f"--window-size={max(width, 600)},900", "--allow-file-access-from-files", *arguments, "--dump-dom",
        frame.as_uri(),
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", printed, re.DOTALL)
    assert title, printed[:300]
    return json.loads(title[1].replace("&amp;", "&").replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">"))


@pytest.mark.parametrize("query", ["", "?open"], ids=["closed", "every section open"])
@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_is_cut_no_error_is_raised_and_no_request_leaves(page, tmp_path, width, query):
    found = seen(page, tmp_path, width, query=query)
    assert found["seen"] == []
    assert found["resources"] == []
    assert found["width"] == width
    assert found["cut"] == []
    assert found["wide"] <= width
    assert found["shown"] > 100


def test_everything_that_can_be_clicked_can_be_reached_by_keyboard(page, tmp_path):
    found = seen(page, tmp_path, 1280)
    assert found["buttons"] > 10
    assert found["unreachable"] == 0


def brightness(colour):
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3


def test_dark_is_dark_and_light_is_light(page, tmp_path):
    light = seen(page, tmp_path / "light", 768)
    dark = seen(page, tmp_path / "dark", 768, "--blink-settings=preferredColorScheme=0")
    assert brightness(light["paper"]) > BRIGHT
    assert brightness(light["ink"]) < DIM
    assert brightness(dark["paper"]) < DIM
    assert brightness(dark["ink"]) > BRIGHT


def test_it_prints_to_a_few_pages(page, tmp_path):
    target = tmp_path / "page.pdf"
    chromium(tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))
    assert 3 <= pages <= 60
