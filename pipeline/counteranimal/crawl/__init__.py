"""From what a source offers to bytes in the store: candidates, licences, politeness, addresses, fetches.

The only stage that touches other people's servers and rights. Two entry points in `run`: `discover` asks sources what they
have and journals it, `fetch_pending` fetches what may be fetched. Both stop at any moment and continue where they were.
"""
