"""People verify the photos: rounds are planned, pushed to Label Studio, pulled back, measured and turned into verdicts.

Decides who sees which photo, what the page asks, which answers count and what they add up to. The record of truth is the
journal; Label Studio is where people work, and nothing that happens there later can take an answer away. Leaves the choice of
groups to `discovery`: no group, margin or correctness is ever read here, so none can reach an annotator.
"""
