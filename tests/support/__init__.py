"""Functions that tests of several rooms share, one module for each subject."""
