"""Many machines: jobs on a cluster through submitit, each the resumable ``fffbench run`` of one block of cells."""
