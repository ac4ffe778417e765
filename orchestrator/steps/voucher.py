"""A code from a pool, or back into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.reading import Context, option, unknown
from orchestrator.source import Node
from orchestrator.steps import Give, Go, Here, Outcome, Step, TakeBack


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """A code that goes back into its pool."""

    take_back: str = option("the pool of the code that is taken back")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher(Step):
    """Gives a voucher code from a pool of workspace.yaml, once for this run (once for each time a loop comes by); or
    takes one back.

    Texts behind this step name it: `{{ voucher.code }}` is the code, `{{ voucher.expires }}` the last day on which it
    can be redeemed, which is as many days after the day of the giving, where its owner is, as the pool's `valid` says.
    What follows is judged with the code given. Where the pool is empty, nothing is given and the run goes on: its diary
    and the tick's report say so, and texts that name the voucher are refused (`missing_value`).

    ```yaml
    - voucher: pool-ten
    - email: birthday-present
    ```

    A pool of seats is a waiting list: `wait_for` the event `voucher_given`, and where it does not come, `goto` the
    step again. `take_back` puts the last code that a journey gave to whom this run is about, and that was not
    redeemed, back into its pool, for somebody else; `voucher_returned` is recorded. Codes that were bought with points
    or won stay theirs. Whoever had a code has seen it: take back what is looked up by name at the door, such as a seat,
    and not what is worth money to anybody who knows it.

    ```yaml
    - voucher: { take_back: pool-ten }
    ```
    """

    keyword = "voucher"
    passes: ClassVar[bool] = False

    voucher: str | Back = option("the pool; or { take_back: POOL }")

    @staticmethod
    def named(head: Node) -> str:
        said = head.get("take_back") if head.kind == "map" else None
        return f"take-back-{said.text}" if said is not None else head.text if head.kind == "scalar" else ""

    def check(self, node: Node, context: Context) -> None:
        pools = context.vocabulary.loyalty.pools
        pool = self.voucher if isinstance(self.voucher, str) else self.voucher.take_back
        if pool not in pools:
            said = node.get("voucher")
            said = (said.get("take_back") or said) if said is not None and said.kind == "map" else said
            at = said.span if said is not None else self.span
            unknown(context.problems, "voucher pool", pool, at, pools, " under `vouchers`")

    def arrive(self, here: Here) -> Outcome:
        visit = here.enrollment.visit
        if isinstance(self.voucher, Back):
            pool = self.voucher.take_back
            return Go((TakeBack(self.id, visit, pool),), {"pool": pool}, fresh=True, what="took_back")
        return Go((Give(self.id, visit, self.voucher),), {"pool": self.voucher}, fresh=True, what="voucher")
