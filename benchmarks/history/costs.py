"""What do the command line and the report cost?"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "results"


def timeraw_import_command_line():
    return "import fffbench.cli"


timeraw_import_command_line.number = 1
timeraw_import_command_line.repeat = (5, 10, 10.0)


class Report:
    """Rendering the committed results of the working tree."""

    timeout = 120
    number = 1
    repeat = (4, 6, 20.0)
    warmup_time = 0
    results = None

    def setup(self):
        self.out = Path(tempfile.mkdtemp())
        if self.results is not None:
            return  # asv calls this before every sample
        from fffbench.report import render
        from fffbench.results import store

        if not (RESULTS / "matrix").is_dir():
            raise NotImplementedError("no committed matrix results in this tree")
        self.render, self.results = render, store.load(RESULTS)

    def teardown(self):
        shutil.rmtree(self.out, ignore_errors=True)

    def time_report(self):
        self.render(self.results, self.out)
