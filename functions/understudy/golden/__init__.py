"""Questions whose right answers are known: golden sets, the checkers of answers, drift prompts, the judge.

Pure but for the sets that come with the package, which are read when they are first asked for.  Used by what probes and
by the command line, never by the data plane.
"""
