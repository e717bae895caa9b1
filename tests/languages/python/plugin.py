"""Prints as an event says: for the tests of the kit."""

import sys

from projectionist import Projection, log


class Probe(Projection):
    name = "probe"
    version = "0.1.0"
    view = "probe"

    def fold(self, document, event):
        lines = event.value["lines"]
        for line in range(lines):
            print("line", line, {"of": lines})
        print("printed", file=sys.stderr)
        print("without an end", end="")
        log.warn("logged")
        return {"lines": lines}


projection = Probe()
