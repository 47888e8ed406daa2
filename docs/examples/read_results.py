"""The committed results with pandas: how many times faster is the best FFF, by machine, type and batch?"""

import json
import subprocess
import sys

import pandas as pd

results = sys.argv[1] if len(sys.argv) > 1 else "results"
command = [sys.executable, "-m", "fffbench", "speedup", "--json", "--results", results]
rows = pd.DataFrame(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

# the headline's protocol: over the best dense layer, each side at its fastest threads, cold caches, random paths
fair = rows[(rows.baseline == "best-dense") & (rows.baseline_threads == "fastest") & rows.main & rows.speedup.notna()]
layer = fair[(fair.family == "fff") & (fair.d == 768) & (fair.trees == 1) & (fair.levels == 12)]
best = layer.loc[layer.groupby(["machine", "device", "dtype", "batch"]).time.idxmin()]
print(best.pivot_table(index=["machine", "device", "dtype"], columns="batch", values="speedup").round(1).to_string())
print("provisional rows:", int(best.provisional.sum()), "of", len(best))
