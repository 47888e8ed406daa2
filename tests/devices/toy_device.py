"""A device that is this host under another name: everything that somebody writes who adds one."""

from fffbench.devices.cpu import Cpu


class Toy(Cpu):
    """The host's processor, called toy."""

    name = "toy"
    label = "TOY"
    cells_per_process = 2
    fact_names = ("toy 0",)

    def facts(self):
        """A fact that is part of the machine's id."""
        return {"toy 0": "Wooden Toy"}


DEVICE = Toy()
