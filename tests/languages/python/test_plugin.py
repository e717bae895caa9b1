import contextlib
import io
import unittest

from plugin import projection
from testing import fold_all


class PrintTest(unittest.TestCase):
    def test_what_is_printed_in_a_test_is_printed(self):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            documents, rejected = fold_all(projection, [{"key": "a", "value": {"lines": 1}}])
        self.assertEqual(documents, {"a": {"lines": 1}})
        self.assertEqual(rejected, [])
        self.assertEqual(printed.getvalue(), "line 0 {'of': 1}\nwithout an end")
