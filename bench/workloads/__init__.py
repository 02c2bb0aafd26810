"""What is measured: shapes, sweeps, real words, and the inputs and reference outputs of each. Imports no framework."""
