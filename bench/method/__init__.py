"""The method itself, measured: workers of known ratio, how often verdicts err, what taking turns is worth and costs."""
