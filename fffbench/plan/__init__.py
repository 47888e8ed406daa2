"""What is to be measured: workloads, routing, protocols, presets. Imports no other room and no torch."""
