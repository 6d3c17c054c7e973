"""Running a matrix of benchmarks, defenses and targets: checked first, resumed afterwards."""
