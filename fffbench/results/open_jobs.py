"""Which jobs of a fleet should have measured and have not? Reads ``results/fleet/<class>/<job>.json``.

``fffbench fleet collect`` writes one such file for each job that is not done and takes it away when the job is; so a
node that is down for ever, or a job that failed, is on the page with every cell that it owes. A file says nothing about
any machine, and is no result: ``fffbench merge`` leaves it where it is.

Format history (key ``format``): 1 is the first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import FailFast, Field

from fffbench.results.documents import Document, read_documents
from fffbench.results.listing import Refusal
from fffbench.results.record import Text

ROOM = "fleet"
FORMAT = 1
MOST_CELLS = 100_000  # of one job
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$")]


class OpenJob(Document):
    """One job that is not done: how far it is, in one line why, and the cells that it owes.

    A cell is named as planned; where nobody knows yet how many threads ``all`` are, it says ``all``.
    """

    format: Annotated[int, Field(ge=1)] = FORMAT
    class_name: Word
    preset: Word
    block: Word
    state: Text
    said: Text
    cells: Annotated[list[Text], Field(max_length=MOST_CELLS), FailFast()]

    @property
    def name(self) -> str:
        """``epyc/quick-cpu-d768-b128``."""
        return f"{self.class_name}/{self.preset}-{self.block}"

    @property
    def reason(self) -> str:
        """Why its cells have no time."""
        return f"the job is not done: {self.state}{', ' if self.said else ''}{self.said}"


def read_open_jobs(root: Path) -> tuple[list[OpenJob], list[Refusal]]:
    """Every open job under ``root`` by name, and what could not be read."""
    jobs, refused = read_documents(root, ROOM, OpenJob, FORMAT, _misplaced)
    return sorted(jobs, key=lambda job: job.name), refused


def _misplaced(job: OpenJob, path: Path) -> tuple[str, str] | None:
    if job.name == f"{path.parent.name}/{path.stem}":
        return None
    return "class_name", f"{job.name!r} lies in the place of another job"
