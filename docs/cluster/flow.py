"""The same cells for inspect-flow (0.14): `flow run docs/cluster/flow.py --limit 40`.

It needs `pip install inspect-flow` where vlmguard is installed, and names tasks, solvers and models
as Inspect does. One of its tasks was run by hand (0.14, two samples). `vlmguard run` has a plan of
calls, checks roles before anything is paid for, and knows Ray.
"""

from inspect_flow import FlowSpec, tasks_matrix

FlowSpec(
    log_dir="logs/flow",
    tasks=tasks_matrix(
        task=["vlmguard/microworld"],
        solver=["vlmguard/self_reminder", "vlmguard/ecso"],
        model=["microworld/qwen2-vl/low", "microworld/llava/low"],
    ),
)
