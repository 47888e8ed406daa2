"""placeholder"""

from typing import Any


def measure(*a: Any) -> None: ...
