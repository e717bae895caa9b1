import unittest

from plugin import projection
from testing import fold_all


class Payments(unittest.TestCase):
    def test_payments_add_up(self):
        documents, rejected = fold_all(
            projection,
            [
                {"key": "a-1", "value": {"cents": 250}},
                {"key": "a-2", "value": {"cents": 900}},
                {"key": "a-1", "value": {"cents": 900}},
                {"key": "a-2"},
            ],
        )
        self.assertEqual(documents, {"a-1": {"payments": 2, "cents": 1150}})
        self.assertEqual(rejected, [])

    def test_a_payment_without_an_amount_is_rejected(self):
        documents, rejected = fold_all(
            projection,
            [
                {"key": "a-1", "value": {"cents": 250}},
                {"key": "a-1", "value": {"shop": "bakery"}},
            ],
        )
        self.assertEqual(documents, {"a-1": {"payments": 1, "cents": 250}})
        self.assertEqual(rejected, [(1, '"cents" is null, not a whole number')])


if __name__ == "__main__":
    unittest.main()
