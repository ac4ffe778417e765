"""A small sound workspace, and what every bad one is laid over."""

from __future__ import annotations

GOOD: dict[str, str] = {
    "journeys/workspace.yaml": """\
workspace: acme
timezone: Europe/Berlin
currency: EUR
sender: { name: Acme, postal_address: "Acme GmbH, Hauptstr. 1, 10115 Berlin, DE" }
attributes:
  customer: { birthday: date, favourite_store: text, points: number }
  account: { status: { one_of: [active, churned] } }
records:
  contract: { of: account, key: contract_id, ends: date, value: money, auto_renew: yes_no }
events:
  signed_up: { source: text }
  order_placed: { order_id: key, amount: money, channel: { one_of: [store, web] } }
  contract_renewed: { contract_id: key }
classes:
  b2c: { tiers: [bronze, silver, gold, platinum] }
  b2b: { tiers: [standard, preferred], unit: account }
topics:
  loyalty: { purpose: marketing, title: Your membership }
  contract-notices: { purpose: transactional, title: Your contract, reviewed: { by: legal, on: 2026-11-01 } }
policies:
  quiet_hours:
    email: { open: 07:00-22:00, then: hold }
    release: spread 2 hours
  caps:
    - 2 per day and 4 per week across email, sms, push
    - for tier platinum: 6 per week across email, sms, push
  dedupe: same address and same content within 24 hours
  pause_if: errors > 2% of last 500
  budget: { mail: 500 EUR per month }
  prices: { mail: 0.85 EUR, sms: 0.075 EUR }
""",
    "journeys/segments.yaml": """\
big-spenders: sum(order_placed.amount, 365 days) > 100 EUR
regulars: class == b2c and in segment("big-spenders")
still-looking: class == b2c and never(order_placed)
active-companies: { of: account, when: status == "active" }
""",
    "journeys/welcome.yaml": """\
journey: welcome
owner: crm@acme.example
trigger: { event: signed_up }
audience: class == b2c and in segment("regulars")
reentry: once
goal: { event: order_placed, within: 30 days }
steps:
  - email: welcome
  - wait: 3 days
  - branch:
      - if: tier >= gold
        steps: [ { sms: hello } ]
      - else: [ { email: welcome, id: once-more, only_if: never(order_placed) } ]
""",
    "journeys/renewal.yaml": """\
journey: renewal
owner: b2b@acme.example
unit: account
trigger: { date: 90 days before contract.ends, at: 09:00 }
audience: class == b2b and not contract.auto_renew
recipients: { role: [decision_maker], at_most: 2 }
steps:
  - email: renewal
  - wait_for:
      event: contract_renewed
      timeout: 14 days
      else: [ { task: account_manager, message: "Call {{ account.name }}" } ]
""",
    "templates/email/welcome.mjml": """\
---
subject: Welcome
topic: loyalty
---
<mjml>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text>Hello {{ customer.first_name | default("there") }}</mj-text>
        <mj-text><a href="{{ links.unsubscribe }}">Unsubscribe</a> {{ workspace.sender.postal_address }}</mj-text>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>
""",
    "templates/email/renewal.mjml": """\
---
subject: Your contract ends on {{ contract.ends | date }}
topic: contract-notices
---
<mjml>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text>Hello {{ account.name }}</mj-text>
        <mj-text>{{ workspace.sender.postal_address }}</mj-text>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>
""",
    "templates/sms/hello.txt": """\
---
topic: loyalty
---
Acme: welcome! Reply STOP to opt out
""",
}
