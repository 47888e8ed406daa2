"""How it is measured: data, the check, the clock, fresh processes, the machine's fingerprint and ceilings."""
