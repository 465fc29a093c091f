"""The tests: a folder for each room of the package, and what they share in `support`."""

import pytest

pytest.register_assert_rewrite("tests.support")
