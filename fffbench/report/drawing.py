"""How does a matplotlib figure become an inline SVG of the page?

Deterministic bytes (fixed hash salt, no date), text as text in the page's own
font, and colours as CSS variables, so that one drawing serves light, dark and
print. Ids get the figure's name, so that figures don't share definitions.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, NullLocator

from fffbench.text import plain
from fffbench.units import seconds

# Colours that stand for CSS variables; matplotlib writes them into style attributes, where they are replaced.
INK, MUTED, GRID, PAPER = "#010203", "#010204", "#010205", "#010206"
DENSE, CMM, FFF = "#010207", "#010208", "#010209"
BAD, GOOD = "#01020a", "#01020b"
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    DENSE: "--dense",
    CMM: "--cmm",
    FFF: "--fff",
    BAD: "--bad",
    GOOD: "--good",
}
FAMILY = {"dense": DENSE, "cmm": CMM, "fff": FFF}
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # the second cue beside colour
SCROLL_BELOW = 620  # pixels: narrower, a chart scrolls rather than shrinks its text
GROW = 1.35  # a chart may fill a wide column up to this scale
LONGEST_LABEL = 60  # characters: labels come from result files and must not grow the drawing

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fffbench",
    "text.parse_math": False,  # a dollar sign in a machine's name is a dollar sign
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # no ticks on top to look out for: looking takes a tenth of the drawing
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}

# What draws nothing, half of a drawing's bytes: the page's font takes the place of the library's list, frames without
# ink, turns by nothing, and names of groups that nobody refers to (those of ticks a test looks up).
_SPARE = re.compile(
    r"; font-family: [^;\"]*(?=[;\"])"
    r'| transform="rotate\(-?0 [^"]*\)"'
    r'|<path d="[^"]*" style="fill: none"/>'
    r'|(?<=<g) id="(?![^"]*tick)[^"]*"'
)
_ATTRIBUTE, _LONG = re.compile(r'="[^"]*"'), re.compile(r"(\d+\.\d\d)\d+")  # a hundredth of a point is not seen
_GROUP = re.compile(r"(<g>|<g [^>]*>|</g>)\n?")
_NAMED = re.compile(r'(\bid="|<use xlink:href="#|url\(#)([^")]*)')
_PATH, _STYLE = re.compile(r' d="[^"]*"'), re.compile(r' style="[^"]*"')
_MARK = re.compile(r'<a xlink:href="([^"]*)"[^>]*>(.*?)</a>', re.DOTALL)  # an artist with a url


def label(text: str) -> str:
    """``text`` fit for a drawing: printable, one line, not too long."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= LONGEST_LABEL else clean[: LONGEST_LABEL - 1] + "…"


def times_label(value: float, _: int | None = None) -> str:
    """``100x`` for an axis."""
    return f"{value:g}x"


def count_label(value: float, _: int | None = None) -> str:
    """``16384`` for an axis."""
    return f"{value:g}" if value < 1e5 else f"{value / 1e3:.0f}k"


def seconds_label(value: float, _: int | None = None) -> str:
    """``10 ms`` for an axis."""
    amount, unit = seconds(value * (1 + 1e-9)).split(" ")  # a power of ten must not fall below its own unit
    return f"{float(amount):g} {unit}"


def log_ticks(axis: Axis, written: Callable[[float, int | None], str]) -> None:
    """Label the major ticks of a logarithmic ``axis`` with ``written`` and drop the minor ones."""
    axis.set_major_formatter(FuncFormatter(written))
    axis.set_minor_locator(NullLocator())


def new(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Drawing, list[Axes]]:
    """A figure in inches with ``rows`` x ``columns`` axes; call inside ``mpl.rc_context(STYLE)``."""
    figure = Drawing(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def _compact(text: str, name: str) -> str:
    """``text`` in a third of its bytes: no groups without a property, no long names, no style written twice."""
    parts: list[str] = []
    named: list[bool] = []  # of the groups that are open, whether they stay
    for part in _GROUP.split(_SPARE.sub("", text)):
        if part == "</g>":
            parts += ["</g>\n"] if named.pop() else []
        elif part.startswith(("<g>", "<g ")):
            named.append(part != "<g>")
            parts += [part] if part != "<g>" else []
        else:
            parts.append(part)
    text = "".join(parts)
    known = dict.fromkeys(re.findall(r'\bid="([^"]*)"', text))
    short = {one: one if "tick" in one else f"{name}-{place}" for place, one in enumerate(known)}  # a test seeks ticks
    text = _NAMED.sub(lambda match: match[1] + short.get(match[2], match[2]), text)
    text = _PATH.sub(lambda match: re.sub(r"\s*\n\s*|(?<=[MLCQ]) ", "", match[0]), text)
    text = _STYLE.sub(lambda match: match[0][:8] + re.sub(r"([;:]) ", r"\1", match[0][8:]), text)
    text = _MARK.sub(lambda match: f'<g data-to="{match[1]}">{match[2].strip()}</g>', text)
    # styles that recur become classes, named by what they say: drawings of one page share them
    counted = Counter(_STYLE.findall(text))
    classes = {style: "s" + sha256(style.encode()).hexdigest()[:6] for style, count in counted.items() if count > 2}
    text = _STYLE.sub(lambda match: f' class="{classes[match[0]]}"' if match[0] in classes else match[0], text)
    rules = "".join(f".{called}{{{style[8:-1]}}}" for style, called in classes.items())
    return text.replace("</style>", f"{rules}</style>", 1)


def to_svg(figure: Drawing, name: str, description: Sequence[str]) -> Markup:
    """The figure as inline SVG called ``name``; ``description`` holds its numbers in words.

    A mark with a ``url`` says in ``data-to`` where its number comes from: a drawing is one image to a screen reader,
    so the links are beside it, and the script of the page follows a click on the mark.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    buffer = io.StringIO()
    # not savefig: it draws everything once more beforehand, for a layout that is done
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', text)
    text = text.replace('<use xlink:href="#', f'<use xlink:href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: (?:bold|700) ([\d.]+)px [^;\"]*", r"font-weight: bold; font-size: \1px", text)
    text = re.sub(r"font: (?:\w+ )?([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    text = _ATTRIBUTE.sub(lambda match: _LONG.sub(r"\1", match[0]), text)
    text = _compact(text, name)
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', text).group(1))  # type: ignore[union-attr]
    size = f"min-width:{min(width, SCROLL_BELOW):.0f}px;max-width:{width * GROW:.0f}px"
    head = f'<svg role="img" aria-labelledby="{name}-desc" style="{size}" '
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', head + r"\1>", text, count=1)
    desc = f'<desc id="{name}-desc">{escape(plain(" ".join(description)))}</desc>'
    start = text.index(">") + 1
    return Markup(text[:start] + desc + text[start:])  # noqa: S704 - matplotlib escapes its text, escape() the rest


def to_file(svg: Markup) -> str:
    """An inline drawing as an SVG file of its own: the page's colours, its font and a background come with it."""
    light, dark = _variables()
    style = (
        f'svg{{{light}background:var(--paper);font-family:system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}}'
        f"@media (prefers-color-scheme:dark){{svg{{{dark}}}}}"
    )
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None
    width, height = (float(number) for number in box.groups())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'width="{width:g}" height="{height:g}" {box[0]}>\n<style>{style}</style>\n'
        f'<rect width="100%" height="100%" fill="var(--paper)" rx="6"/>\n'
    )
    body = str(svg)[svg.index(">") + 1 :]
    return head + body.rstrip() + "\n"


def _variables() -> tuple[str, str]:
    """The colour variables of the style sheet, for light and for dark."""
    css = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root\{(.*?)\}", css, re.DOTALL)[:2]
    return tuple(";".join(re.findall(r"--[\w-]+:#\w+", part)) + ";" for part in (light, dark))  # type: ignore[return-value]
