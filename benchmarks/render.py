"""What a message's words cost: slots beside a full sandboxed rendering of the same e-mail.

    python -m benchmarks.render [MESSAGES]

The e-mail is the one of the targets' floor: subject, text and 5.5 KB of HTML with a loop over six items. Beside it
stand the starter set's texts, whose cost is theirs: few slots, no loop.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from babel.dates import format_date
from babel.numbers import format_currency, format_decimal
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestrator.jinja import Sandbox
from orchestrator.skeleton import Compiled, Part, compile_parts

STYLE = "font-family:Helvetica,Arial,sans-serif;font-size:15px;line-height:24px;color:#2a322f;padding:12px 24px"
FILLER = "".join(
    f'<tr><td style="{STYLE}">Paragraph {n}: you get this because you said yes to it; you may say no.</td></tr>'
    for n in range(15)
)
SUBJECT = "{{ customer.first_name }}, your {{ points | number }} points are waiting"
TEXT = """Hello {{ customer.first_name }},
you are {{ tier }} and have {{ points | number }} points.
{% for item in benefits %}
- {{ item.name }}: {{ item.count | number }} for {{ item.price | money }}
{% endfor %}
{{ links.unsubscribe }}
"""
HTML = f"""<!doctype html><html><head><title>{SUBJECT}</title></head><body><table>
<tr><td style="{STYLE}">Hello {{{{ customer.first_name }}}}, you are {{{{ tier }}}}.</td></tr>
{{% for item in benefits %}}<tr><td style="{STYLE}"><a href="{{{{ item.link }}}}">{{{{ item.name }}}}</a></td>
<td>{{{{ item.count | number }}}} for {{{{ item.price | money }}}}</td></tr>{{% endfor %}}
{FILLER}
<tr><td><a href="{{{{ links.preferences }}}}">Choose</a> <a href="{{{{ links.unsubscribe }}}}">Unsubscribe</a></td></tr>
</table></body></html>"""
FEW = [
    Part("subject", "Your contract ends on {{ contract.ends | date }}", line=True),
    Part("text", "Hello {{ customer.first_name | default('there') }}, it ends on {{ contract.ends | date }}."),
    Part(
        "html",
        f"<p>Hello {{{{ customer.first_name | default('there') }}}}</p>{FILLER}<p>{{{{ contract.ends | date }}}}, "
        "{{ contract.value | money }}</p><a href='{{ links.unsubscribe }}'>x</a>",
        escape=True,
    ),
]


def recipients(count: int) -> list[dict[str, Any]]:
    """Contexts that differ from one another, prices too, so that nothing is remembered from the last one."""
    return [
        {
            "customer": {"first_name": f"Ana <{n}>", "timezone": "Europe/Berlin"},
            "tier": "gold",
            "points": 1_000 + n,
            "benefits": [
                {"name": f"Desk & lamp {n}-{i}", "count": i, "price": 4_990 + 17 * n + i, "price_currency": "EUR",
                 "link": f"https://acme.example/p/{n}?i={i}&u=1"} for i in range(6)
            ],
            "contract": {"ends": f"2027-0{1 + n % 9}-1{n % 9}", "value": 100_000 + n, "value_currency": "EUR"},
            "links": {
                "unsubscribe": f"https://acme.example/u/{n}?a=1&b=2", "preferences": f"https://acme.example/p/{n}",
            },
        }
        for n in range(count)
    ]  # fmt: skip


def plain_jinja(part: Part) -> Any:
    """The same part in Jinja's own sandbox, with filters as one would write them on babel."""
    sandbox = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=part.escape, trim_blocks=True, lstrip_blocks=True
    )
    sandbox.filters |= {
        "money": lambda value: format_currency(Decimal(value) / 100, "EUR", locale="de"),
        "number": lambda value: format_decimal(value, locale="de"),
        "date": lambda value: format_date(date.fromisoformat(value), format="long", locale="de"),
    }
    return sandbox.from_string(part.source)


def rate(name: str, work: Callable[[], int], beside: float = 0.0) -> float:
    """Messages a second of processor time, the best of three runs, printed; beside another's when that is given."""
    best = 0.0
    for _ in range(3):
        before = time.process_time()
        done = work()
        best = max(best, done / (time.process_time() - before))
    ratio = f"   {best / beside:5.1f} times" if beside else ""
    print(f"{name:<58}{best:>12,.0f} messages/s  {1e6 / best:8.1f} µs{ratio}")
    return best


def main(count: int) -> None:
    contexts = recipients(count)
    parts = [Part("subject", SUBJECT, line=True), Part("text", TEXT), Part("html", HTML, escape=True)]
    for title, texts in (("a loop over six items", parts), ("a renewal notice, no loop", FEW)):
        made = compile_parts(Sandbox({}), texts, "de")
        whole = [plain_jinja(part) for part in texts]
        size = len(made.render(contexts[0])["html"])
        print(f"\n{title}: {size:,} bytes of HTML, {len(made.slots(contexts[0]))} slots")
        assert list(made.render(contexts[0]).values()) == [template.render(contexts[0]) for template in whole]

        def full(whole: list[Any] = whole) -> int:
            return sum(bool([template.render(context) for template in whole]) for context in contexts)

        own = [Sandbox({}, locale="de", autoescape=p.escape).from_string(p.source) for p in texts]

        def ours(own: list[Any] = own) -> int:
            return sum(bool([template.render(context) for template in own]) for context in contexts)

        def slots(made: Compiled = made) -> int:
            return len([made.slots(context) for context in contexts])

        def batch(made: Compiled = made) -> int:
            return len(list(made.slots_many(contexts)))

        def filled(made: Compiled = made) -> int:
            return len([made.render(context) for context in contexts])

        floor = rate("full rendering, Jinja's own sandbox, all parts", full)
        rate("full rendering, the product's sandbox and filters", ours, floor)
        rate("slots, one message at a time", slots, floor)
        rate("slots, a batch", batch, floor)
        rate("slots filled into every part", filled, floor)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)
