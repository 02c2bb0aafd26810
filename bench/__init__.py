"""The harness: what is timed, how, and what may be said of it. Imports no framework; a worker imports its own."""
