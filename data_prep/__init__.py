"""Preparing data: fetch or find the official files, verify them, convert them into stores, and show what is in them.

The only place that reaches the network. `python -m data_prep svhn mnist usps ...`, or `prepare` from code.
"""

from data_prep.pipeline import prepare

__all__ = ["prepare"]
