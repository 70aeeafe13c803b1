"""The least peak of blocks [[lower, upper, size, align], ...] from standard input, by OR-tools' CP-SAT."""

import json
import sys

from ortools.sat.python import cp_model

rows = json.load(sys.stdin)
model = cp_model.CpModel()
most = sum(row[2] + row[3] for row in rows)
peak = model.NewIntVar(0, most, "peak")
lives, places = [], []
for lower, upper, size, align in rows:
    offset = align * model.NewIntVar(0, most // align, "")
    model.Add(offset + size <= peak)
    lives.append(model.NewFixedSizeIntervalVar(lower, upper - lower, ""))
    places.append(model.NewFixedSizeIntervalVar(offset, size, ""))
model.AddNoOverlap2D(lives, places)
model.Minimize(peak)
solver = cp_model.CpSolver()
solver.parameters.num_workers = 1
if solver.Solve(model) != cp_model.OPTIMAL:
    sys.exit("no proof")
print(int(solver.ObjectiveValue()))
