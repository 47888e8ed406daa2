"""The asv suite: what each commit costs. Times are of a pass over a pool of tokens, so that no call is below 1 ms."""
