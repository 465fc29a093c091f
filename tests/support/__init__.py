"""What tests of several rooms share: one module for each thing that they do."""
