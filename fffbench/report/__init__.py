"""How is it told? One self-contained page and its tables; imports plan, results and analysis, never torch."""

from __future__ import annotations

from fffbench.report.html import headline, render

__all__ = ["headline", "render"]
