"""Small changes to the rooms that hold promises, each of which a test must notice.

`python -m mutants` takes a seeded sample of all small changes to lines that tests execute, and runs
each against the tests that execute its line. `python -m mutants --promises` takes those of
`promises.toml`: changes that would break a promise. Nothing happens in the project's own folder:
each change is made in a copy of it.

Of the tools that there are, none does all of it: cosmic-ray and mutatest run one command for every
change, mutmut chooses tests by function, and none drops statements.
"""
