"""How it is measured: data on the device, the check, the clock, fresh processes, the machine's fingerprint and ceilings."""
