"""`netmon top`: who connects where, how often and how much, counted from events and shown as it changes.

    lines of JSON ── Feed (feed.py) ──> Top (counts.py) ──> arrange() (order.py) ──> texts (columns.py), or JSON
                                                                                └──> TopApp (app.py), with textual

Everything but app.py is pure, and does without textual.
"""
