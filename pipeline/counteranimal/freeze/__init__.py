"""Turns the tables of a workspace into a release: gates, draft, rendered files, signature, one rename.

Decides what is published and when that is refused. Leaves reading and checking a release to `release`.
"""
