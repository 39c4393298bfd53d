"""Reads and verifies a frozen release; needs only the base install, no network and no workspace.

Decides what a release on disk looks like and when it is trusted. Leaves making one to `freeze` and its numbers to `evaluate`.
"""
