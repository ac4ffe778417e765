"""A code from a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.reading import Context, option, unknown
from orchestrator.source import Node
from orchestrator.steps import Give, Go, Here, Outcome, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher(Step):
    """Gives a voucher code from a pool of workspace.yaml, once for this run (once for each time a loop comes by).

    Texts behind this step name it: `{{ voucher.code }}` is the code, `{{ voucher.expires }}` the last day on which it
    can be redeemed, which is as many days after the day of the giving, where its owner is, as the pool's `valid` says.
    What follows is judged with the code given. Where the pool is empty, nothing is given and the run goes on: its diary
    and the tick's report say so, and texts that name the voucher are refused (`missing_variable`).

    ```yaml
    - voucher: pool-ten
    - email: birthday-present
    ```
    """

    keyword = "voucher"
    passes: ClassVar[bool] = False

    voucher: str = option("the pool")

    def check(self, node: Node, context: Context) -> None:
        pools = context.vocabulary.loyalty.pools
        if self.voucher not in pools:
            said = node.get("voucher")
            at = said.span if said is not None else self.span
            unknown(context.problems, "voucher pool", self.voucher, at, pools, " under `vouchers`")

    def arrive(self, here: Here) -> Outcome:
        effect = Give(self.id, here.enrollment.visit, self.voucher)
        return Go((effect,), {"pool": self.voucher}, fresh=True, what="voucher")
