"""From MLflow to tables, figures and MLflow's own pages. Nothing here trains, and nothing imports models.

``seqsuite.results()`` returns the finished runs: the package and the function share a name, so that the
package can be called.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqsuite.results.table import Results


class _Results(ModuleType):
    def __call__(self, *filters: str, experiment: str = "seqsuite", paper: bool = True) -> "Results":
        """See :func:`seqsuite.results.collect.find_results`."""
        from seqsuite.results.collect import find_results

        return find_results(*filters, experiment=experiment, paper=paper)


sys.modules[__name__].__class__ = _Results
