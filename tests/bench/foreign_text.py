"""Processor time for foreign text of 40,000 characters relative to 10,000: at most 6.

The ratio is 4 if time grows with the length of the text, and 16 if it grows with its square. Every
function that reads text of users, models or files gets each of some seventy adversarial texts; the
tests try a few of them.

    python tests/bench/foreign_text.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.adversarial import ENDS, FUNCTIONS, MOST, OTHERS, WORST, worst_ratio
from support.findings import within


def main() -> int:
    """Print the worst ratio of each function; 1 if one is above the bound."""
    worst = 0.0
    for name, function in FUNCTIONS.items():
        ratio, text = worst_ratio(function, (*WORST, *OTHERS), ENDS)
        worst = max(worst, ratio)
        shown = f"{ratio:5.1f}  {text}" if ratio else "      under 0.03 s"
        print(f"{name:24} {shown}", flush=True)
    what = "processor time, 40,000 characters to 10,000, the slowest function and text"
    return 0 if within(what, worst, MOST) else 1


if __name__ == "__main__":
    sys.exit(main())
