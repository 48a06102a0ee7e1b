"""Our savers and the others, measured side by side in one run: ``python -m benchmarks``."""
