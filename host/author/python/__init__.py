"""What a policy in Python inherits from. Written by Ruleward; not to be edited."""

import sys

import wit_world
from wit_world.imports import log


class Policy(wit_world.WitWorld):
    """Logs an exception that ends `describe` or `evaluate`. Python would print it, and a policy has nowhere to print."""

    def __new__(cls):
        # componentize-py makes the instance last. What is raised before is an error of the build, which prints it.
        sys.excepthook = _log_exception
        return super().__new__(cls)


def _log_exception(kind, error, place):
    log.emit(log.Level.ERROR, f"{kind.__name__}: {error}")
    while place is not None:
        code = place.tb_frame.f_code
        file = code.co_filename.rpartition("/")[2]
        log.emit(log.Level.ERROR, f"in {code.co_qualname}, {file} line {place.tb_lineno}")
        place = place.tb_next
