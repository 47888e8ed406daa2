"""What has been published about the speed of FFF, and is it true here?

One TOML file per claim lies in this folder. It holds what was claimed and under which conditions, never a verdict:
verdicts are computed from records each time (``judging``). What a claim is about is its kind, one file in ``kinds``.
"""
