"""What a policy answers with, and what it sees. Made from the contract by Ruleward; not to be edited.

A function makes each object of an answer: `Rule([...], Target_Accept(), None)`. The object is a tuple that nobody but
`ruleward` reads, which a component passes many times faster than an object with fields. For an editor the same names are
the classes of `wit_world.imports.types`. Those may be in an answer too (an address of the facts), where they take longer.
"""

from typing import TYPE_CHECKING

from wit_world.imports.types import *

if not TYPE_CHECKING:
