"""Which of several machines with the same id is this, in a word that says nothing about it?

The word is a keyed hash of the addresses of the machine's own network cards. The key is the system's random machine-id,
which is in no result, so that nobody can find the addresses by trying. No hostname is read. Where the system has no
machine-id, as in many containers, nobody can tell and the word is empty.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

MACHINE_ID = ("etc/machine-id", "var/lib/dbus/machine-id")
CARDS = "sys/class/net"
PURPOSE = b"fffbench host 1"  # another program's word for this machine is another one
DIGITS = 12


def anonymous(root: Path = Path("/")) -> str:
    """Twelve hexadecimal digits that are the same whenever this machine measures, or nothing."""
    key = next(
        (found for name in MACHINE_ID if (found := _text(root / name)) and re.fullmatch(r"[0-9a-f]{32}", found)), ""
    )
    if not key or not key.strip("0"):
        return ""
    return hmac.new(bytes.fromhex(key), b"\n".join([PURPOSE, *_cards(root)]), hashlib.sha256).hexdigest()[:DIGITS]


def _is_key(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None and text.strip("0") != ""


def _cards(root: Path) -> list[bytes]:
    """The addresses of cards that are devices; those of bridges and containers are drawn anew at every start.

    Nodes that boot one image share its machine-id, and their cards tell them apart.
    """
    try:
        cards = sorted((root / CARDS).iterdir())
    except OSError:
        return []
    return sorted({_text(card / "address").encode() for card in cards if (card / "device").exists()})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
