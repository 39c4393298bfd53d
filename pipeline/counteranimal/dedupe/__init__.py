"""Finds photos that are one photo: the same bytes, the same pixels, near copies, mirror images and bursts.

Hashes propose pairs, aligned pixels confirm them, and every dropped photo names its partner, the distances and the rule.
"""
