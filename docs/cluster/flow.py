"""The same cells for inspect-flow (0.14): `flow run docs/cluster/flow.py --limit 40`.

It names tasks, solvers and models as Inspect does; `vlmguard leaderboard logs/flow` reads its logs.
`vlmguard run` has what it lacks: a plan of calls, checks of roles before anything is paid for, and
Ray. It needs `pip install inspect-flow`, beside which vlmguard is installed.
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
