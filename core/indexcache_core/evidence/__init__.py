"""Evidence that may be looked at as often as one likes: tests by betting, with stated bounds on being wrong.

betting.py      wealth of a bet on bucketed observations, the one formula that everything here stands on
certificate.py  "the mean is above the threshold": what promotes. Bounded by beta
detector.py     "the mean fell under the threshold, now or later": what rolls back. Bounded by alpha
guardrails.py   which tests there are, each one's part of alpha, and what is said of one that is breached
verdict.py      what both say together of one test
quality.py      paired probes as observations in [0, 1]
freshness.py    whether engines go on measuring what they serve under reuse
traffic.py      whether the engines' counters show the share of traffic that the route was told to give

What the bounds assume, and no more: each observation's expectation *given everything before it* is on its
side of the threshold. An observation is one request's (Series in contract.py): rows of one request agree with
each other, so a bet on each would be one bet made many times. Requests may depend on one another in any way
as far as that holds; requests of one conversation, which share most of their context, may agree so much that
it doesn't.
"""
