"""Whole models with other feedforward layers: built from their configurations, checked layer by layer, and timed."""
