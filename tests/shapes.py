"""The type checker of the runs with `pytest --jaxtyping-packages=domainmetric,data_prep,tests.shapes.check`."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""beartype, to which an int is a float, as it is to mypy."""
