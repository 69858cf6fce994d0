"""What each primitive of castoff is called in ATen: a table, filled by one module per family."""

from . import algebra, effects, gathering, pointwise, reductions, views
from .table import SPELLINGS

__all__ = ["SPELLINGS", "algebra", "effects", "gathering", "pointwise", "reductions", "views"]
