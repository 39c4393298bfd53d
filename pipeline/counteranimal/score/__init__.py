"""Scoring: what the machine sees behind the animal and how good a photo is; proposals that order work and decide nothing."""
